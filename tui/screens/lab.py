"""The lab: one prompt with and without a concept's vector, answered again whenever a knob is turned.

The model is in a process of its own, so that a key never waits for it. It is ended when the screen is left: a model's
memory is then free for a study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from mlxintro.backends import registry
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.backends.models.embedded import NAME as EMBEDDED
from mlxintro.lab.messages import (
    Ask,
    Cancel,
    Done,
    Error,
    Extracting,
    LensTrace,
    Loading,
    Ready,
    Started,
    Stopped,
    Token,
    Trace,
    ask,
)
from mlxintro.tools.model_list import ModelRow, rows

from ..reading import wording
from ..running.lab_client import Ended, Heard, LabClient
from ..shell.page import Page
from ..widgets.cosines import TokenBars
from ..widgets.lab_dials import Dials
from ..widgets.lab_form import LabForm
from ..widgets.replies import Replies
from ..widgets.text import Text

FAKE = "simulated"
_DEBOUNCE = 0.15
_FRAME = 0.05
"""Seconds between looks at what has been heard, while there is something."""


class LabPage(Page):
    PLACE = "lab"
    KEYED = (Dials,)
    SECONDS = 3600.0
    CSS_PATH = "lab.tcss"
    HELP = (
        "The same prompt, seed and settings twice: plainly on the left, with the concept's vector on the right. Enter "
        "loads the model; from then on every change is answered at once, and what was being answered is given up. Any "
        "word can be a concept. Below the replies stands how much of the concept is in the residual stream at each "
        "token: the cosine with its vector, at and after a layer that is injected into of course more than before "
        "it; and how probable its name is by the logit lens, as if the model ended at that layer.\n"
        "Esc leads back to the knobs. The model's process ends when this screen is left."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+r", "again", "Ask", id="lab.ask", tooltip="Load the model, ask (again), or start over"),
        Binding("s", "seed", "Seed", id="lab.seed", tooltip="The next seed (matters at a temperature above 0)"),
        Binding("x", "stop", "Stop", id="lab.stop", tooltip="Stop answering; the model stays"),
        Binding("pageup", "scroll_replies(-1)", "Scroll up", show=False, id="lab.page_up"),
        Binding("pagedown", "scroll_replies(1)", "Scroll down", show=False, id="lab.page_down"),
        Binding("escape", "back", "Knobs/Runs", id="lab.back", tooltip="To the knobs, from there to the list of runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, tuple[str, str]] = {FAKE: ("detector", "fake")}
        self._client: LabClient | None = None
        self._ready: Ready | None = None
        self._wait: Timer | None = None
        self._asked: Ask | None = None
        """The latest order."""
        self._number = 0

    def body(self) -> Iterator[Widget]:
        yield LabForm([FAKE], id="lab-form")
        yield Dials(id="dials")
        yield Text(id="lab-state")
        yield Replies(id="sides")
        yield TokenBars(id="trace")
        yield TokenBars(id="lens")

    @property
    def dials(self) -> Dials:
        return self.query_one(Dials)

    @property
    def form(self) -> LabForm:
        return self.query_one(LabForm)

    def begin(self) -> None:
        self._client = LabClient(self.home.data, self._arrived)
        self.query_one("#trace").border_title = "cosine with the concept"
        self.query_one("#lens").border_title = "the concept's name by the logit lens"
        self._say("Enter loads the model and asks.")
        self.dials.focus()
        self.read("models", lambda _: rows(registry.choose()), self._models_found)  # type: ignore[arg-type]

    def _models_found(self, found: list[ModelRow]) -> None:
        backend: str = registry.choose()
        usual = registry.default_model(backend)
        here = [row for row in found if row.on_disk == "complete" or row.name == EMBEDDED]
        order = sorted(here, key=lambda row: (not row.fits, row.name != usual, row.name != EMBEDDED))
        self._models = {row.name: (row.name, backend) for row in order} | {FAKE: ("detector", "fake")}
        self.form.offer(list(self._models))

    # -- leaving

    def on_screen_suspend(self) -> None:
        # A dialogue over this screen suspends it, too.
        if self.app.current_mode != self.PLACE:
            self._end("Leaving this screen ended the model's process; Enter starts it again.")

    def on_unmount(self) -> None:
        if self._client is not None:
            self._client.stop()

    def _end(self, why: str) -> None:
        if self._client is not None and self._client.running:
            self._client.stop()
            self._ready = self._asked = None
            self._say(why)

    # -- asking

    def on_lab_form_model_chosen(self, event: LabForm.ModelChosen) -> None:
        if self._client is not None and self._client.running:
            self._start()

    def on_lab_form_edited(self, event: LabForm.Edited) -> None:
        self._changed()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_again()

    def on_dials_turned(self, event: Dials.Turned) -> None:
        self._changed()

    def _changed(self) -> None:
        """Ask when nothing more has changed for a moment; what is being answered is given up at once."""
        if self._ready is None or self._client is None:
            return
        self._give_up()
        self._say("asking ...")
        if self._wait is not None:
            self._wait.stop()
        self._wait = self.set_timer(_DEBOUNCE, self._send)

    def _give_up(self) -> None:
        if self._asked is not None and self._client is not None:
            self._client.send(Cancel())
            self._asked = None
            self.query_one(Replies).end()

    def _send(self) -> None:
        if self._ready is None or self._client is None:
            return
        self._number += 1
        try:
            self._asked = self._order(self._number)
        except UsageError as error:
            self._say(f"✗ {error}")
            return
        self._say("asking ...")
        self._client.send(self._asked)

    def _order(self, number: int) -> Ask:
        knobs = self.dials.knobs
        return ask(
            number,
            concept=self.form.concept,
            prompt=self.form.prompt,
            layer=knobs.layer,
            strength=knobs.strength,
            unit=knobs.unit,
            window=knobs.window,
            readout=knobs.readout,
            **self.form.numbers,
        )

    def _start(self) -> None:
        name, backend = self._models[self.form.model]
        assert self._client is not None
        self._ready = self._asked = None
        self._client.start(name, backend)
        self._say(f"loading {name} ...")

    # -- hearing

    def _arrived(self) -> None:
        """Called from the listening thread: look when a frame has passed, and at all of it at once."""
        if self.app.is_running:
            self.app.call_later(self.set_timer, _FRAME, self._hear)

    def _hear(self) -> None:
        # A timer's errors do not pass the border that the app has for messages.
        try:
            for heard in self._client.take() if self._client is not None else ():
                self._take(heard)
            self.query_one(Replies).draw()
        except Exception as error:
            self.home.trouble(error)

    def _take(self, heard: Heard) -> None:
        """One thing that the process has said. What belongs to an older order no longer counts."""
        number = self._asked.number if self._asked is not None else None
        match heard:
            case Loading(done=done, total=total):
                self._say(f"loading {heard.model} ..." + (f" {done / total:.0%} of a download" if total else ""))
            case Ready():
                self._ready = heard
                self.dials.show(self.dials.knobs.fitted(heard))
                self._send()
            case Ended(reason=reason):
                self._ready = self._asked = None
                self.query_one(Replies).end()
                self._say("✗ the model's process has ended; Enter starts it again")
                raise KnownError(f"The lab's model process has ended ({reason}). Enter starts it again. {self._log}")
            case Error() if heard.number is None or heard.number == number:
                self._asked = None
                self.query_one(Replies).end()
                self._say(f"✗ {heard.text}")
                if not heard.known:
                    raise KnownError(
                        f"{heard.text}\nThis is a bug; details: {self._client.log if self._client else ''}"
                    )
            case Error() | Stopped():
                pass
            case _ if heard.number == number:
                self._follow(heard)

    def _follow(self, heard: Extracting | Started | Token | Trace | LensTrace | Done) -> None:
        """The order at hand, step by step."""
        trace, lens = self.query_one("#trace", TokenBars), self.query_one("#lens", TokenBars)
        match heard:
            case Extracting(done=done, total=total):
                self._say(f"reading words for the vector: {done}/{total}")
            case Started():
                self.dials.show(replace(self.dials.knobs, dose=heard))
                self.query_one(Replies).begin(heard)
                trace.wait("read when both replies are there")
                lens.wait("")
                self._say(f"▶ {self._dose()}; every change starts anew, {self.home.keyed('{lab.stop}')} stops")
            case Token(side=side, text=text):
                self.query_one(Replies).add(side, text)
            case Trace():
                concept = self._asked.concept if self._asked is not None else ""
                trace.show(heard, f"cosine with {concept} at layer {heard.layer}, token by token")
            case LensTrace():
                lens.show(heard, f"logit lens: log P({heard.name.strip()}) at layer {heard.layer}, token by token")
            case Done():
                self._asked = None
                self.query_one(Replies).end()
                share = f"{heard.relative_change:.0%}"
                self._say(f"✓ {self._dose()}; measured: {heard.positions} positions changed by {share}")

    def _dose(self) -> str:
        dose = self.dials.knobs.dose
        return f"norm {dose.norm:.3g} = {dose.resid:.0%} of the residual norm" if dose is not None else ""

    @property
    def _log(self) -> str:
        return f"Output: {self._client.log}" if self._client is not None else ""

    def _say(self, text: str) -> None:
        self.query_one("#lab-state", Text).update(Content(wording.plain(text)))

    # -- keys

    def action_again(self) -> None:
        if self._client is not None and not self._client.running:
            self._start()
        elif self._ready is not None:
            self._give_up()
            self._send()

    def action_stop(self) -> None:
        if self._asked is not None:
            self._give_up()
            self._say("stopped; Enter asks again")

    def action_seed(self) -> None:
        self.form.next_seed()

    def action_scroll_replies(self, by: int) -> None:
        self.query_one(Replies).scroll_pages(by)

    def action_back(self) -> None:
        if self.dials.has_focus:
            self.home.action_go("runs")
        else:
            self.dials.focus()
