"""Every reply of a run: found by filters, read in full, labelled blind."""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from backends.errors import UsageError
from mlxintro.store.pages import Choices, Seen
from mlxintro.store.records import Run, TrialFilter
from mlxintro.store.store import Store
from mlxintro.trials import PromptRecord
from tui import trial_text, words
from tui.filter_line import FilterSuggester, cycled, cycled_flag, parse, values_of
from tui.finding import Finding
from tui.page import Page
from tui.screens.labelling import Blind, LabelSetup, Opened, Wish, open_blind
from tui.widgets.trial_list import TrialList

_AGAIN = 20.0
"""A run that goes on is gone through again when this many times the time of the last search have passed."""
_PAUSE = 0.04
"""Seconds for which the cursor rests before the trial is laid out."""

Stamp = tuple[int, tuple[int, int]]
"""Changes when a run has more trials, or the store more verdicts."""


class TrialPane(VerticalScroll, can_focus=True):
    ALLOW_MAXIMIZE = True
    HELP = (
        "The trial under the cursor: reply, verdicts and labels, the injection with its dose and proof, and the prompt "
        "token by token, with what was injected into marked below. Arrow and page keys scroll."
    )


class ReviewPage(Page):
    PLACE = "review"
    HELP = (
        "Every trial of the open run. / writes a filter: injected, control, failed, disputed, agreed, labelled, "
        "unlabelled; arm: concept: layer: strength: with a value; grade: with names, first, other, claims, denies, "
        "leaks, refuses, unclear, garbled or none; by: with a grader. Other words are sought in the reply; "
        '"quotes" keep words together. Tab and the right arrow complete.\n'
        "B labels replies blind: what was injected and what graders say is hidden until the end."
    )
    CSS_PATH = "review.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="review.filter", key_display="/", tooltip="Filter the trials"),
        Binding("i", "condition", "Injected", id="review.condition", tooltip="Injected trials, controls, or all"),
        Binding("v", "next('grade')", "Verdict", id="review.grade", tooltip="Trials of the next class of verdict"),
        Binding("d", "flag('disputed')", "Disputed", id="review.disputed", tooltip="Trials graders disagree on"),
        Binding("u", "flag('unlabelled')", "Unlabelled", id="review.unlabelled", tooltip="Trials nobody has labelled"),
        Binding("c", "next('concept')", "Concept", show=False, id="review.concept", tooltip="The next concept only"),
        Binding("l", "next('layer')", "Layer", show=False, id="review.layer", tooltip="The next layer only"),
        Binding(
            "s", "next('strength')", "Strength", show=False, id="review.strength", tooltip="The next strength only"
        ),
        Binding("a", "next('arm')", "Arm", show=False, id="review.arm", tooltip="The next arm only"),
        Binding("g", "next('by')", "Grader", show=False, id="review.grader", tooltip="Verdicts of the next grader"),
        Binding("n", "step(1)", "Next", show=False, id="review.next_trial", tooltip="The next trial"),
        Binding("p", "step(-1)", "Previous", show=False, id="review.previous", tooltip="The trial before"),
        Binding("enter", "whole", "Whole", show=False, id="review.whole", tooltip="The trial on the whole screen"),
        Binding("b", "blind", "Label", id="review.blind", tooltip="Label replies without knowing what they are"),
        Binding("escape", "unfilter", "All", show=False, id="review.unfilter", tooltip="Show all trials again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._where = TrialFilter()
        self._finding: Finding | None = None
        """What the list shows."""
        self._fresh: Finding | None = None
        """The same filter gone through anew, because there are more trials or verdicts."""
        self._kept: int | None = None
        """Row that the cursor stood on before the filter changed."""
        self._due = 0.0
        self._stamp: Stamp = (-1, (-1, -1))
        self._counted = -1
        self._choices = Choices((), (), (), (), ())
        self._prompts: dict[str, PromptRecord] = {}
        self._wish = Wish("", "labels", 20)
        self._wrong = ""
        self._later: Timer | None = None

    def body(self) -> Iterator[Widget]:
        self._suggester = FilterSuggester()
        yield Input(
            placeholder="/ filters, e.g. injected concept:ocean grade:names",
            id="trial-filter",
            suggester=self._suggester,
        )
        yield Static(id="found", classes="quiet")
        with Container(id="review"):
            with Container(id="listing"):
                yield Static(id="columns")
                yield TrialList(self._line, id="trials")
            with TrialPane(id="trial"):
                yield Static(id="trial-text")

    def begin(self) -> None:
        self.query_one("#trial").border_title = "trial"
        self.trials.focus()

    @property
    def trials(self) -> TrialList:
        return self.query_one("#trials", TrialList)

    @property
    def field(self) -> Input:
        return self.query_one("#trial-filter", Input)

    @property
    def grader(self) -> str:
        """Whose verdicts are shown."""
        known = self._choices.graders
        return self._where.grader or ("rules" if "rules" in known or not known else known[0])

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._draw_columns)

    def _draw_columns(self) -> None:
        self.query_one("#columns", Static).update(Content(" " + trial_text.head(self.trials.size.width)))
        self._show_trial()

    def _line(self, seen: Seen, width: int) -> str:
        return trial_text.line(seen, width, self.grader)

    # -- keeping up to date

    def look(self) -> None:
        run = self.home.run_id
        if not run:
            self._say("No run is open: 1 lists the runs, Enter opens one.")
            return
        self.read("review", lambda store: (store.run(run), store.newest_verdicts()), self._looked)

    def _looked(self, sight: tuple[Run, tuple[int, int]]) -> None:
        run, verdicts = sight
        if run.id != self.home.run_id:
            return
        other = self._run is None or self._run.id != run.id
        self._run = run
        self.home.run_name = run.name
        self._name_run()
        stamp = (run.done + run.errors, verdicts)
        if other:
            self._stamp, self._counted, self._prompts, self._kept = stamp, -1, {}, None
            self._seek()
        elif stamp != self._stamp:
            if stamp[1] != self._stamp[1]:
                self.trials.forget()
            self._stamp = stamp
            self._due = max(self._due, time.monotonic())
        if self._counted != stamp[0]:
            self._counted = stamp[0]
            self.read("choices", lambda store: store.choices(run.id), self._chosen)
        if self._due and time.monotonic() >= self._due and self._fresh is None and self._settled():
            self._due = 0.0
            self._fresh = Finding(run.id, self._where)
            self._go_on(self._fresh)
        self._draw()

    def _settled(self) -> bool:
        return self._finding is not None and self._finding.over

    def _chosen(self, choices: Choices) -> None:
        self._choices = choices
        self._suggester.values = values_of(choices)
        self.trials.refresh()

    def _seek(self) -> None:
        """Go through the run with the filter that stands in the line."""
        if self._run is None:
            return
        self._fresh = None
        self._kept = self.trials.row if self.trials.row is not None else self._kept
        self._finding = Finding(self._run.id, self._where)
        self.trials.show(self._finding.rows)
        self._go_on(self._finding)
        self._draw()

    def _go_on(self, finding: Finding) -> None:
        self.read("find", finding.step, partial(self._found, finding), last=True)

    def _found(self, finding: Finding, rows: list[int]) -> None:
        if finding is not self._finding and finding is not self._fresh:
            return
        first = not finding.rows and finding is self._finding
        before = len(finding.rows)
        finding.rows.extend(rows)
        if finding is self._finding:
            self.trials.grown()
            if self._kept in rows and not self.trials.cursor:
                self.trials.cursor = before + rows.index(self._kept)
            if first:
                self._show_trial()
        if not finding.over:
            self._go_on(finding)
        elif finding is self._fresh:
            changed = self._finding is None or finding.rows != self._finding.rows
            self._finding, self._fresh = finding, None
            if changed:
                self.trials.show(finding.rows, keep=True)
        if finding.over and self._run is not None and self._run.state == "running":
            self._due = max(self._due, time.monotonic() + max(1.0, _AGAIN * (time.monotonic() - finding.begun)))
        self._draw()

    def on_trial_list_missing(self, event: TrialList.Missing) -> None:
        if self._run is None:
            return
        run, rows = self._run.id, event.rows
        self.run_worker(lambda: self._fetch(run, rows), thread=True, group="fetch", exit_on_error=False)

    def _fetch(self, run: str, rows: list[int]) -> None:
        found = self.home.ask(lambda store: store.seen(run, rows))
        self.app.call_from_thread(self._fetched, found)

    def _fetched(self, found: list[Seen]) -> None:
        if self.is_attached:
            self.trials.fill(found)

    # -- what is shown

    def _say(self, text: str) -> None:
        self.query_one("#found", Static).update(Content(words.plain(text)))

    def _draw(self) -> None:
        finding, run = self._finding, self._run
        if finding is None or run is None:
            return
        if self._wrong:
            self._say(f"✗ {self._wrong}")
            return
        total = run.done + run.errors
        count = f"{len(finding.rows):,} of {total:,} trials"
        more = "" if finding.over else f" so far, {finding.share:.0%} of the plan searched ..."
        hint = "" if len(finding.rows) or not finding.over else "; Esc shows all" if total else "; none has run yet"
        self._say(f"{count}{more}{hint}   verdicts by {self.grader}")

    def on_trial_list_moved(self, event: TrialList.Moved) -> None:
        # The list has moved already; the trial itself follows when the key is let go.
        if self._later is not None:
            self._later.stop()
        self._later = self.set_timer(_PAUSE, self._show_trial)

    def _show_trial(self) -> None:
        seen = self.trials.current
        pane = self.query_one("#trial", TrialPane)
        text = self.query_one("#trial-text", Static)
        if seen is None:
            text.update("" if not self.trials.count else "…")
            return
        key = seen.trial.spec.prompt
        if key not in self._prompts:
            self.read("prompt", lambda store: _prompt(store, key), self._prompt_came, last=True)
        width = max(20, pane.scrollable_content_region.width - 1)
        text.update(trial_text.everything(seen, self._prompts.get(key), self.grader, width))
        pane.scroll_home(animate=False)

    def _prompt_came(self, found: tuple[str, PromptRecord | None]) -> None:
        key, prompt = found
        if prompt is not None:
            self._prompts[key] = prompt
            self._show_trial()

    # -- what can be done

    def on_input_changed(self, event: Input.Changed) -> None:
        try:
            where = parse(event.value)
        except UsageError as error:
            self._wrong = str(error)
            self._draw()
            return
        self._wrong = ""
        if where.verdict is not None and where.grader is None:
            where = replace(where, grader=self.grader)
        if where != self._where:
            self._where = where
            self._seek()
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.trials.focus()

    def action_filter(self) -> None:
        self.field.focus()

    def action_unfilter(self) -> None:
        self.field.value = ""
        self.trials.focus()

    def action_condition(self) -> None:
        self.field.value = cycled_flag(self.field.value, ("injected", "control"))

    def action_flag(self, flag: str) -> None:
        self.field.value = cycled_flag(self.field.value, (flag,))

    def action_next(self, name: str) -> None:
        values = self._suggester.values.get(name, ())
        if not values:
            raise UsageError(f"this run has no {name} to choose: wait until it has trials")
        self.field.value = cycled(self.field.value, name, values)

    def action_step(self, by: int) -> None:
        self.trials.cursor += by

    def action_whole(self) -> None:
        if self.maximized is None:
            self.maximize(self.query_one("#trial"))
            self.query_one("#trial").focus()
        else:
            self.minimize()
            self.trials.focus()

    def action_blind(self) -> None:
        run = self._run
        if run is None:
            raise UsageError("no run is open: 1 lists the runs, Enter opens one")
        wish = self._wish if self._wish.labeller else replace(self._wish, labeller=getpass.getuser())

        def opened(found: Opened) -> None:
            self.app.push_screen(Blind(run, found), lambda _: self.look())

        def answered(wish: Wish | None) -> None:
            if wish is not None:
                self._wish = wish
                self.write("draw", partial(open_blind, run, wish), opened)

        self.app.push_screen(LabelSetup(run.name, wish), answered)


def _prompt(store: Store, key: str) -> tuple[str, PromptRecord | None]:
    try:
        return key, store.prompt(key)
    except UsageError:
        # A store that was brought in without its prompts: everything else of the trial can still be read.
        return key, None
