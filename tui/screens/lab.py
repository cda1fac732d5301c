"""The lab: one prompt with and without a concept's vector, answered again whenever a knob is turned.

The model is in a process of its own, so that a key never waits for it. It is ended when the screen is left: a model's
memory is then free for a study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from mlxintro.backends import registry
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.backends.models.embedded import NAME as EMBEDDED
from mlxintro.lab.messages import (
    Done,
    Error,
    Extracting,
    Loading,
    Ready,
    Side,
    Started,
    Stopped,
    Token,
    Trace,
)
from mlxintro.protocol.words.own_concepts import library_with
from mlxintro.tools.model_list import ModelRow, rows

from ..lab_widgets.cosines import Cosines, sides_of
from ..lab_widgets.lab_dials import Dials
from ..lab_widgets.lab_form import LabForm, PromptField
from ..lab_widgets.lens_strip import LensStrip
from ..lab_widgets.replies import Replies
from ..lab_widgets.sweep_map import SweepMap
from ..running.lab_client import Ended, Heard, LabClient
from ..running.study_form import adapter_name
from ..widgets.text import Text
from .lab_tools import FAKE, LabTools

_DEBOUNCE = 0.15
_FRAME = 0.05
"""Seconds between looks at what has been heard, while there is something."""
_GUIDE: Mapping[Side, Sequence[tuple[str, str]]] = {
    "control": (
        ("{lab.ask}", "load the model, and ask"),
        ("{lab.layer_down} {lab.layer_up}", "layer that is injected into"),
        ("{lab.stronger} {lab.weaker}", "strength"),
        ("{lab.double} {lab.halve}", "double it, halve it"),
        ("{lab.unit}", "the same dose in another unit"),
        ("{lab.window}", "tokens that are injected into"),
    ),
    "injected": (
        ("{lab.sweep}", "answer five layers x five strengths"),
        ("{lab.seed}", "the next seed"),
        ("{lab.before} {lab.after}", "settings asked before"),
        ("{lab.study}", "make a study of the setting"),
        ("{lab.save}", "save replies and a picture"),
        ("{app.jump}", "go to a field by its letter"),
    ),
}
"""What the panes of the replies say of keys until something is asked."""


class LabPage(LabTools):
    PLACE = "lab"
    KEYED = (Dials, Cosines)
    SECONDS = 3600.0
    CSS_PATH = "lab.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall"), (44, "-tallest")]  # noqa: RUF012
    HELP = (
        "The same prompt, seed and settings twice: plainly on the left, with the concept's vector on the right. Enter "
        "loads the model; from then on every change is answered at once, and what was being answered is given up. Any "
        "word can be a concept. Below the replies stands how much of the concept is in the residual stream at each "
        "token: the cosine with its vector, at and after a layer that is injected into of course more than before it; "
        "and, where the terminal is high enough, how probable its name is by the logit lens at that layer.\n"
        "{lab.sweep} tries five layers and five strengths around the setting, one after the other. {lab.before} and "
        "{lab.after} go through the settings that were asked. {lab.study} makes a study of the setting, {lab.save} "
        "saves both replies.\n"
        "Esc leads back to the knobs. The model's process ends when this screen is left."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+r", "again", "Ask", id="lab.ask", tooltip="Load the model, ask (again), or start over"),
        Binding("g", "sweep", "Strip", id="lab.sweep", tooltip="Try five layers and five strengths in the background"),
        Binding("w", "study", "Study", id="lab.study", tooltip="Set up a study of this setting"),
        Binding("S", "save", "Save", id="lab.save", tooltip="Save both replies, their cosines and a picture"),
        Binding("b", "history(-1)", "Before", show=False, id="lab.before", tooltip="The setting asked before"),
        Binding("f", "history(1)", "After", show=False, id="lab.after", tooltip="The setting asked after it"),
        Binding("s", "seed", "Seed", id="lab.seed", tooltip="The next seed (matters at a temperature above 0)"),
        Binding("x", "stop", "Stop", id="lab.stop", tooltip="Stop answering; the model stays"),
        Binding("pageup", "scroll_replies(-1)", "Scroll up", show=False, id="lab.page_up"),
        Binding("pagedown", "scroll_replies(1)", "Scroll down", show=False, id="lab.page_down"),
        Binding("escape", "back", "Back", id="lab.back", tooltip="To the knobs, from there to the list of runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._wait: Timer | None = None
        self._loaded: tuple[str, str] | None = None
        """Model and adapter that the process holds or is loading."""

    @property
    def _chosen(self) -> tuple[str, str]:
        return self.form.model, self.form.adapter

    def body(self) -> Iterator[Widget]:
        words = [one.word for one in library_with(self.home.own_concepts).concepts]
        yield LabForm([FAKE], words=words, id="lab-form")
        yield Dials(id="dials")
        yield Text(id="lab-state")
        with Horizontal(id="answers"):
            yield Replies(id="sides")
            yield SweepMap(id="sweep")
        yield Cosines(id="trace")
        yield LensStrip(id="lens")

    def begin(self) -> None:
        self.client = LabClient(self.home.data, self._arrived)
        self.query_one("#trace").border_title = "cosine with the concept"
        self.query_one("#lens").border_title = "the concept's name by the logit lens"
        sweep = self.query_one(SweepMap)
        sweep.border_title = "layer by strength (α)"
        sweep.hint = self.home.keyed("{lab.sweep} tries five layers and five strengths, each with its reply.")
        sweep.show(None)
        self.query_one("#trace", Cosines).wait(
            "Here stands how much of the concept is in both replies, token by token."
        )
        guide = {side: [(self.home.keyed(keys), words) for keys, words in rows] for side, rows in _GUIDE.items()}
        self.query_one(Replies).guide(guide)
        self.say(f"{self.home.keyed('{lab.ask}')} loads the model and asks.")
        self.dials.focus()
        self.read("models", lambda _: rows(registry.choose()), self._models_found)  # type: ignore[arg-type]

    def _models_found(self, found: list[ModelRow]) -> None:
        backend: str = registry.choose()
        usual = registry.default_model(backend)
        here = [row for row in found if row.on_disk == "complete" or row.name == EMBEDDED]
        order = sorted(here, key=lambda row: (not row.fits, row.name != usual, row.name != EMBEDDED))
        self.models = {row.name: (row.name, backend) for row in order} | {FAKE: ("detector", "fake")}
        self.form.offer(list(self.models))

    def recolour(self) -> None:
        self.query_one(SweepMap).show(self.sweep)

    # -- leaving

    def on_screen_suspend(self) -> None:
        # A dialogue over this screen suspends it, too.
        if self.app.current_mode != self.PLACE:
            self._end("Leaving this screen ended the model's process; Enter starts it again.")

    def on_unmount(self) -> None:
        if self.client is not None:
            self.client.stop()

    def _end(self, why: str) -> None:
        if self.client is not None and self.client.running:
            self.client.stop()
            self.ready = self.asked = self.sweep = None
            self.query_one(SweepMap).show(None)
            self.say(why)

    # -- asking

    def on_lab_form_model_chosen(self, event: LabForm.ModelChosen) -> None:
        if self.client is not None and self.client.running:
            self._start()

    def on_lab_form_edited(self, event: LabForm.Edited) -> None:
        self.changed()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_again()

    def on_prompt_field_submitted(self, event: PromptField.Submitted) -> None:
        self.action_again()

    def on_cosines_moved(self, event: Cosines.Moved) -> None:
        trace = self.query_one(Cosines).trace
        if trace is not None:
            self.query_one(Replies).mark(event.at, sides_of(trace))

    def on_sweep_map_taken(self, event: SweepMap.Taken) -> None:
        self.dials.show(replace(self.dials.knobs, layer=event.layer, strength=event.strength))
        self.changed()

    def on_dials_turned(self, event: Dials.Turned) -> None:
        self.changed()

    def changed(self) -> None:
        """Ask when nothing more has changed for a moment; what is being answered is given up at once."""
        if self.ready is None or self.client is None:
            return
        self.give_up()
        if self._chosen != self._loaded:
            name = " with ".join(one for one in self._chosen if one)
            self.say(f"{self.home.keyed('{lab.ask}')} loads {name}")
            return
        self.say("asking ...")
        if self._wait is not None:
            self._wait.stop()
        self._wait = self.set_timer(_DEBOUNCE, self._send)

    def _send(self) -> None:
        if self.ready is None or self.client is None:
            return
        self.number += 1
        try:
            self.asked = self.order(self.number)
        except UsageError as error:
            self.asked = None
            self.form.show_wrong(str(error).split(":")[0].replace(" ", "_"))
            self.say(f"✗ {error}")
            return
        self.form.show_wrong("")
        self.answered = None
        self.say("asking ...")
        self.client.send(self.asked)

    def _start(self) -> None:
        name, backend = self.models[self.form.model]
        adapter = self.form.adapter
        assert self.client is not None
        self.ready = self.asked = None
        wrong = self._wrong_adapter(adapter, backend)
        self.form.show_wrong("adapter" if wrong else "")
        if wrong:
            self.say(f"✗ Adapter: {wrong}")
            return
        self._loaded = self._chosen
        self.client.start(name, backend, adapter or None)
        self.say(f"loading {name}{f' with {adapter}' if adapter else ''} ...")

    @staticmethod
    def _wrong_adapter(adapter: str, backend: str) -> str:
        """Say what is wrong with an adapter; nothing when it may be loaded."""
        if adapter and backend == "fake":
            return "the simulated subject takes none: leave it empty"
        try:
            if adapter:
                adapter_name(adapter)
        except ValueError as error:
            return str(error)
        return ""

    # -- hearing

    def _arrived(self) -> None:
        """Called from the listening thread: look when a frame has passed, and at all of it at once."""
        if self.app.is_running:
            self.app.call_later(self.set_timer, _FRAME, self._hear)

    def _hear(self) -> None:
        # A timer's errors do not pass the border that the app has for messages.
        try:
            for heard in self.client.take() if self.client is not None else ():
                self._take(heard)
            self.query_one(Replies).draw()
        except Exception as error:
            self.home.trouble(error)

    def _take(self, heard: Heard) -> None:
        """One thing that the process has said. What belongs to an older order no longer counts."""
        number = self.asked.number if self.asked is not None else None
        match heard:
            case Loading(done=done, total=total):
                self.say(f"loading {heard.model} ..." + (f" {done / total:.0%} of a download" if total else ""))
            case Ready():
                self.ready = heard
                self.dials.show(self.dials.knobs.fitted(heard))
                self._send()
            case Ended(reason=reason):
                self.ready = self.asked = None
                self.query_one(Replies).end()
                self.say("✗ the model's process has ended; Enter starts it again")
                raise KnownError(f"The lab's model process has ended ({reason}). Enter starts it again. {self._log}")
            case Error() if heard.number is None or heard.number == number:
                self.asked = None
                if self.ready is None:
                    self._loaded = None
                self.query_one(Replies).end()
                self.say(f"✗ {heard.text}")
                if not heard.known:
                    raise KnownError(f"{heard.text}\nThis is a bug; details: {self.client.log if self.client else ''}")
            case Error() | Stopped():
                pass
            case _ if heard.number == number:
                self._follow(heard)

    def _follow(self, heard: Extracting | Started | Token | Trace | Done) -> None:
        """The order at hand, step by step."""
        trace = self.query_one(Cosines)
        if self.sweep is not None and self.sweep.asked is not None:
            self.follow_sweep(self.sweep, heard)
            return
        match heard:
            case Extracting(done=done, total=total):
                self.say(f"reading words for the vector: {done}/{total}")
            case Started():
                self.dials.show(replace(self.dials.knobs, dose=heard))
                self.query_one(Replies).begin(heard)
                trace.wait("read when both replies are there")
                self.query_one(LensStrip).show(None)
                self.say(f"▶ {self._dose()}; every change starts anew, {self.home.keyed('{lab.stop}')} stops")
            case Token(side=side, text=text):
                self.query_one(Replies).add(side, text)
            case Trace():
                trace.show(heard, self.asked.concept if self.asked is not None else "")
                self.query_one(LensStrip).show(heard)
            case Done():
                self.answered, self.asked = self.asked, None
                self.remember()
                self.query_one(Replies).end()
                share = f"{heard.relative_change:.0%}"
                self.say(f"✓ {self._dose()}; measured: {heard.positions} positions changed by {share}")
                self.go_on_sweeping()

    def _dose(self) -> str:
        dose = self.dials.knobs.dose
        return f"norm {dose.norm:.3g} = {dose.resid:.0%} of the residual norm" if dose is not None else ""

    @property
    def _log(self) -> str:
        return f"Output: {self.client.log}" if self.client is not None else ""

    # -- keys

    def action_again(self) -> None:
        if self.client is not None and (not self.client.running or self._chosen != self._loaded):
            self._start()
        elif self.ready is not None:
            self.give_up()
            self._send()

    def action_stop(self) -> None:
        if self._wait is not None:
            self._wait.stop()
        if self.asked is not None:
            self.give_up()
            self.say("stopped; Enter asks again")

    def action_seed(self) -> None:
        self.form.next_seed()

    def action_scroll_replies(self, by: int) -> None:
        self.query_one(Replies).scroll_pages(by)

    def action_back(self) -> None:
        if self.dials.has_focus:
            self.home.action_go("runs")
        else:
            self.dials.focus()
