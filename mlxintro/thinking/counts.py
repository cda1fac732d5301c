"""Noticed in the thought, said in the answer: the two channels of subjects that think before they answer, crossed.

A thought that was cut off, at its budget or by the end of the model's turn, is a class of its own: what the model would
have concluded is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlxintro.analysis.results import Cell, Table
from mlxintro.protocol.controls import SWAPPED
from mlxintro.replies.thoughts import StoredThought
from mlxintro.store.records import GradeRecord, Run, Trial, TrialFilter
from mlxintro.store.store import Store
from mlxintro.thinking.grades import both_channels, thought_verdict
from mlxintro.thinking.swaps import swap_table

ChannelClass = Literal[
    "noticed and said", "noticed, not said", "said, not noticed", "neither", "thought cut off", "undecided"
]
CHANNEL_CLASSES: tuple[ChannelClass, ...] = (
    "noticed and said",
    "noticed, not said",
    "said, not noticed",
    "neither",
    "thought cut off",
    "undecided",
)


@dataclass(frozen=True, slots=True)
class ChannelCounts:
    """Says how many replies of one condition are of each class."""

    condition: str
    classes: Counter[ChannelClass]
    cut_off_said: int
    """Replies whose thought was cut off and whose answer claims a detection; they are among ``thought cut off``."""

    def __getitem__(self, name: ChannelClass) -> int:
        return self.classes[name]


def channel_of(thought: StoredThought, record: GradeRecord | None) -> ChannelClass:
    """Return the class of one reply.

    Args:
        record: a grader's verdict on the reply, which carries that on the thought.
    """
    if thought.truncated:
        return "thought cut off"
    noticed = None if record is None else _noticed(thought_verdict(record))
    said = None if record is None else _noticed(record)
    if noticed is None or said is None:
        return "undecided"
    if noticed:
        return "noticed and said" if said else "noticed, not said"
    return "said, not noticed" if said else "neither"


def _noticed(record: GradeRecord | None) -> bool | None:
    """Whether a text claims a detection; refusals do not. Garble and what a grader left open are not decided."""
    if record is None or record.affirms is None:
        return None
    return record.affirms and not record.refuses and record.coherent is not False


def count_channels(judged: Iterable[tuple[Trial, StoredThought, GradeRecord | None]]) -> list[ChannelCounts]:
    """Count the classes of replies, injected ones and controls apart."""
    found: dict[str, ChannelCounts] = {}
    for trial, thought, record in judged:
        name = "injected" if trial.condition == "injected" else "control"
        counts = found.setdefault(name, ChannelCounts(name, Counter(), 0))
        class_ = channel_of(thought, record)
        counts.classes[class_] += 1
        if class_ == "thought cut off" and record is not None and _noticed(record):
            found[name] = ChannelCounts(name, counts.classes, counts.cut_off_said + 1)
    return [found[name] for name in ("injected", "control") if name in found]


def channel_tables(store: Store, run: Run, grader: str) -> Iterator[Table]:
    """Return the tables of both channels and of swapped thoughts; nothing for a run whose subject did not think."""
    if run.study.get("thinking") != "on":
        return
    swapped = store.trials.of_run(run.id, TrialFilter(status="done", arm=SWAPPED))
    if (table := swap_table((trial.concept or "", trial.measurements) for trial in swapped)) is not None:
        yield table
    counts = count_channels(both_channels(store, run, grader))
    if not counts:
        return
    cut = sum(one.cut_off_said for one in counts)
    note = (
        f"by {grader}; the thought's verdict x the answer's, main trials. A thought cut off at its budget is in no "
        f"cell of the four: {cut} of those answers claim a detection."
    )
    rows: list[tuple[Cell, ...]] = [(one.condition, *(one[name] for name in CHANNEL_CLASSES)) for one in counts]
    yield Table(
        "channels", "Noticed in the thought, said in the answer", ("condition", *CHANNEL_CLASSES), tuple(rows), note
    )
