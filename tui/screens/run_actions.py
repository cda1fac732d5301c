"""What can be done with runs of the list: names, notes, files, deletion, comparison."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mlxintro.backends.errors import UsageError
from mlxintro.cli.main import COMMANDS
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from ..reading import study_text
from ..reading.run_preview import note_of
from ..reading.run_results import Findings, analyse
from ..reading.run_rows import GRADER, RunRows
from ..shell.dialogues import AskLine, AskPath
from ..shell.run_page import RunPage
from .overlay import Overlay

_MARK = ("mark two runs with {runs.mark}, then compare them", "mark one more run with {runs.mark}")
_LARGE = 100_000
"""Trials from which on a run's curves are left out of an overlay: an analysis reads all of them into memory."""
REPORT_FORMATS = ("html", "md", "png", "svg")
_DRAWN = ("png", "svg")
"""Formats of reports that are pictures."""


class RunActions(RunPage):
    """Is a page with a list of runs, some of them marked."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = RunRows()

    def chosen_run(self) -> Run:
        """Return the run under the cursor.

        Raises:
            UsageError: there is none.
        """
        raise NotImplementedError

    def redraw(self) -> None:
        """Bring the list up to date with marks and names."""
        raise NotImplementedError

    # -- names and notes

    def action_rename(self) -> None:
        run = self.chosen_run()
        taken = {one.name for one in self.listed.runs.values()} - {run.name}

        def answered(name: str) -> None:
            def rename(store: Store) -> None:
                store.runs.rename(run.id, name.strip())

            self.write("rename", rename, lambda _: self.look())
            if self.home.run_id == run.id:
                self.home.run_name = name.strip()

        wrong = partial(_wrong_name, taken)
        self.consult(AskLine(f"A new name for {run.name}", run.name, wrong), answered)

    def action_note(self) -> None:
        run = self.chosen_run()

        def answered(text: str) -> None:
            def note(store: Store) -> None:
                store.runs.note(run.id, " ".join(text.split()))

            self.write("note", note, lambda _: self.look())

        title = f"A note on {run.name}; empty takes it away"
        self.consult(AskLine(title, note_of(run), lambda text: ""), answered)

    # -- files

    def action_export(self) -> None:
        run = self.chosen_run()

        def answered(answer: str) -> None:
            path = Path(answer)
            done = f"{run.name} is written to {path}"
            export = partial(export_run, run.id, path)
            self.read("export", export, lambda n: self.notify(f"{done}: {n} rows", markup=False), asked=True)

        self.consult(AskPath(f"Export {run.name} ({run.done} trials) to", _file_of(run, "jsonl")), answered)

    def action_report(self) -> None:
        run = self.chosen_run()

        def answered(answer: str) -> None:
            path = Path(answer)
            command = "figure" if path.suffix[1:].lower() in _DRAWN else "report"
            said = f"The report on {run.name} is written to {path}"
            self.home.processes.start(f"report on {run.name}", [command, run.id, "-o", str(path)], said)
            self.notify(f"Writing {path.name} ...", markup=False)

        drawn = "figure" in COMMANDS
        title = f"A report on {run.name}: a page{' (html, md) or its figures (png, svg)' if drawn else ''}"
        formats = tuple(one for one in REPORT_FORMATS if drawn or one not in _DRAWN)
        self.consult(AskPath(title, _file_of(run, "html"), formats), answered)

    # -- deleting

    def action_delete(self) -> None:
        run = self.chosen_run()
        if run.state in ("running", "paused") or run.preparing:
            raise UsageError(self.home.keyed(f"{run.name} is {run.state}: {{runs.cancel}} cancels it first"))

        def delete(store: Store) -> str:
            store.runs.delete(run.id)
            return run.name

        def deleted(name: str) -> None:
            self.notify(f"{name} is deleted", markup=False)
            self.listed.marks.pop(run.id, None)
            self.home.deleted(run.id)
            self.look()

        question = f"Delete {run.name} with {run.done} trials, their grades and labels? This cannot be undone."
        self.confirm(question, "Delete it", lambda: self.write("delete", delete, deleted))

    # -- several runs

    def action_mark(self) -> None:
        self.listed.mark(self.chosen_run().id)
        self.redraw()

    def action_compare(self) -> None:
        marked = list(self.listed.marks)
        if len(marked) < 2:
            raise UsageError(self.home.keyed(_MARK[len(marked)]))
        if len(marked) > 2:
            raise UsageError(
                self.home.keyed(
                    f"{len(marked)} runs are marked, two can be compared: {{runs.overlay}} "
                    "draws the curves of all of them"
                )
            )
        self.home.compare(marked[0], marked[1])

    def action_overlay(self) -> None:
        slots = dict(self.listed.marks) or {self.chosen_run().id: 0}
        runs = [self.listed.runs[run] for run in slots]
        large = [run.name for run in runs if run.done > _LARGE]
        if large:
            self.notify(f"left out, for it is large: {', '.join(large)}", severity="warning", markup=False)
        wanted = [run.id for run in runs if run.done <= _LARGE]
        self.notify(f"Computing the curves of {len(wanted)} runs ...")

        def show(found: list[Findings]) -> None:
            self.app.push_screen(Overlay([(one, slots[one.run.id]) for one in found]))

        self.read("overlay", partial(_analysed, wanted), show, asked=True)


def _analysed(runs: list[str], store: Store) -> list[Findings]:
    return [analyse(run, GRADER, store) for run in runs]


def _wrong_name(taken: set[str], text: str) -> str:
    return study_text.wrong_name(text.strip(), taken)


def _file_of(run: Run, ending: str) -> Path:
    return Path.cwd() / f"{run.name.replace('/', '_')}.{ending}"


def export_run(run: str, path: Path, store: Store) -> int:
    """Write a run's trials to a file; returns how many."""
    from mlxintro.rendering.exporting import write_rows
    from mlxintro.store.exporting.export import export_rows

    return write_rows(export_rows(store, [run]), path.suffix.lstrip("."), path)
