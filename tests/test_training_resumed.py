"""A training that is killed and begun again ends with the bytes of one that was not, through the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import COMMAND, ROOT, environment

SMALL = ("--rank", "2", "--rows", "4", "--words", "8", "--evaluate-every", "1000", "--save-every", "2")


def begin(
    home: Path, folder: Path, *more: str, model: str = "smollm2", backend: str = "torch"
) -> subprocess.Popen[str]:
    command = [*COMMAND, "train", "-m", model, "--backend", backend, "-o", str(folder), *SMALL, *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=1800)
    assert process.returncode == 0, said
    return said


def kill_between_checkpoints(process: subprocess.Popen[str], folder: Path) -> int:
    """Kill a training after at least three steps; returns how many steps were planned."""
    progress = folder / "progress.jsonl"
    deadline = time.monotonic() + 1800
    while not (folder / "checkpoint.safetensors").exists() or len(progress.read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    steps = int(json.loads((folder / "training.json").read_text())["steps"])
    assert 2 < len(progress.read_text().splitlines()) < steps, "it was not killed between a checkpoint and the end"
    return steps


def assert_same(killed: Path, whole: Path, steps: int) -> None:
    for name in ("checkpoint.safetensors", "adapter_model.safetensors", "adapter_config.json", "training.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    lines = [
        [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
        for folder in (killed, whole)
    ]
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == list(range(1, steps + 1))


@pytest.mark.slow
def test_a_timed_training_killed_and_resumed_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    steps = kill_between_checkpoints(begin(tmp_path, killed, "--minutes", "2"), killed)
    assert "going on" in finish(begin(tmp_path, killed))
    finish(begin(tmp_path, whole, "--steps", str(steps)))
    assert_same(killed, whole, steps)


@pytest.mark.slow
def test_a_training_on_mlx_killed_and_resumed_ends_with_the_weights_of_an_uninterrupted_one(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    killed, whole, model = tmp_path / "killed", tmp_path / "whole", str(tiny("llama"))
    process = begin(tmp_path, killed, "--steps", "40", "--layers", "1", model=model, backend="mlx")
    steps = kill_between_checkpoints(process, killed)
    assert "going on" in finish(begin(tmp_path, killed, model=model, backend="mlx"))
    finish(begin(tmp_path, whole, "--steps", str(steps), "--layers", "1", model=model, backend="mlx"))
    assert_same(killed, whole, steps)
