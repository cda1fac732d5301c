"""Every reply of a run: found by filters, read in full, labelled blind."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from mlxintro.analysis.head_figures import Display
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.trials import PromptRecord
from mlxintro.store.records import Run, TrialFilter
from mlxintro.store.searching.browse import Choices, Seen
from mlxintro.store.store import Store

from ..reading import wording
from ..trials.filter_line import in_words
from ..trials.review_filter import NewestVerdicts, Searching
from ..trials.trial_line import Part, TrialLines
from ..trials.trial_order import COLUMNS, TrialOrder, ordered
from ..trials.trial_scan import ScannedTrials
from ..trials.trial_sources import display_or_none
from ..widgets.filter_field import FilterField
from ..widgets.lines import Lines
from ..widgets.text import Text
from ..widgets.trial_list import TrialColumns, TrialList
from ..widgets.trial_pane import TrialPane
from .labelling import Blind, LabelSetup
from .trial_actions import TrialActions

_PAUSE = 0.1
"""Seconds for which the cursor rests before the trial is laid out: longer than between presses of a key held down."""


class ReviewPage(TrialActions):
    PLACE = "review"
    POPUPS = (LabelSetup, Blind)
    HELP = (
        "Every trial of the open run. {review.filter} writes a filter. Every word is sought in the reply; "
        '"quotes" keep words together. is: with injected, control, failed, disputed, agreed, labelled or unlabelled; '
        "arm: concept: layer: strength: with a value; grade: with names, first, other, claims, denies, leaks, refuses, "
        "unclear, garbled or none; by: with a grader. The right arrow completes. Below it stands how it was read.\n"
        "{review.copy} copies the reply, {review.cite} a citation, {review.outside} opens it in $PAGER or $EDITOR; "
        "{review.prompt} shows the prompt as a dialogue or token by token; {review.map} plans the map of which layers "
        "and positions carry its concept into the answer.\n"
        "{review.sort} sorts by the next column, {review.turn} the other way round, as a click on its name does.\n"
        "{review.blind} labels replies blind: what was injected and what graders say is hidden until the end."
    )
    CSS_PATH = "review.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (150, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="review.filter", key_display="/", tooltip="Filter the trials"),
        Binding("b", "blind", "Label", id="review.blind", tooltip="Label replies without knowing what they are"),
        Binding("i", "condition", "Condition", id="review.condition", tooltip="Injected trials, controls, or all"),
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
        Binding("n", "step(1)", "Next", show=False, id="review.next_trial", tooltip="The next hit"),
        Binding("N,p", "step(-1)", "Previous", show=False, id="review.previous", tooltip="The hit before"),
        Binding("y", "copy", "Copy", id="review.copy", tooltip="Copy the reply"),
        Binding("Y", "cite", "Cite", show=False, id="review.cite", tooltip="Copy a citation of the trial"),
        Binding("o", "outside", "Open", show=False, id="review.outside", tooltip="Open it in $PAGER or $EDITOR"),
        Binding("m", "map", "Map", show=False, id="review.map", tooltip="Plan the map of where its answer comes from"),
        Binding("t", "prompt", "Prompt", show=False, id="review.prompt", tooltip="Prompt as dialogue or as tokens"),
        Binding("z", "sort", "Sort", show=False, id="review.sort", tooltip="Sort the trials by the next column"),
        Binding("Z", "turn", "Turn", show=False, id="review.turn", tooltip="Sort the other way round"),
        Binding("enter", "whole", "Whole", show=False, id="review.whole", tooltip="The trial on the whole screen"),
        Binding("escape", "unfilter", "All", show=False, id="review.unfilter", tooltip="Show all trials again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._search = Searching()
        self._kept: int | None = None
        """Row that the cursor stood on before the filter changed."""
        self._wanted_row: int | None = None
        """Row that the cursor is to stand on as soon as it has been found."""
        self._counted = -1
        self._verdicts: NewestVerdicts = (-1, -1)
        self._choices = Choices((), (), (), (), ())
        self._later: Timer | None = None
        self._display = Display()
        self._order = TrialOrder()

    def body(self) -> Iterator[Widget]:
        yield FilterField(id="trial-filter")
        yield Text(id="found", classes="quiet")
        with Container(id="review"):
            with Container(id="listing"):
                yield TrialColumns(id="columns")
                yield TrialList(self._line, id="trials")
            yield TrialPane(id="trial")

    def begin(self) -> None:
        self.trials.focus()

    @property
    def run(self) -> Run | None:
        return self._search.run

    @property
    def field(self) -> FilterField:
        return self.query_one("#trial-filter", FilterField)

    @property
    def grader(self) -> str:
        """Return whose verdicts are shown."""
        known = self._choices.graders
        return self._search.where.grader or ("rules" if "rules" in known or not known else known[0])

    def on_trial_list_resized(self, event: TrialList.Resized) -> None:
        self._draw_columns()

    def _draw_columns(self) -> None:
        head = self.lines.head(self.trials.room - 1)
        self.query_one(TrialColumns).show(head, self._order)
        self._show_trial()

    @property
    def lines(self) -> TrialLines:
        return TrialLines(self._display, self.grader, self.app.current_theme.dark, self._search.where.words)

    def recolour(self) -> None:
        self.trials.refresh()
        self._show_trial()

    def _line(self, seen: Seen, width: int) -> list[Part]:
        return self.lines.parts(seen, width)

    def kept(self) -> dict[str, Any]:
        order = {"column": self._order.column, "turned": self._order.turned}
        cursor = {"row": self.trials.row, "run": self.home.run_id}
        return {
            "filter": self.field.value,
            "labeller": self.wish.labeller,
            "set": self.wish.name,
            "order": order,
            "cursor": cursor,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        self.field.value = str(kept.get("filter", ""))
        self.wish = replace(
            self.wish, labeller=str(kept.get("labeller", "")), name=str(kept.get("set", "")) or self.wish.name
        )
        order, cursor = kept.get("order", {}), kept.get("cursor", {})
        if order.get("column") in COLUMNS:
            self._order = TrialOrder(order["column"], bool(order.get("turned")))
        if cursor.get("run") == self.home.run_id and isinstance(cursor.get("row"), int):
            self._wanted_row = cursor["row"]

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.home.filter_wanted is not None:
            self.field.value, self.home.filter_wanted = self.home.filter_wanted, None
        if self.home.row_wanted is not None:
            self._wanted_row, self.home.row_wanted = self.home.row_wanted, None

    # -- keeping up to date

    def look(self) -> None:
        run = self.home.run_id
        if not run:
            self._say(self.home.keyed("No run is open: {go.runs} lists the runs, Enter opens one."))
            return
        self.read("review", lambda store: (store.runs.get(run), store.browse.newest_verdicts()), self._looked)

    def _looked(self, sight: tuple[Run, NewestVerdicts]) -> None:
        run, verdicts = sight
        if run.id != self.home.run_id:
            return
        other = self._search.run is None or self._search.run.id != run.id
        self.home.run_name = run.name
        self._name_run()
        finding = self._search.update(run, verdicts)
        if other:
            self._display = display_or_none(run)
            self._counted, self.prompts, self._kept = -1, {}, None
            self._show_found()
        elif verdicts != self._verdicts:
            self.trials.forget()
        self._verdicts = verdicts
        if self._counted != run.done + run.errors:
            self._counted = run.done + run.errors
            self.read("choices", lambda store: store.browse.choices(run.id), self._chosen)
        if finding is not None:
            self._go_on(finding)
        self._draw()

    def _chosen(self, choices: Choices) -> None:
        self._choices = choices
        self.field.offer(choices)
        self.trials.refresh()

    def _seek(self, where: TrialFilter) -> None:
        """Go through the run with another filter."""
        self._kept = self.trials.row if self.trials.row is not None else self._kept
        finding = self._search.begin(where)
        if finding is not None:
            self._show_found()
            self._go_on(finding)

    def _show_found(self) -> None:
        self.trials.show(self._search.rows)
        self._draw()

    def _go_on(self, finding: ScannedTrials) -> None:
        self.read("find", finding.step, partial(self._found, finding), last=True)

    def _found(self, finding: ScannedTrials, rows: list[int]) -> None:
        search = self._search
        if not search.concerns(finding):
            return
        shown = finding is search.shown
        before = len(finding.rows)
        finding.rows.extend(rows)
        if shown:
            self.trials.grown()
            if self._kept is not None and not self.trials.cursor and self._kept in rows:
                self.trials.cursor = before + rows.index(self._kept)
            if self._wanted_row in rows:
                self.trials.cursor = before + rows.index(self._wanted_row)
                self._wanted_row = None
            if not before:
                self._show_trial()
        if not finding.over:
            self._go_on(finding)
        else:
            if search.replaced(finding) and self._order.planned:
                self.trials.show(finding.rows, keep=True)
            search.ended(finding)
            self._sort()
        self._draw()

    def _sort(self) -> None:
        """Bring what the filter has found into the order that is wanted."""
        run, order = self._search.run, self._order
        if run is None or order.planned or not self._search.settled:
            return
        rows, display = self._search.rows, self._display
        self.read(
            "sort", partial(ordered, run.id, rows, order, display, self.grader), partial(self._sorted, rows), last=True
        )

    def _sorted(self, of: array[int], rows: array[int]) -> None:
        if of is self._search.rows:
            self.trials.show(rows, keep=True)

    def _arrange(self, order: TrialOrder) -> None:
        self._order = order
        self._draw_columns()
        if order.planned:
            self.trials.show(self._search.rows, keep=True)
        else:
            self._sort()

    def on_trial_list_missing(self, event: TrialList.Missing) -> None:
        if self._search.run is None:
            return
        run, rows = self._search.run.id, event.rows
        self.run_worker(lambda: self._fetch(run, rows), thread=True, group="fetch", exit_on_error=False)

    def _fetch(self, run: str, rows: list[int]) -> None:
        found = self.home.ask(lambda store: store.browse.seen(run, rows))
        self.app.call_from_thread(self._fetched, found)

    def _fetched(self, found: list[Seen]) -> None:
        if self.is_attached:
            self.trials.fill(found)

    # -- what is shown

    def _say(self, text: str) -> None:
        self.query_one("#found", Text).update(Content(wording.plain(text)))

    def _draw(self) -> None:
        finding, run = self._search.shown, self._search.run
        if finding is None or run is None:
            return
        if self.field.wrong:
            self._say(f"✗ {self.field.wrong}")
            return
        total = run.done + run.errors
        count = f"{len(finding.rows):,} of {total:,} trials"
        more = "" if finding.over else f" so far, {finding.share:.0%} of the plan searched ..."
        hint = "" if len(finding.rows) or not finding.over else "; Esc shows all" if total else "; none has run yet"
        read = in_words(self._search.where)
        self._say(f"{count}{more}{hint}   {f'{read}   ' if read else ''}verdicts by {self.grader}")

    def on_lines_moved(self, event: Lines.Moved) -> None:
        # The list has moved already; the trial itself follows when the key is let go.
        if self._later is not None:
            self._later.stop()
        self._later = self.set_timer(_PAUSE, self._show_trial)

    def _show_trial(self) -> None:
        seen = self.trials.current
        pane = self.query_one("#trial", TrialPane)
        if seen is None:
            pane.say("" if not self.trials.count else "…")
            return
        key = seen.trial.spec.prompt
        if key not in self.prompts:
            self.read("prompt", lambda store: _prompt(store, key), self._prompt_came, last=True)
        pane.show(seen, self.prompts.get(key), self.lines)

    def _prompt_came(self, found: tuple[str, PromptRecord | None]) -> None:
        key, prompt = found
        if prompt is not None:
            self.prompts[key] = prompt
            self._show_trial()

    # -- what can be done

    def on_filter_field_filtered(self, event: FilterField.Filtered) -> None:
        where = event.where
        if where is not None and where.verdict is not None and where.grader is None:
            where = replace(where, grader=self.grader)
        if where is not None and where != self._search.where:
            self._seek(where)
        self._draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.trials.focus()

    def action_filter(self) -> None:
        self.field.focus()

    def action_unfilter(self) -> None:
        self.field.value = ""
        self.trials.focus()

    def action_condition(self) -> None:
        self.field.cycle_flag("injected", "control")

    def action_flag(self, flag: str) -> None:
        self.field.cycle_flag(flag)

    def action_next(self, name: str) -> None:
        self.field.cycle(name)

    def action_sort(self) -> None:
        self._arrange(self._order.next())

    def action_turn(self) -> None:
        self._arrange(self._order.next(self._order.column))

    def on_trial_columns_clicked(self, event: TrialColumns.Clicked) -> None:
        self._arrange(self._order.next(event.name))

    def action_step(self, by: int) -> None:
        self.trials.cursor += by

    def action_whole(self) -> None:
        if self.maximized is None:
            self.maximize(self.query_one("#trial"))
            self.query_one("#trial").focus()
        else:
            self.minimize()
            self.trials.focus()


def _prompt(store: Store, key: str) -> tuple[str, PromptRecord | None]:
    try:
        return key, store.prompts.get(key)
    except UsageError:
        # A store that was brought in without its prompts: everything else of the trial can still be read.
        return key, None
