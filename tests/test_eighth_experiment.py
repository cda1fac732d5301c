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
from mlxintro.analysis.results import Analysis, Figure, Verdict, rows_about
from mlxintro.experiments.base import Data, Experiment
from mlxintro.experiments.grid import Grid, injected, user
from mlxintro.analysis.stats import rate


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

    def analyse(self, rows, study, preset):
        said = rows_about(rows, condition="injected")
        hits = sum(row.concept in row.response.lower() for row in said)
        figure = Figure("said", "said", rate(hits, len(said)))
        return Analysis(verdict=Verdict("no effect shown", "Words were said."), figures=(figure,))


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

    chosen = ("one-word", "--backend", "fake", "-m", "detector", "--concepts", "ocean,bread")
    explained, _, stats, toml = _said(
        copy,
        ("run", *chosen, "--explain"),
        ("run", *chosen, "--name", "first"),
        ("stats", "first", "--json"),
        ("runs", "show", "first", "--toml"),
    )
    assert "It has no source." in explained
    assert json.loads(stats)["experiment"] == "one-word"
    assert 'experiment = "one-word"' in toml


EACH = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
from mlxintro.cli.main import main

said = []
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    with redirect_stdout(StringIO()) as out:
        try:
            main()
        except SystemExit as ending:
            assert ending.code == 0, arguments
    said.append(out.getvalue())
print(json.dumps(said))
"""


def _said(copy: Path, *commands: tuple[str, ...]) -> list[str]:
    """What each command writes to stdout, all in one process that imports the copy, not what is installed (``-P``)."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "MLXINTRO_HOME": str(copy / "home")}
    process = [sys.executable, "-P", "-c", EACH, json.dumps(commands)]
    done = subprocess.run(process, cwd=copy.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: list[str] = json.loads(done.stdout)
    return said
