"""The tutorial's notebooks are made from their scripts, printed what they say, and run."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from docs.tutorial.build import HERE, SOURCES, notebook_of, run

SCRIPTS = sorted(SOURCES.glob("*.py"))


def test_there_is_a_notebook_for_every_phase_and_every_question() -> None:
    names = [script.stem for script in SCRIPTS]
    assert [name.split("_")[0] for name in names] == [
        *(f"phase{number}" for number in range(1, 7)),
        *(f"question{number}" for number in range(1, 6)),
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_holds_its_script_and_was_run_without_an_error(script: Path) -> None:
    notebook = nbformat.read(HERE / f"{script.stem}.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    assert cells == [(cell.cell_type, cell.source) for cell in notebook_of(script).cells], (
        "python -m docs.tutorial.build"
    )
    outputs = [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]
    assert outputs
    assert all(one.output_type != "error" for one in outputs)
    # A record that is shown by accident tells the reader nothing, and where and on which machine it was made.
    printed = "\n".join(str(one.get("text", one.get("data", ""))) for one in outputs)
    assert not re.search(r"(?<![\w.])/(?:tmp|home|root|work|Users|usr|var)/|\bhost=", printed)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_says_what_fooled_others_and_has_an_exercise_with_its_answer(script: Path) -> None:
    text = script.read_text("utf-8")
    assert all(part in text for part in ("**What fooled others:**", "**Exercise.**", "**Answer.**"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs(script: Path) -> None:
    assert run(script).cells
