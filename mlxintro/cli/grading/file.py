"""``mlxintro grade --file``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.options import load_backend
from mlxintro.cli.output import chatter, echo, json_line

if TYPE_CHECKING:
    from mlxintro.grading.base import Grader


def grade_file(
    context: click.Context,
    path: str,
    grader: str,
    judge: str | None,
    judge_backend: str,
    concept_files: Sequence[Path] = (),
) -> None:
    """Grade the replies of a file (``-``: stdin) and print one JSON object per line, as each is read.

    Args:
        judge: model of the grader ``local``.
        concept_files: concepts of one's own, whose near names count.

    Raises:
        UsageError: the file cannot be read, or the grader needs a run.
    """
    from mlxintro.grading.files import BadLine, grade_lines
    from mlxintro.protocol.words.own_concepts import library_with, read_concept_files

    library = library_with(read_concept_files(concept_files))
    graded = abstained = bad = 0
    with ExitStack() as stack:
        try:
            lines = stack.enter_context(click.open_file(path, "rb"))
        except OSError as error:
            reason = (error.strerror or "it cannot be read").lower()
            raise UsageError(f"{path}: {reason}: name a readable file") from error
        chosen = _grader(grader, judge, judge_backend, stack)
        for line in grade_lines(lines, chosen, library):
            if isinstance(line, BadLine):
                bad += 1
                chatter(f"line {line.number} is left out: {line.problem}")
                continue
            graded += 1
            abstained += line.grade.abstained
            echo(json_line(line.as_dict()))
    chatter(f"{graded} graded ({abstained} abstained), {bad} left out")
    if bad:
        context.exit(1)


def _grader(name: str, judge: str | None, judge_backend: str, stack: ExitStack) -> Grader:
    from mlxintro.grading.passes import GRADERS, find_grader

    if name in GRADERS:
        return find_grader(name)
    if name == "local":
        from mlxintro.grading.local import LocalJudge

        return LocalJudge(stack.enter_context(load_backend(judge, judge_backend)))
    # A paid grader keeps its questions in a store, so that none is paid twice; a file has none.
    raise UsageError(f"--file is graded by {', '.join(GRADERS)} or local: choose one with --grader")
