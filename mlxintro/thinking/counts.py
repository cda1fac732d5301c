"""Noticed in the thought, said in the answer: the two channels of subjects that think before they answer, crossed.

A thought that was cut off, at its budget or by the end of the model's turn, is a class of its own: what the model would
have concluded is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mlxintro.analysis.results import Cell, Table
from mlxintro.protocol.controls import SWAPPED
from mlxintro.replies.thoughts import StoredThought, thought_of
from mlxintro.store.records import GradeRecord, Run, Trial, TrialFilter
from mlxintro.store.store import Store
from mlxintro.thinking.channels import CHANNEL_CLASSES, ChannelClass, channel_of, notices
from mlxintro.thinking.grades import both_channels
from mlxintro.thinking.swaps import swap_table


@dataclass(frozen=True, slots=True)
class ChannelCounts:
    """Says how many replies of one condition are of each class."""

    condition: str
    classes: Counter[ChannelClass]
    cut_off_said: int
    """Replies whose thought was cut off and whose answer claims a detection; they are among ``thought cut off``."""

    def __getitem__(self, name: ChannelClass) -> int:
        return self.classes[name]


def count_channels(judged: Iterable[tuple[Trial, StoredThought, GradeRecord | None]]) -> list[ChannelCounts]:
    """Count the classes of replies, injected ones and controls apart."""
    found: dict[str, ChannelCounts] = {}
    for trial, thought, record in judged:
        name = "injected" if trial.condition == "injected" else "control"
        counts = found.setdefault(name, ChannelCounts(name, Counter(), 0))
        class_ = channel_of(thought, record)
        counts.classes[class_] += 1
        if class_ == "thought cut off" and record is not None and notices(record):
            found[name] = ChannelCounts(name, counts.classes, counts.cut_off_said + 1)
    return [found[name] for name in ("injected", "control") if name in found]


@dataclass
class ThoughtEnds:
    """Counts how the thoughts and answers of some trials ended."""

    thoughts: int = 0
    tokens: int = 0
    """Length of all thoughts together."""
    ends: Counter[str] = field(default_factory=Counter)
    """Thoughts by what ended them; see ``StoredThought.closed``."""
    answers_cut: int = 0
    """Written answers that ended at their budget, not by themselves."""

    @property
    def mean_tokens(self) -> float:
        """Return how long a thought is on average."""
        return self.tokens / self.thoughts if self.thoughts else 0.0

    def add(self, trial: Trial, thought: StoredThought) -> None:
        """Count one trial."""
        self.thoughts += 1
        self.tokens += thought.tokens
        self.ends[thought.closed] += 1
        self.answers_cut += trial.spec.readout == "text" and trial.finish == "length"


def count_ends(store: Store, run: Run) -> dict[str, ThoughtEnds]:
    """Count how thoughts and answers ended: injected trials, uninjected ones, and control arms apart."""
    found = {name: ThoughtEnds() for name in ("injected", "control", "control arms")}
    for trial in store.trials.of_run(run.id, TrialFilter(status="done")):
        if (thought := thought_of(trial.measurements)) is not None:
            found["control arms" if trial.arm else trial.condition].add(trial, thought)
    return {name: ends for name, ends in found.items() if ends.thoughts}


def thought_tables(store: Store, run: Run, grader: str, *, graded: bool) -> Iterator[Table]:
    """Return the tables about thoughts; nothing for a run whose subject did not think.

    Args:
        store: open.
        run: whose trials.
        grader: whose verdicts.
        graded: whether graders of claims apply to the run's replies.
    """
    if run.study.get("thinking") != "on":
        return
    swapped = store.trials.of_run(run.id, TrialFilter(status="done", arm=SWAPPED))
    if (table := swap_table((trial.concept or "", trial.measurements) for trial in swapped)) is not None:
        yield table
    if graded and (table := _channel_table(store, run, grader)) is not None:
        yield table
    if (table := _ends_table(store, run)) is not None:
        yield table


def _channel_table(store: Store, run: Run, grader: str) -> Table | None:
    counts = count_channels(both_channels(store, run, grader))
    if not counts:
        return None
    cut = sum(one.cut_off_said for one in counts)
    note = (
        f"by {grader}; the thought's verdict x the answer's, main trials. A thought cut off at its budget is in no "
        f"cell of the four: {cut} of those answers claim a detection."
    )
    rows: list[tuple[Cell, ...]] = [(one.condition, *(one[name] for name in CHANNEL_CLASSES)) for one in counts]
    columns = ("condition", *CHANNEL_CLASSES)
    return Table("channels", "Noticed in the thought, said in the answer", columns, tuple(rows), note)


def _ends_table(store: Store, run: Run) -> Table | None:
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            of.thoughts,
            of.ends["itself"],
            of.ends["budget"],
            of.ends["turn"],
            of.answers_cut,
            round(of.mean_tokens, 1),
        )
        for name, of in count_ends(store, run).items()
    ]
    columns = (
        "trials",
        "thoughts",
        "ended by the subject",
        "cut off at the budget",
        "turn ended in the thought",
        "answer cut off",
        "tokens of a thought",
    )
    note = (
        f"budgets: {run.study.get('thinking_tokens')} tokens a thought, {run.study.get('max_tokens')} an answer. Where "
        "many are cut off, run again with more --thinking-tokens or --max-tokens."
    )
    return Table("thoughts", "How thoughts and answers ended", columns, tuple(rows), note) if rows else None
