"""Labelling blind: the reply, one question at a time, one key per answer. What it was is shown when all is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Label

from mlxintro.grading.agreement import Agreement
from mlxintro.grading.labels.labelling import CONTROL_KEYS, LabellingSession
from mlxintro.grading.labels.queue import agreement_on, open_set, session_of
from mlxintro.rendering.grids import grid
from mlxintro.store.records import Label as Said
from mlxintro.store.records import LabelSet, Run
from mlxintro.store.store import Store

from ..reading import wording
from ..reading.head_text import short
from ..shell.error_border import Popup
from ..shell.home import Home, home_of
from ..widgets.text import Text


@dataclass(frozen=True, slots=True)
class Wish:
    """Says who labels which set."""

    labeller: str
    name: str
    """Name of the set."""
    count: int
    """Trials, if the set is new."""


@dataclass(frozen=True, slots=True)
class OpenedSet:
    chosen: LabelSet
    session: LabellingSession


def open_blind(run: Run, wish: Wish, store: Store) -> OpenedSet:
    """Draw or continue a label set."""
    chosen = open_set(store, run, wish.name, wish.count)
    return OpenedSet(chosen, session_of(store, run, chosen, wish.labeller))


class LabelSetup(Popup[Wish]):
    HELP = (
        "Replies are drawn at random from the whole run, controls among them. A second labeller gives another name and "
        "the same set, and sees the same replies in the same order. A set that was begun goes on where it was left."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it", id="labelset.leave")]

    def __init__(self, run: str, wish: Wish) -> None:
        super().__init__()
        self._run = run
        self._wish = wish

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Label(Content(f"Label replies of {wording.plain(self._run)} blind"))
            yield Label("your name", classes="quiet")
            yield Input(self._wish.labeller, id="labeller")
            yield Label("name of the set", classes="quiet")
            yield Input(self._wish.name, id="set", select_on_focus=False)
            yield Label("replies, if the set is new", classes="quiet")
            yield Input(str(self._wish.count), id="count", type="integer", select_on_focus=False)
            yield Label("Enter begins, Esc leaves.", classes="quiet")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        labeller = self.query_one("#labeller", Input).value.strip()
        name = self.query_one("#set", Input).value.strip()
        count = self.query_one("#count", Input).value.strip()
        if not labeller or not name:
            self.notify("Give your name and a name for the set", severity="warning")
        elif not count.isdecimal() or int(count) < 1:
            self.notify("Give a number of replies, 1 or more", severity="warning")
        else:
            self.dismiss(Wish(labeller, name, int(count)))


class Blind(Popup[None]):
    HELP = (
        "Answer for the reply alone. Layer, strength, condition and verdicts are hidden, and the word is only shown "
        "after a claim. On controls the word is a decoy. Every label is stored at once."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "skip", "Skip", id="label.skip", tooltip="Put this reply at the end"),
        Binding("u", "undo", "Undo", id="label.undo", tooltip="Take back the last answer"),
        Binding("q,escape", "stop", "Stop", id="label.stop", tooltip="Stop; what is labelled is kept"),
        Binding("down,pagedown,space", "scroll(1)", "Scroll", show=False),
        Binding("up,pageup", "scroll(-1)", "Scroll up", show=False),
    ]

    def __init__(self, run: Run, opened: OpenedSet) -> None:
        super().__init__()
        self._run = run
        self._set = opened.chosen
        self._session = opened.session
        self._agreements: list[Agreement] | None = None
        self._unsaved: list[Said] = []
        """Labels that are not in the store yet, in the order they were given."""
        self._storing = False
        self._leaving = False

    @property
    def home(self) -> Home:
        return home_of(self)

    def compose(self) -> ComposeResult:
        with Vertical(id="blind"):
            yield Text(id="progress", classes="quiet")
            with VerticalScroll(id="said", can_focus=False):
                yield Text(id="blind-reply")
            yield Text(id="question")
            yield Text(id="answers")

    def on_mount(self) -> None:
        self.query_one("#blind").border_title = "Label blind"
        self._draw()

    # -- keys

    async def on_key(self, event: events.Key) -> None:
        key = event.character or ""
        if key in self._session.keys and key not in CONTROL_KEYS:
            event.stop()
            self.action_answer(key)

    def action_answer(self, key: str) -> None:
        """Answer the question that stands; keys that answer nothing do nothing."""
        if key not in self._session.keys or key in CONTROL_KEYS:
            return
        finished = self._session.press(key)
        if finished is not None:
            self._store(finished)
        self._draw()

    def action_skip(self) -> None:
        self._session.skip()
        self._draw()

    def action_undo(self) -> None:
        withdrawn = self._session.undo()
        if withdrawn is not None:
            self._agreements = None
            self._store(withdrawn)
        self._draw()

    def action_stop(self) -> None:
        if self._unsaved and not self._leaving:
            self._leaving = True
            self.notify(f"{len(self._unsaved)} labels wait for the store; the same key again leaves them out")
            return
        self.dismiss(None)

    def action_scroll(self, by: int) -> None:
        self.query_one("#said", VerticalScroll).scroll_relative(y=by * 3, animate=False)

    # -- storing: in a thread and in order, so that a locked store holds up no key

    def _store(self, label: Said) -> None:
        self._unsaved.append(label)
        if not self._storing:
            self._storing = True
            self.run_worker(self._store_all, thread=True, exit_on_error=False)

    def _store_all(self) -> None:
        try:
            while self._unsaved:
                labels = list(self._unsaved)
                self.home.change(partial(_add_labels, self._run.id, labels))
                del self._unsaved[: len(labels)]
        finally:
            # What could not be stored is tried again with the next label.
            self._storing = False
            if self.app.is_running:
                self.app.call_from_thread(self._stored)

    def _stored(self) -> None:
        if not self.is_attached:
            return
        if self._leaving and not self._unsaved:
            self.dismiss(None)
        else:
            self._draw()

    # -- what is shown

    def _draw(self) -> None:
        session, total = self._session, len(self._set.keys)
        item = session.item
        if item is None:
            self._draw_end()
            return
        at = total - len(session.queue) + 1
        self.query_one("#progress", Text).update(
            Content(
                wording.plain(
                    f"reply {at} of {total}; set {self._set.name}, labelled by {session.labeller}"
                    + (f"; {len(self._unsaved)} labels wait for the store" if len(self._unsaved) > 1 else "")
                )
            )
        )
        thought = "\n".join(f"│ {line}" for line in wording.plain(item.thought).split("\n")) if item.thought else ""
        before = [Content.styled(f"thought, for context; label the answer below it\n{thought}\n\n", "$text-muted")]
        self.query_one("#blind-reply", Text).update(
            Content.assemble(*(before if thought else []), wording.plain(item.response) or "(empty)")
        )
        naming = session.stage == "naming"
        question = f"The word is: {item.word}. Does the reply name it?" if naming else "What does the reply say?"
        self.query_one("#question", Text).update(Content.styled(wording.plain(question), "bold"))
        answers = [
            Content.assemble(Content.styled(f" {key} ", "reverse"), f" {meaning}").stylize(
                f"@click=screen.answer('{key}')"
            )
            for key, meaning in session.keys.items()
            if key not in CONTROL_KEYS
        ]
        rest = [f"{Content.styled(key, 'bold').plain} {meaning}" for key, meaning in CONTROL_KEYS.items()]
        self.query_one("#answers", Text).update(
            Content("\n").join([*answers, Content.styled("  ".join(rest), "$text-muted")])
        )
        self.query_one("#said", VerticalScroll).scroll_home(animate=False)

    def _draw_end(self) -> None:
        total = len(self._set.keys)
        self.query_one("#progress", Text).update(f"all {total} replies are labelled by {self._session.labeller}")
        self.query_one("#question", Text).update("")
        self.query_one("#answers", Text).update(
            Content.styled(
                self.home.keyed(
                    "{label.stop} or Esc closes   {label.undo} takes back the last label   "
                    "a second labeller: {review.blind}, with another name"
                ),
                "$text-muted",
            )
        )
        if self._agreements is None and self._unsaved:
            self.query_one("#blind-reply", Text).update("storing …")
        elif self._agreements is None:
            self.query_one("#blind-reply", Text).update("comparing …")
            self.run_worker(self._compare, thread=True, exclusive=True, exit_on_error=False)
        else:
            self.query_one("#blind-reply", Text).update(Content("\n".join(table(self._agreements))))

    def _compare(self) -> None:
        found = self.home.ask(lambda store: agreement_on(store, self._run, self._set.keys))
        self.app.call_from_thread(self._compared, found)

    def _compared(self, found: list[Agreement]) -> None:
        if self.is_attached and self._session.item is None:
            self._agreements = found
            self._draw_end()


def table(found: Sequence[Agreement]) -> list[str]:
    """Return the agreement of people with people and graders, a row per field."""
    if not found:
        return ["Nobody else has judged these replies yet: a second labeller gives another name and the same set."]
    rows = [
        [
            *(one.first, one.second, one.field),
            f"{one.confusion.yes_yes + one.confusion.no_no}/{one.confusion.decided}",
            short(one.same),
            "–" if one.kappa is None else f"{one.kappa:.2f} ({_bounds(one)})",
        ]
        for one in found
    ]
    note = "kappa: agreement beyond chance (Cohen); in brackets 95 % intervals; – where both say one thing only"
    header = ["who", "and", "about", "same", "rate", "kappa"]
    return ["How far they agree on these replies", "", *map(wording.plain, grid(header, rows)), "", note]


def _bounds(one: Agreement) -> str:
    return "–" if one.kappa_low is None or one.kappa_high is None else f"{one.kappa_low:.2f} to {one.kappa_high:.2f}"


def _add_labels(run: str, labels: Sequence[Said], store: Store) -> None:
    store.labels.add(run, labels)
