"""Every run with its rates and its state, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tools.demo import demo_study

from ..reading.run_preview import about
from ..reading.run_rows import GROUP, ORDERS, Arrangement, Counted, RunCells, count
from ..widgets.lines import Lines
from ..widgets.run_list import GAP, RunColumns, RunList
from ..widgets.text import Text
from .overlay import Overlay
from .run_actions import RunActions

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
_NO_MATCH = "\n  No run matches the filter; Esc shows all."


class RunsPage(RunActions):
    PLACE = "runs"
    POPUPS = (Overlay,)
    HELP = (
        "All runs. Enter opens one. Result: the head figure of the run's experiment with its counts, and in brackets "
        "the 95 % interval; against: the same over the trials it is set against, e.g. those without an injection. "
        "Replies are judged by the rules grader. Below stands the run under the cursor with its study.\n"
        "{runs.filter} filters by name, model, experiment and state; {runs.sort} sorts by the next column, "
        "{runs.turn} the other way round; {runs.group} groups by model or experiment. {runs.mark} marks a run; "
        "{runs.compare} compares two marked ones, {runs.overlay} draws the curves of all of them on shared axes."
    )
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="runs.open", tooltip="Open the run and watch it"),
        Binding("n", "app.go('new')", "New", id="runs.new", tooltip="Set up a new study"),
        Binding("d", "demo", "Demo", id="runs.demo", tooltip="Set up the demo study on the embedded model"),
        Binding("r", "resume", "Resume", id="runs.resume", tooltip="Resume the run"),
        Binding("p", "pause", "Pause", id="runs.pause", tooltip="Pause the run, or let it go on"),
        Binding("x", "cancel", "Cancel", id="runs.cancel", tooltip="Cancel the run; what is finished stays"),
        Binding("slash", "filter", "Filter", id="runs.filter", tooltip="Filter the list of runs", key_display="/"),
        Binding("m", "mark", "Mark", id="runs.mark", tooltip="Mark the run, for comparing"),
        Binding("c", "compare", "Compare", id="runs.compare", tooltip="Compare two marked runs"),
        Binding("v", "overlay", "Curves", id="runs.overlay", tooltip="Curves of the marked runs on shared axes"),
        Binding("o", "sort", "Sort", id="runs.sort", tooltip="Sort the list by the next column"),
        Binding("g", "group", "Group", id="runs.group", tooltip="Group the list by model, by experiment, or not"),
        Binding("f2", "rename", "Rename", id="runs.rename", tooltip="Give the run another name"),
        Binding("i", "note", "Note", id="runs.note", tooltip="Note something with the run"),
        Binding("s", "study", "Its study", id="runs.study", tooltip="Set up a new run of the run's study"),
        Binding("e", "export", "Export", id="runs.export", tooltip="Export the run to a file"),
        Binding("w", "report", "Report", id="runs.report", tooltip="Write a report on the run: HTML, PNG, SVG"),
        Binding("O", "turn", "Turn", show=False, id="runs.turn", tooltip="Sort the other way round"),
        Binding("delete", "delete", "Delete", show=False, id="runs.delete", tooltip="Delete the run"),
        Binding("escape", "unfilter", "All", show=False, id="runs.unfilter", tooltip="Show all runs again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._last_grade = 0
        self._shown: dict[str, RunCells] = {}
        self._usual = ""
        """Run that the cursor goes to at first, from the last time."""

    def body(self) -> Iterator[Widget]:
        yield Input(placeholder="filter by name, model, experiment, state", id="filter")
        yield RunColumns(id="run-columns")
        yield RunList(id="runs")
        yield Text(id="about")

    @property
    def table(self) -> RunList:
        return self.query_one("#runs", RunList)

    def begin(self) -> None:
        self._lay_out()
        self.query_one("#filter").display = False
        self.query_one("#about").border_title = "no run"
        self.table.focus()

    def kept(self) -> dict[str, Any]:
        return {
            "filter": self.query_one("#filter", Input).value,
            "cursor": self.table.chosen,
            "marks": self.listed.marks,
            **self.listed.arrangement.kept(),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        self.listed.arrangement = Arrangement.restored(kept)
        self.listed.marks = {str(run): int(slot) for run, slot in kept.get("marks", {}).items()}
        self._usual = str(kept.get("cursor", ""))
        field = self.query_one("#filter", Input)
        field.value = str(kept.get("filter", ""))
        field.display = bool(field.value)
        self._name_columns()

    def on_resize(self) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        """Choose the columns there is room for. Their widths are fixed, so that nothing jumps while rates come in."""
        widths = columns(self.app.size.width)
        if widths != self.table.widths:
            self.table.widths = widths
            self._name_columns()
            self.redraw()

    def _name_columns(self) -> None:
        arrangement = self.listed.arrangement
        self.query_one(RunColumns).show(self.table.widths, arrangement.order, arrangement.title)

    @property
    def _bars(self) -> bool:
        return self.table.widths.get("trials", 0) > COLUMNS["trials"]

    # -- keeping up to date

    def look(self) -> None:
        def found(store: Store) -> tuple[list[Run], tuple[int, set[str]], dict[str, str]]:
            return store.runs.all(), store.grades.graded_since(self._last_grade), store.studies.names_by_run()

        self.read("runs", found, self._arrived)

    def _arrived(self, found: tuple[list[Run], tuple[int, set[str]], dict[str, str]]) -> None:
        runs, (self._last_grade, regraded), studies = found
        self.listed.update(runs, regraded, studies)
        self.table.nothing = _NO_MATCH if runs else self.home.keyed(_NO_RUNS)
        self.redraw()
        self._count()

    def _count(self) -> None:
        """Count runs whose rates are out of date; the answer asks for the next ones."""
        outdated = self.listed.outdated()
        if outdated:
            self.read("rates", partial(count, outdated), self._counted)

    def _counted(self, found: list[Counted]) -> None:
        self.listed.counted(found)
        self.redraw()
        self._count()

    def redraw(self) -> None:
        self._shown = self.listed.rows(self.query_one("#filter", Input).value, bars=self._bars)
        self.table.show(self._shown, self._usual or self.home.run_id, self.listed.marks)
        self._draw_around()

    def _draw_around(self) -> None:
        here = self.table.chosen
        run = self.listed.runs.get(here)
        pane = self.query_one("#about", Text)
        text = self.home.keyed(about(run, self._shown.get(here)))
        pane.update(Content(text or f"{len(self.listed.runs)} runs"))
        sorted_by = self.listed.arrangement.title
        shown = sum(not one.startswith(GROUP) for one in self._shown)
        for title, value in (
            ("border_title", run.name if run is not None else "runs"),
            ("border_subtitle", f"{shown} of {len(self.listed.runs)} runs in {self.home.data.db}, by {sorted_by}"),
        ):
            # Textual draws the pane anew for a title, whether or not it is another one.
            if getattr(pane, title) != (escaped := value.replace("[", "\\[")):
                setattr(pane, title, escaped)

    def on_lines_moved(self, event: Lines.Moved) -> None:
        self._draw_around()

    # -- what can be done

    def chosen_run(self) -> Run:
        found = self.listed.runs.get(self.table.chosen)
        if found is None:
            raise UsageError(self.home.keyed("no run is chosen: {runs.new} sets up a new study"))
        return found

    def on_run_list_opened(self, event: RunList.Opened) -> None:
        self.action_open()

    def on_run_columns_clicked(self, event: RunColumns.Clicked) -> None:
        if event.name in ORDERS:
            self._arrange(event.name)

    def action_open(self) -> None:
        here = self.table.chosen
        if here.startswith(GROUP):
            self.listed.arrangement.fold(here.removeprefix(GROUP))
            self.redraw()
            return
        run = self.chosen_run()
        self.home.open_run(run.id, run.name)

    def action_demo(self) -> None:
        study = demo_study("auto", None).model_dump(mode="json")
        self.home.set_up_study(study, self.home.keyed("the demo study: {new.start} starts it"))

    def action_study(self) -> None:
        run = self.chosen_run()
        self.home.set_up_study(run.study, f"the study of {run.name}")

    def action_resume(self) -> None:
        run = self.chosen_run()
        self.resume(run)
        self.home.open_run(run.id, run.name)

    def action_pause(self) -> None:
        self.pause_or_go_on(self.chosen_run())

    def action_cancel(self) -> None:
        self.cancel(self.chosen_run())

    def action_sort(self) -> None:
        self._arrange(None)

    def action_turn(self) -> None:
        self._arrange(self.listed.arrangement.order)

    def _arrange(self, order: str | None) -> None:
        self.listed.arrangement.next_order(order)
        self._name_columns()
        self.redraw()

    def action_group(self) -> None:
        self.listed.arrangement.next_grouping()
        self.redraw()

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
        self.redraw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.table.focus()


def columns(width: int) -> dict[str, int]:
    """Return the columns a screen of some width has room for, in order; what is left over goes to bars and to names."""
    room = width - 3 + len(GAP)  # without the cursor's mark and a scroll bar
    found: dict[str, int] = {}
    for name, wanted in COLUMNS.items():
        if room < wanted + len(GAP):
            if not found:
                # A terminal narrower than that shows the beginning of the names.
                found[name] = max(4, room - len(GAP))
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
