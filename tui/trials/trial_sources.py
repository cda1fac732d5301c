"""A trial outside the app: its citation for a text, and itself in a pager or an editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from textual.app import App, SuspendNotSupported

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.run import display_of
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.store.records import Run, Trial

from ..reading import wording


def display_or_none(run: Run) -> Display:
    """Return what displays show for a run; nothing of its own for one whose experiment or study is not known here."""
    try:
        return display_of(run)
    except (KnownError, ValueError):
        return Display()


def citation(run: Run, trial: Trial) -> str:
    """Return what a text needs to point to a trial, with the command that shows it."""
    where = "control, nothing injected"
    if trial.condition != "control":
        where = f"concept {trial.concept}, layer {trial.layer}, strength {trial.strength:g} ({trial.unit})"
    dose = "; ".join(f"{one.resid:.1%} of the residual norm" for one in trial.doses)
    arm = f", arm {trial.arm}" if trial.arm else ""
    said = " ".join(trial.response.split())
    return wording.plain(
        f'"{said}"\n{run.experiment}, {wording.model(run)}, run {run.name} ({run.id}), '
        f"trial {trial.ordinal + 1} ({trial.key}){arm}: {where}{f'; {dose}' if dose else ''}; seed {trial.spec.seed}\n"
        f"mlxintro runs show {shlex.quote(run.name)} {trial.key}"
    )


def open_outside(app: App[int], text: str) -> None:
    """Show a text in $PAGER or $EDITOR, with the app out of the way meanwhile.

    Raises:
        UsageError: neither is set, or it cannot be started.
    """
    command = shlex.split(os.environ.get("PAGER") or os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not command:
        raise UsageError("neither $PAGER nor $EDITOR is set: set one before the app is started")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trial.txt"
        file.write_text(text, "utf-8")
        try:
            with app.suspend():
                subprocess.run([*command, str(file)], check=False)
        except SuspendNotSupported as error:
            raise UsageError("no other program can be shown in this terminal: copy the reply instead") from error
        except OSError as error:
            raise UsageError(f"{command[0]}: {error.strerror}: set $PAGER or $EDITOR to a program") from error
