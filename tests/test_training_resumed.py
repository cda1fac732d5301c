"""A training that is killed and begun again ends with the bytes of one that was not, through the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli import COMMAND, ROOT, environment

SMALL = ("--rank", "2", "--rows", "4", "--words", "8", "--evaluate-every", "1000", "--save-every", "2")


def begin(home: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [*COMMAND, "train", "-m", "smollm2", "--backend", "torch", "-o", str(folder), *SMALL, *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=1800)
    assert process.returncode == 0, said
    return said


@pytest.mark.slow
def test_a_timed_training_killed_and_resumed_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = begin(tmp_path, killed, "--minutes", "2")
    progress = killed / "progress.jsonl"
    deadline = time.monotonic() + 1800
    while not (killed / "checkpoint.safetensors").exists() or len(progress.read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    steps = json.loads((killed / "training.json").read_text())["steps"]
    assert 2 < len(progress.read_text().splitlines()) < steps, "it was not killed between a checkpoint and the end"
    assert "going on" in finish(begin(tmp_path, killed))
    finish(begin(tmp_path, whole, "--steps", str(steps)))
    for name in ("checkpoint.safetensors", "adapter_model.safetensors", "adapter_config.json", "training.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    lines = [
        [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
        for folder in (killed, whole)
    ]
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == list(range(1, steps + 1))
