"""Every run with its rates and its state, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.tools.demo import demo_study

from ..reading import live_text
from ..reading.first_steps import first_steps
from ..reading.run_preview import about
from ..reading.run_rows import GROUP, ORDERS, Arrangement, Counted, RunCells, count
from ..running.run_monitor import grid_of
from ..widgets import heatmap
from ..widgets.lines import Lines
from ..widgets.run_list import RunColumns, RunList, columns
from ..widgets.text import Text
from .overlay import Overlay
from .run_actions import RunActions

_PAUSE = 0.1
"""Seconds for which the cursor rests before the run's trials are shown: longer than between presses of a key held."""
_ROOMY = 12
"""Lines of the preview from which on it also says what the trials came to."""
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
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall"), (45, "-tallest")]  # noqa: RUF012
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
        self._later: Timer | None = None
        self._said = ""
        """What the preview says of the run's study."""
        self._bars = False
        """Whether there is room for a bar beside the number of trials."""

    def body(self) -> Iterator[Widget]:
        yield Input(placeholder="filter by name, model, experiment, state", id="filter", select_on_focus=False)
        yield RunColumns(id="run-columns")
        yield RunList(id="runs")
        with Horizontal(id="preview"):
            yield Text(id="about")
            yield Text(id="preview-map")

    @property
    def table(self) -> RunList:
        return self.query_one("#runs", RunList)

    def begin(self) -> None:
        self._lay_out()
        self.query_one("#filter").display = False
        self.query_one("#preview").border_title = "no run"
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
        self.redraw()
        self.call_after_refresh(self._draw_around)

    def _lay_out(self) -> None:
        """Choose the columns there is room for."""
        widths, self._bars = columns(self.app.size.width, self.listed.longest)
        if widths != self.table.widths:
            self.table.widths = widths
            self._name_columns()
            self.table.refresh()

    def _name_columns(self) -> None:
        arrangement = self.listed.arrangement
        self.query_one(RunColumns).show(self.table.widths, arrangement.order, arrangement.title)

    def recolour(self) -> None:
        self.table.refresh()
        self._draw_around()

    # -- keeping up to date

    def look(self) -> None:
        def found(store: Store) -> tuple[list[Run], tuple[int, set[str]], dict[str, str]]:
            return store.runs.all(), store.grades.graded_since(self._last_grade), store.studies.names_by_run()

        self.read("runs", found, self._arrived)

    def _arrived(self, found: tuple[list[Run], tuple[int, set[str]], dict[str, str]]) -> None:
        runs, (self._last_grade, regraded), studies = found
        self.listed.update(runs, regraded, studies)
        self.table.nothing = _NO_MATCH if runs else self.home.keyed(first_steps(self.app.size.width, self.home.data.db))
        # A list without runs has nothing to preview, and its first steps take the room.
        self.query_one("#preview").display = bool(runs)
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
        self._lay_out()
        self._shown = self.listed.rows(self.query_one("#filter", Input).value, bars=self._bars)
        self.table.show(self._shown, self._usual or self.home.run_id, self.listed.marks)
        self._draw_around()

    def _draw_around(self) -> None:
        here = self.table.chosen
        run = self.listed.runs.get(here)
        pane = self.query_one("#preview")
        width = max(20, self.app.size.width - 4) if self.has_class("-short") else None
        text = self.home.keyed(about(run, self._shown.get(here), width)) or f"{len(self.listed.runs)} runs"
        if text != self._said:
            self._said = text
            self.query_one("#about", Text).update(text)
        # The list has moved already; the map and the classes follow when the key is let go.
        if self._later is not None:
            self._later.stop()
        self._later = self.set_timer(_PAUSE, partial(self._draw_counts, run, text))
        sorted_by = self.listed.arrangement.title
        shown = sum(not one.startswith(GROUP) for one in self._shown)
        for title, value in (
            ("border_title", run.name if run is not None else "runs"),
            ("border_subtitle", f"{shown} of {len(self.listed.runs)} runs in {self.home.data.db}, by {sorted_by}"),
        ):
            # Textual draws the pane anew for a title, whether or not it is another one.
            if getattr(pane, title) != (escaped := value.replace("[", "\\[")):
                setattr(pane, title, escaped)

    def _draw_counts(self, run: Run | None, text: str) -> None:
        """Show what the run's trials came to below its study and the map beside it, where there is room."""
        tally = self.listed.tally(run.id) if run is not None else None
        beside = self.query_one("#preview-map", Text)
        if run is None or tally is None:
            beside.update("")
            return
        if self.query_one("#preview").size.height > _ROOMY:
            classes = live_text.class_lines(tally, dark=self.app.current_theme.dark)
            self.query_one("#about", Text).update(Content.assemble(text, "\n\n", classes))
        grid = grid_of(run, tally)
        if not (grid.layers and grid.strengths):
            beside.update("")
        elif beside.size.width:
            title = Content.styled(f"{tally.display.figures[0].label} (α: {grid.unit or 'raw'})\n", "bold")
            beside.update(Content.assemble(title, heatmap.draw(grid, beside.size.width, beside.size.height - 1)))

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
