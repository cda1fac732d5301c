"""A run as it goes on: how far, how fast, the heat map filling in, and the reply that is being written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from ..reading import live_text, wording
from ..running.processes import last_line
from ..running.run_monitor import GRADER, RunSight, Watcher, grid_of
from ..shell.run_page import RunPage
from ..trials.trial_line import TrialLines
from ..widgets.heatmap import RateGrid, RateMap, highest
from ..widgets.text import Text

_BESIDE = 2
"""Columns at the sides of a line."""
_LEAST_MAP = 16
"""Lines of the panes above the replies that the figures beside the map need."""


class LivePage(RunPage):
    PLACE = "live"
    SECONDS = 0.4
    HELP = (
        "One run, wherever it was started. Leaving this screen or the app does not stop it. Below stand the latest "
        "replies, and one of those being written now; tokens that are injected into are underlined. Signs: ● claims "
        "and names it, ◐ claims only, ◌ names it without a claim, · no claim, ≋ incoherent, ⊘ refuses, ▲ false alarm.\n"
        "{live.pause} pauses after the replies at hand and lets go on again; {live.resume} resumes a run whose process "
        "is gone; {live.cancel} cancels it."
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide"), (170, "-widest")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause", id="live.pause", tooltip="Pause the run, or let it go on"),
        Binding("r", "resume", "Resume", id="live.resume", tooltip="Resume the run"),
        Binding("x", "cancel", "Cancel", id="live.cancel", tooltip="Cancel the run; what is finished stays"),
        Binding("escape", "app.go('runs')", "Runs", id="live.back", tooltip="Back to the list of runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._watcher = Watcher("")
        self._run: Run | None = None
        self._cancelled = ""
        """Name of a run that was cancelled while it was being started."""

    def body(self) -> Iterator[Widget]:
        yield Text(id="headline")
        yield Text(id="identity", classes="quiet")
        yield Text(id="state")
        with Horizontal(id="panes"):
            yield RateMap(id="heat")
            yield RateMap(id="second-heat", figure=1)
            with VerticalScroll(id="sofar"):
                yield Text(id="figures")
        with VerticalScroll(id="writing", can_focus=False):
            yield Text(id="reply")
            yield Text(id="feed")
        yield Text(id="errors")

    def begin(self) -> None:
        self.query_one("#sofar").border_title = "so far"
        self.query_one("#writing").border_title = "latest replies"
        self.query_one("#heat").focus()

    def _title(self, pane: str, title: str) -> None:
        """Textual draws a pane anew for its title, whether or not it is another one."""
        widget = self.query_one(pane)
        if widget.border_title != title:
            widget.border_title = title

    def look(self) -> None:
        starting = self.home.starting
        if starting is not None:
            self.read("starting", lambda store: _id_of(store, starting.name), self._begun)
            return
        if not self.home.run_id:
            self._say(
                "No run is open.",
                self.home.keyed("{go.runs} lists the runs, Enter opens one; {go.new} sets up a new study."),
            )
            return
        if self._watcher.run != self.home.run_id:
            self._watcher = Watcher(self.home.run_id)
            self._run = None
        self.read("look", self._watcher.look, self._show)

    def _begun(self, run: str | None) -> None:
        starting = self.home.starting
        if starting is None:
            return
        if run is not None:
            self.home.starting = None
            self.home.open_run(run, starting.name)
            self._name_run()
            self.look()
        elif starting.process.poll() is None:
            self._say(f"◔ {starting.name}: starting", wording.preparation(starting.counting, last_line(starting.log)))
        else:
            if self._cancelled == starting.name:
                self._say(f"■ {starting.name} was cancelled before it began", "Nothing of it is stored.")
                return
            self._say(f"✗ {starting.name} did not start", f"{last_line(starting.log)}\nOutput: {starting.log}")

    def _say(self, headline: str, text: str) -> None:
        self._run = None
        self.query_one("#headline", Text).update(Content.styled(wording.plain(headline), "bold"))
        self.query_one("#state", Text).update(Content(wording.plain(text)))
        for part in ("#panes", "#writing", "#identity", "#errors"):
            self.query_one(part).display = False

    def _show(self, sight: RunSight) -> None:
        run = self._run = sight.run
        if run.id != self.home.run_id:
            return
        self.home.run_name = run.name
        self._name_run()
        for part in ("#panes", "#writing", "#identity"):
            self.query_one(part).display = True
        dark = self.app.current_theme.dark
        width = self.app.size.width
        self.query_one("#headline", Text).update(
            Content.styled(f"{wording.plain(run.name)}  {wording.state(run)}", "bold")
        )
        self.query_one("#identity", Text).update(Content(wording.identity(run)))
        self.query_one("#state", Text).update(Content(self._second_line(sight)))
        grid = grid_of(run, sight.tally)
        self._show_maps(sight, grid)
        self.query_one("#figures", Text).update(live_text.so_far(sight.tally, dark=dark))
        writing = self.query_one("#reply", Text)
        writing.display = sight.writing is not None
        if sight.writing is not None:
            writing.update(live_text.being_written(sight.writing))
        pane = self.query_one("#writing")
        room = pane.size.height
        lines = TrialLines(sight.display, GRADER, dark)
        self.query_one("#feed", Text).update(
            live_text.feed(sight.feed, lines, max(40, width - 5), room) if sight.feed else Content("no reply yet")
        )
        self._show_errors(sight)

    def _show_maps(self, sight: RunSight, grid: RateGrid) -> None:
        """Show the maps of the first two head figures, as many as there are and have room."""
        figures = sight.display.figures
        mapped = bool(grid.layers and grid.strengths)
        panes = self.query_one("#panes")
        panes.set_class(not mapped, "-unmapped")
        # As high as the map can use; the replies get the rest.
        panes.styles.max_height = max(_LEAST_MAP, highest(grid) + 2) if mapped else _LEAST_MAP
        second = len(figures) > 1 and any(cell.figures[1].observations for cell in grid.cells.values())
        for pane, figure, shown in (("#heat", 0, mapped), ("#second-heat", 1, mapped and second)):
            map_ = self.query_one(pane, RateMap)
            map_.set_class(not shown, "-nothing")
            if shown:
                where = f", by layer and strength (α: {grid.unit or 'raw'})"
                self._title(pane, f"{figures[figure].label}{where if figure == 0 else ''}")
                map_.show(grid)

    def _show_errors(self, sight: RunSight) -> None:
        run, errors = sight.run, self.query_one("#errors", Text)
        lines = [f"✗ trial {one.ordinal}: {one.error}" for one in sight.failures[:3]]
        if run.error:
            lines.insert(0, f"✗ {run.error}")
        if run.errors > 3:
            lines.append(
                self.home.keyed(f"  {run.errors} trials failed in all; {{live.resume}} tries them again after the run")
            )
        errors.display = bool(lines)
        errors.update(Content(wording.plain("\n".join(lines))))

    def _second_line(self, sight: RunSight) -> str:
        run = sight.run
        started = self.home.processes.find(run.name) if run.state not in ("running", "paused", "done") else None
        if run.preparing and run.control == "pause":
            return self.home.keyed("Paused before its first trial: {live.pause} lets it go on.")
        if started is not None and run.state != "cancelled":
            # Being started or resumed, or about to end: for a while it says more than the store.
            return wording.preparation(started.counting, last_line(started.log))
        if run.state == "interrupted":
            return self.home.keyed(
                f"Its process is gone; everything finished is stored. {{live.resume}} resumes the {run.remaining} "
                "trials left."
            )
        if run.preparing:
            return "◔ extracting vectors"
        if run.state == "planned":
            return self.home.keyed("Nothing of it has run yet: {live.resume} starts it.")
        return live_text.progress(
            sight, self._watcher.paces, self._watcher.memories, self._watcher.pace(), self.app.size.width - _BESIDE
        )

    def on_rate_map_cell_opened(self, event: RateMap.CellOpened) -> None:
        run = self._open()
        self.home.filter_wanted = f"is:injected layer:{event.layer} strength:{event.strength:g}"
        self.home.open_run(run.id, run.name, "review")

    def _open(self) -> Run:
        if self._run is None:
            raise UsageError(self.home.keyed("no run is open here yet: {go.runs} lists the runs"))
        return self._run

    def action_pause(self) -> None:
        self.pause_or_go_on(self._open())

    def action_resume(self) -> None:
        self.resume(self._open())

    def action_cancel(self) -> None:
        starting = self.home.starting
        if starting is not None and starting.process.poll() is None:
            # Nothing of it is stored yet.
            starting.process.terminate()
            self._cancelled = starting.name
            return
        self.cancel(self._open())


def _id_of(store: Store, name: str) -> str | None:
    return next((run.id for run in store.runs.all() if run.name == name), None)
