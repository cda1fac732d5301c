"""``mlxintro grade --file``."""

from __future__ import annotations

import click

from backends.errors import UsageError
from mlxintro.cli.output import chatter, json_line


def grade_file(context: click.Context, path: str, grader: str) -> None:
    """Grade the replies of a file (``-``: stdin) and print one JSON object per line, as each is read.

    Raises:
        UsageError: the file cannot be read, or the grader needs a run.
    """
    from mlxintro.grading.files import BadLine, grade_lines
    from mlxintro.grading.passes import GRADERS, find_grader

    if grader not in GRADERS:
        raise UsageError(f"--file is graded by {' or '.join(GRADERS)}: choose one with --grader")
    chosen = find_grader(grader)
    graded = abstained = bad = 0
    try:
        stream = click.open_file(path, "rb")
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'it cannot be read').lower()}: name a readable file") from error
    with stream as lines:
        for line in grade_lines(lines, chosen):
            if isinstance(line, BadLine):
                bad += 1
                chatter(f"line {line.number} is left out: {line.problem}")
                continue
            graded += 1
            abstained += line.grade.abstained
            click.echo(json_line(line.as_dict()))
    chatter(f"{graded} graded ({abstained} abstained), {bad} left out")
    if bad:
        context.exit(1)
