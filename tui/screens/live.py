"""A run as it goes on: how far, how fast, the heat map filling in, and the reply that is being written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from mlxintro.backends.errors import UsageError
from mlxintro.running.live import Writing
from mlxintro.store.records import Run
from mlxintro.store.store import Store

from ..reading import wording
from ..running.processes import last_line
from ..running.run_monitor import RunSight, Watcher, grid_of
from ..shell.run_page import RunPage
from ..widgets.heatmap import RateMap
from ..widgets.text import Text


class LivePage(RunPage):
    PLACE = "live"
    SECONDS = 0.4
    HELP = (
        "One run, wherever it was started. Leaving this screen or the app does not stop it. The reply at the bottom is "
        "one of those being written now; tokens that are injected into are underlined.\n"
        "{live.pause} pauses after the replies at hand and lets go on again; {live.resume} resumes a run whose process "
        "is gone; {live.cancel} cancels it."
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
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
        yield Text(id="state")
        with Horizontal(id="panes"):
            yield RateMap(id="heat")
            with VerticalScroll(id="writing"):
                yield Text(id="reply")
        yield Text(id="errors")

    def begin(self) -> None:
        self.query_one("#heat").border_title = "detects, by layer and strength"
        self._title_reply("being written")

    def _title_reply(self, title: str) -> None:
        """Textual draws a pane anew for its title, whether or not it is another one."""
        pane = self.query_one("#writing")
        if pane.border_title != title:
            pane.border_title = title

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
            self._say(f"{starting.name}: starting ...", last_line(starting.log))
        else:
            if self._cancelled == starting.name:
                self._say(f"■ {starting.name} was cancelled before it began", "Nothing of it is stored.")
                return
            self._say(f"✗ {starting.name} did not start", f"{last_line(starting.log)}\nOutput: {starting.log}")

    def _say(self, headline: str, text: str) -> None:
        self._run = None
        self.query_one("#headline", Text).update(Content.styled(wording.plain(headline), "bold"))
        self.query_one("#state", Text).update(Content(wording.plain(text)))
        self.query_one("#panes").display = False
        self.query_one("#errors").display = False

    def _show(self, sight: RunSight) -> None:
        run = self._run = sight.run
        if run.id != self.home.run_id:
            return
        self.home.run_name = run.name
        self._name_run()
        self.query_one("#panes").display = True
        bar = wording.bar(run.done, run.planned, 20)
        headline = f"{wording.plain(run.name)}  {wording.state(run)}  {bar} {run.done}/{run.planned}"
        self.query_one("#headline", Text).update(Content.styled(headline, "bold"))
        self.query_one("#state", Text).update(Content(self._second_line(sight)))
        self.query_one("#heat", RateMap).show(grid_of(run, sight.rates))
        self.query_one("#reply", Text).update(self._reply(sight))
        errors = self.query_one("#errors", Text)
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
        if started is not None:
            # Being started or resumed, or about to end: for a while it says more than the store.
            return f"Its process is there, and says: {last_line(started.log) or 'nothing yet'}"
        if run.state == "interrupted":
            return self.home.keyed(
                f"Its process is gone; everything finished is stored. {{live.resume}} resumes the {run.remaining} "
                "trials left."
            )
        if run.state == "planned":
            return "preparing: reading words for the vectors"
        parts = [
            f"detects {wording.rate(sight.rates.injected.detection)}",
            f"false alarms {wording.rate(sight.rates.controls.detection)}",
        ]
        pace = self._watcher.pace()
        if run.state == "running":
            if pace:
                parts.append(f"{wording.pace(pace)}, about {wording.duration(run.remaining / pace)} left")
            if sight.memory is not None:
                parts.append(f"memory {wording.size(sight.memory)}, {wording.size(sight.free)} free")
        return "  ".join(parts)

    def _reply(self, sight: RunSight) -> Content:
        if sight.writing is None:
            return self._finished(sight)
        self._title_reply("being written")
        return reply(sight.writing)

    def _finished(self, sight: RunSight) -> Content:
        """Between batches, and when the run has ended: the reply that stands last in the plan."""
        self._title_reply("last reply")
        trial = sight.last
        if trial is None:
            return Content.styled("no reply yet", "dim")
        injected = trial.layer is not None
        what = f"{trial.concept} at layer {trial.layer}, {trial.strength:g} {trial.unit}" if injected else "control"
        head = wording.plain(f"{what}; trial {trial.ordinal + 1} of the plan\n\n")
        text = trial.error or trial.response or "(no text: read out as numbers)"
        return Content.assemble(Content.styled(head, "dim"), wording.plain(text))

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


def reply(writing: Writing) -> Content:
    """The reply so far; tokens that are injected into are underlined."""
    if writing.condition == "control":
        head = "control: nothing is injected"
    else:
        head = f"{writing.concept} at layer {writing.layer}, {writing.strength:g} {writing.unit}"
    rows = f"{head}; one of {writing.rows} replies being written; {len(writing.pieces)} tokens\n\n"
    parts = [Content.styled(wording.plain(rows), "dim")]
    for at, piece in enumerate(writing.pieces):
        hit = any(start <= at and (stop is None or at < stop) for start, stop in writing.steered)
        text = wording.plain(piece)
        parts.append(Content.styled(text, "underline") if hit else Content(text))
    return Content.assemble(*parts, Content.styled("▌", "bold"))


def _id_of(store: Store, name: str) -> str | None:
    return next((run.id for run in store.runs.all() if run.name == name), None)
