"""``--rubric FILE``: a researcher's own questions for judges."""

from __future__ import annotations

import click

rubric_option = click.option(
    "--rubric",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Judges: your own criteria as TOML, in the form of the one that ships (docs/grading.md).",
)


def use_rubric(path: str | None) -> None:
    """Have judges of this process ask the questions of a file.

    Raises:
        UsageError: the file cannot be read, or is no rubric.
    """
    if path is not None:
        from mlxintro.grading import rubric

        rubric.use(path)
