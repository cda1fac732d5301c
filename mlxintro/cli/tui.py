"""``mlxintro tui``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from mlxintro.backends.errors import UsageError
from mlxintro.cli.options import CONCEPT_FILE


@click.command()
@CONCEPT_FILE
@click.pass_context
def tui(context: click.Context, concept_file: tuple[Path, ...]) -> int:
    """Launch studies, watch them and read every reply in the terminal.

    Runs are processes of their own: leaving the app, or killing it, does not stop them. F1 helps, Ctrl-P finds every
    action. Keys can be changed, and errors are in a log file; both lie beside the store.
    """
    # `textual serve` shows the app in a browser and says by this variable how.
    served = "TEXTUAL_DRIVER" in os.environ
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the terminal app needs a terminal: use `mlxintro runs list` in scripts")
    from mlxintro.cli.output import chatter
    from mlxintro.paths import data_home
    from mlxintro.protocol.words.own_concepts import read_concept_files
    from mlxintro.store.database import needs_update
    from mlxintro.tui.app import run_app

    # None may be there yet.
    with suppress(UsageError):
        if needs_update(data_home(context.obj).db):
            chatter("bringing the store up to date; a million trials take a minute ...")

    return run_app(context.obj, read_concept_files(concept_file))
