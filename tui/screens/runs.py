"""Every run with its rates and its state, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from ..reading.run_rows import Counted, RunCells, RunRows, about, count
from ..shell.dialogues import AskPath
from ..shell.run_page import RunPage
from ..widgets.lines import Lines
from ..widgets.run_list import GAP, RunList, line
from ..widgets.text import Text

COLUMNS = {
    "name": 18,
    "state": 13,
    "trials": 11,
    "result": 27,
    "against": 27,
    "model": 14,
    "experiment": 21,
    "more": 30,
    "created (UTC)": 16,
}
"""Widths. 80 columns hold the first four; the lines below the table say the rest of one run."""
_BAR = 7
"""Columns of a bar beside the number of trials, where there is room for everything."""
_LONGEST_NAME, _LONGEST_FIGURE = 40, 36
_NO_RUNS = "\n  No runs yet.\n\n  {runs.demo}  the demo study on the embedded model\n  {runs.new}  a study of your own"
_MARK = ("mark two runs with {runs.mark}, then compare them", "mark one more run with {runs.mark}")
_NO_MATCH = "\n  No run matches the filter; Esc shows all."


class RunsPage(RunPage):
    PLACE = "runs"
    HELP = (
        "All runs, the newest first. Enter opens one. Result: the head figure of the run's experiment with its counts, "
        "and in brackets the 95 % interval; against: the same over the trials it is set against, e.g. those without "
        "an injection. Replies are judged by the rules grader.\n"
        "{runs.filter} filters by name, model, experiment and state. {runs.mark} marks a run; {runs.compare} compares "
        "two marked ones."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="runs.open", tooltip="Open the run and watch it"),
        Binding("n", "app.go('new')", "New", id="runs.new", tooltip="Set up a new study"),
        Binding("d", "demo", "Demo", id="runs.demo", tooltip="Set up the demo study on the embedded model"),
        Binding("r", "resume", "Resume", id="runs.resume", tooltip="Resume the run"),
        Binding("p", "pause", "Pause", id="runs.pause", tooltip="Pause the run, or let it go on"),
        Binding("x", "cancel", "Cancel", id="runs.cancel", tooltip="Cancel the run; what is finished stays"),
        Binding("e", "export", "Export", show=False, id="runs.export", tooltip="Export the run to a file"),
        Binding("m", "mark", "Mark", show=False, id="runs.mark", tooltip="Mark the run, for comparing"),
        Binding("c", "compare", "Compare", show=False, id="runs.compare", tooltip="Compare two marked runs"),
        Binding("delete", "delete", "Delete", show=False, id="runs.delete", tooltip="Delete the run"),
        Binding("slash", "filter", "Filter", id="runs.filter", tooltip="Filter the list of runs", key_display="/"),
        Binding("escape", "unfilter", "All", show=False, id="runs.unfilter", tooltip="Show all runs again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._list = RunRows()
        self._last_grade = 0
        self._shown: dict[str, RunCells] = {}

    def body(self) -> Iterator[Widget]:
        yield Input(placeholder="filter by name, model, experiment, state", id="filter")
        yield Text(id="run-columns")
        yield RunList(id="runs")
        yield Text(id="about", classes="quiet")

    @property
    def table(self) -> RunList:
        return self.query_one("#runs", RunList)

    def begin(self) -> None:
        self._lay_out()
        self.query_one("#filter").display = False
        self.table.focus()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        """The columns there is room for. Their widths are fixed, so that nothing jumps about while rates come in."""
        widths = columns(self.app.size.width)
        if widths != self.table.widths:
            self.table.widths = widths
            self.query_one("#run-columns", Text).update(Content(" " + line({name: name for name in widths}, widths)))
            self._draw()

    @property
    def _bars(self) -> bool:
        return self.table.widths.get("trials", 0) > COLUMNS["trials"]

    # -- keeping up to date

    def look(self) -> None:
        self.read("runs", lambda store: (store.runs.all(), store.grades.graded_since(self._last_grade)), self._arrived)

    def _arrived(self, found: tuple[list[Run], tuple[int, set[str]]]) -> None:
        runs, (self._last_grade, regraded) = found
        self._list.update(runs, regraded)
        self.table.nothing = _NO_MATCH if runs else self.home.keyed(_NO_RUNS)
        self._draw()
        self._count()

    def _count(self) -> None:
        """Count runs whose rates are out of date; the answer asks for the next ones."""
        outdated = self._list.outdated()
        if outdated:
            self.read("rates", partial(count, outdated), self._counted)

    def _counted(self, found: list[Counted]) -> None:
        self._list.counted(found)
        self._draw()
        self._count()

    def _draw(self) -> None:
        """Bring the table up to date."""
        self._shown = self._list.rows(self.query_one("#filter", Input).value, bars=self._bars)
        self.table.show(self._shown, self.home.run_id)
        self._draw_around()

    def _draw_around(self) -> None:
        here = self.table.chosen
        text = self.home.keyed(about(self._list.runs.get(here), self._shown.get(here)))
        usual = f"{len(self._shown)} of {len(self._list.runs)} runs in {self.home.data.db}"
        self.query_one("#about", Text).update(Content(text or usual))

    def on_lines_moved(self, event: Lines.Moved) -> None:
        self._draw_around()

    # -- what can be done

    def _run(self) -> Run:
        found = self._list.runs.get(self.table.chosen)
        if found is None:
            raise UsageError(self.home.keyed("no run is chosen: {runs.new} sets up a new study"))
        return found

    def on_run_list_opened(self, event: RunList.Opened) -> None:
        self.action_open()

    def action_open(self) -> None:
        run = self._run()
        self.home.open_run(run.id, run.name)

    def action_demo(self) -> None:
        self.home.set_up_demo()

    def action_resume(self) -> None:
        run = self._run()
        self.resume(run)
        self.home.open_run(run.id, run.name)

    def action_pause(self) -> None:
        self.pause_or_go_on(self._run())

    def action_cancel(self) -> None:
        self.cancel(self._run())

    def action_delete(self) -> None:
        run = self._run()
        if run.state in ("running", "paused"):
            raise UsageError(self.home.keyed(f"{run.name} is {run.state}: {{runs.cancel}} cancels it first"))

        def delete(store: Store) -> str:
            store.runs.delete(run.id)
            return run.name

        def deleted(name: str) -> None:
            self.notify(f"{name} is deleted", markup=False)
            self._list.marked = [one for one in self._list.marked if one != run.id]
            self.home.deleted(run.id)
            self.look()

        question = f"Delete {run.name} with {run.done} trials, their grades and labels? This cannot be undone."
        self.confirm(question, "Delete it", lambda: self.write("delete", delete, deleted))

    def action_export(self) -> None:
        run = self._run()

        def answered(answer: str) -> None:
            path = Path(answer)
            done = f"{run.name} is written to {path}"
            export = partial(_export, run.id, path)
            self.read("export", export, lambda n: self.notify(f"{done}: {n} rows", markup=False), asked=True)

        suggestion = Path.cwd() / f"{run.name.replace('/', '_')}.jsonl"
        self.consult(AskPath(f"Export {run.name} ({run.done} trials) to", suggestion), answered)

    def action_mark(self) -> None:
        self._list.mark(self._run().id)
        self._draw()

    def action_compare(self) -> None:
        marked = self._list.marked
        if len(marked) != 2:
            raise UsageError(self.home.keyed(_MARK[len(marked)]))
        self.home.compare(*marked)

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_unfilter(self) -> None:
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        self.table.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.table.focus()


def columns(width: int) -> dict[str, int]:
    """The columns a screen of some width has room for, in order; what is left over goes to bars and to names."""
    room = width - 3 + len(GAP)  # without the cursor's mark and a scroll bar
    found: dict[str, int] = {}
    for name, wanted in COLUMNS.items():
        if room < wanted + len(GAP):
            break
        room -= wanted + len(GAP)
        found[name] = wanted
    if "experiment" in found and room >= _BAR:
        found["trials"] += _BAR
        room -= _BAR
    for name, most in (("result", _LONGEST_FIGURE), ("against", _LONGEST_FIGURE), ("name", _LONGEST_NAME)):
        if name in found:
            more = min(room, most - found[name])
            found[name] += more
            room -= more
    return found


def _export(run: str, path: Path, store: Store) -> int:
    from mlxintro.rendering.exporting import write_rows
    from mlxintro.store.export import export_rows

    return write_rows(export_rows(store, [run]), path.suffix.lstrip("."), path)
