"""What an empty list of runs says: how to begin, and which experiments there are."""

from __future__ import annotations

import textwrap
from pathlib import Path

from mlxintro import experiments
from mlxintro.backends.errors import KnownError

from . import wording

_FIRST = (
    "\n"
    "  {runs.demo}  the demo study of the embedded model, which takes a few minutes\n"
    "  {runs.new}  a study of your own: model, experiment, concepts, how much of it\n"
    "  {go.lab}  the lab: one prompt with and without a concept's vector\n\n"
    "  mlxintro extracts a concept's direction from a model, injects it while the\n"
    "  model answers, and asks whether the model notices. {app.help} explains what is\n"
    "  focused, {app.palette} finds every action. Runs go on when the app is left.\n"
)
_ROOMY = 110
"""Columns from which on each experiment says what it does."""
_MOST = 130
_INDENT = "  "


def first_steps(width: int, store: Path) -> str:
    """Return the text for so many columns. Keys stand in it by the id of their binding."""
    where = wording.fit_middle(f"No runs yet in {store}", width - 2 * len(_INDENT)).rstrip()
    return "\n".join(["", f"{_INDENT}{where}", _FIRST, f"{_INDENT}Experiments:", "", *_experiments(min(width, _MOST))])


def _experiments(width: int) -> list[str]:
    names = experiments.names()
    if width < _ROOMY:
        return textwrap.wrap(
            ", ".join(names), width - 1, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
        )
    column = max(map(len, names)) + 2
    lines = []
    for name in names:
        first, blank = f"{_INDENT}{name:<{column}}", " " * (len(_INDENT) + column)
        lines += textwrap.wrap(_summary(name), width - 1, initial_indent=first, subsequent_indent=blank)
    return lines


def _summary(name: str) -> str:
    try:
        return experiments.find(name).summary
    except KnownError as error:
        # What one file or package has wrong must not hide the others.
        return str(error)
