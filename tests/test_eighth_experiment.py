"""An experiment is one Python file and one TOML file: one more is added to a copy of the package, run and read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

EXPERIMENT = """
from mlxintro.analysis import Analysis, Figure, Verdict, rows_about
from mlxintro.experiments.base import Data, Experiment
from mlxintro.grid import Grid, injected, user
from mlxintro.statistics import rate


class Texts(Data):
    text: str


class OneWord(Experiment):
    name = "one-word"
    preset = "one-word"
    summary = "say one word"
    Wording = Texts

    def plan(self, study, preset, info, tokenizer):
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        asked = grid.ask([user(Texts.model_validate(preset.wording).text)])

        def trials():
            for pair in grid.pairs:
                base = grid.trial(pair, asked)
                yield base
                for cell in grid.cells:
                    yield injected(base, grid.inject(pair.word, cell, (0, None)))

        return grid.plan(trials)

    def analyse(self, rows, study):
        said = rows_about(rows, condition="injected")
        hits = sum(row.concept in row.response.lower() for row in said)
        figure = Figure("said", "said", rate(hits, len(said)))
        return Analysis(verdict=Verdict("no effect", "Words were said."), figures=(figure,))


EXPERIMENT = OneWord()
"""
PRESET = """
experiment = "one-word"
title = "One word"
source = "none"
summary = "A word."
differences = ["It has no source."]
[extraction]
template = "Tell me about {word}"
case = "lower"
read = "last-template-token"
baseline = "lindsey-100"
[wording]
text = "Which word is on your mind?"
[defaults]
temperature = 1.0
top_p = 1.0
max_tokens = 20
layers = [0.66]
strengths = [4.0]
unit = "raw"
trials = 1
"""


@pytest.mark.timeout(300)
def test_two_files_make_an_experiment(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for package in ("mlxintro", "backends", "tui"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "mlxintro" / "experiments" / "one_word.py").write_text(EXPERIMENT)
    (copy / "mlxintro" / "data" / "presets" / "one-word.toml").write_text(PRESET)

    def mlxintro(*arguments: str) -> str:
        # -P and PYTHONPATH: the copy is imported, not what is installed.
        command = [sys.executable, "-P", "-m", "mlxintro", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(copy), "MLXINTRO_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    chosen = ("one-word", "--backend", "fake", "-m", "detector", "--concepts", "ocean,bread")
    assert "It has no source." in mlxintro("run", *chosen, "--explain")
    mlxintro("run", *chosen, "--name", "first")
    found = json.loads(mlxintro("stats", "first", "--json"))
    assert found["experiment"] == "one-word"
    assert 'experiment = "one-word"' in mlxintro("runs", "show", "first", "--toml")
