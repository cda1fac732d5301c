"""The study with a deadline: three models, killed three times, and in the end what an undisturbed one gives.

Killed with -9 while it measures, with a model that is missing, and with a disk that takes no more.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli import COMMAND, ROOT, environment, events, mlxintro, started, until
from tests.tiny import make_tiny

pytestmark = pytest.mark.slow

STUDY = """
name = "deadline"
models = [{models}]
backend = "torch"
device = "cpu"
concepts = ["ocean", "fear", "bread"]
layers = [0.5]
strengths = [0.5, 1.0]
unit = "resid"
trials = 2
controls = "standard"
max_tokens = 12
"""
WHEN = {"run_id", "created", "rules.created"}
"""Columns that say when and under which id a trial was stored."""


def frame(home: Path) -> list[str]:
    rows = [json.loads(line) for line in mlxintro(home, "runs", "export", "deadline").out.splitlines()]
    assert rows
    return [json.dumps({name: row[name] for name in row if name not in WHEN}) for row in rows]


def written(home: Path, path: Path) -> str:
    """The report as Markdown without the moments at which its runs began and their ids."""
    assert mlxintro(home, "report", "deadline", "-o", str(path)).code == 0
    text = re.sub(r"(?m)^- begun .*$", "", path.read_text())
    return re.sub(r"; run \w{10}, (settings \S+), begun \S+ UTC", r"; \1", text)


def on_a_full_disk(home: Path, study: Path, size: int) -> str:
    """Run with files that may not grow beyond a size; returns what was said."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(
        [*COMMAND, "run", str(study)],
        env=environment(home),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        preexec_fn=limited,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_a_study_that_was_killed_three_times_is_that_of_an_undisturbed_night(tmp_path: Path) -> None:
    models = [tmp_path / name for name in ("small", "middle", "large")]
    for seed, (folder, layers) in enumerate(zip(models, (2, 3, 4), strict=True)):
        make_tiny("qwen2", folder, layers=layers, seed=seed)
    study = tmp_path / "deadline.toml"
    study.write_text(STUDY.format(models=", ".join(f'"{folder}"' for folder in models)))
    calm, night = tmp_path / "calm", tmp_path / "night"
    assert mlxintro(calm, "run", str(study), seconds=600).code == 0

    away = models[1].rename(tmp_path / "away")
    process = started(night, "run", str(study), "--json")
    told = events(process)
    for _ in range(3):
        until(told, "TrialFinished")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)

    missing = mlxintro(night, "run", str(study), seconds=600)
    assert missing.code == 1
    assert f"there is no folder {models[1]}" in missing.err
    states = json.loads(mlxintro(night, "studies", "show", "deadline", "--json").out)["parts"]
    assert [part["state"] for part in states] == ["done", "failed", "done"]

    away.rename(models[1])
    size = max(file.stat().st_size for file in night.glob("mlxintro.db*"))
    assert "the disk" in on_a_full_disk(night, study, size + 20_000)
    assert len(frame(night)) < len(frame(calm))

    assert mlxintro(night, "run", str(study), seconds=600).code == 0
    assert frame(night) == frame(calm)
    assert mlxintro(night, "compare", "deadline").out == mlxintro(calm, "compare", "deadline").out
    assert written(night, tmp_path / "night.md") == written(calm, tmp_path / "calm.md")
