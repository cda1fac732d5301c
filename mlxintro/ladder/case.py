"""What the rungs are judged on: a run's rows, which of its injected trials count, and at which level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from mlxintro.analysis.reply_tally import detects, leaks, names, share, trials_in
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate, exceeds, rate
from mlxintro.ladder.rows import Rows, effective, place_of
from mlxintro.ladder.shifts import (
    FEWEST_CONCEPTS,
    QuestionShift,
    TrialShift,
    question_shifts,
    question_variance,
    trial_shift,
)
from mlxintro.ladder.witnesses import Observed, Witness, observe
from mlxintro.protocol import controls
from mlxintro.protocol.concepts import Library
from mlxintro.replies.mentions import Names
from mlxintro.replies.text import fold
from mlxintro.thinking.swapped import SwappedThoughts

ALPHA = 0.01
"""Level of every test, halved where a run is judged twice (whole, and by its best cell)."""
MARK = 0.001
"""Level at which a rival's own mark counts as seen: a subject is called a liar's name for nothing less."""
FEW = 10
"""Fewer graded replies on either side say nothing."""
HABIT = 0.1
"""A subject that claims a thought more often than this when there is none says yes."""


@dataclass(frozen=True)
class Case:
    """Holds one body of evidence: a run, and the injected trials that are judged."""

    run: Rows
    injected: Sequence[Row]
    where: str
    """Which injected trials, in words."""
    alpha: float = ALPHA

    @cached_property
    def detection(self) -> Rate:
        return share(self.injected, detects)

    @cached_property
    def false_alarms(self) -> Rate:
        return share(self.run.pool, detects)

    @cached_property
    def identification(self) -> Rate:
        """Tell whether a reply claims a thought and then names the injected concept."""
        return share(self.injected, names)

    @cached_property
    def leaked(self) -> Rate:
        """Tell whether the concept comes out in a reply that claims nothing."""
        return share(self.injected, leaks)

    def arm(self, name: str) -> list[Row]:
        """Return the rows of an arm in the cells of the judged trials; where those are few, at their strengths.

        Else all.
        """
        rows = self.run.arms.get(name, [])
        places, strengths = {place_of(row) for row in self.injected}, {row.strength for row in self.injected}
        here = [row for row in rows if place_of(row) in places or row.strength is None]
        alike = [row for row in rows if row.strength in strengths or row.strength is None]
        return next((some for some in (here, alike) if trials_in(some) >= FEW), rows)

    def claims(self, name: str) -> Rate:
        """Return how often replies of an arm claim a thought."""
        return share(self.arm(name), detects)

    @cached_property
    def elsewhere(self) -> list[Row]:
        """Return the replies under vectors of something else than the concept that is asked about."""
        return [row for arm in controls.ELSEWHERE for row in self.run.arms.get(arm, ())]

    @cached_property
    def guessed(self) -> Rate:
        """Return how often a claim names the trial's concept where it was not injected."""
        return share(self.elsewhere, names) if self.elsewhere else self._by_luck[0]

    @cached_property
    def leaked_elsewhere(self) -> Rate:
        return share(self.elsewhere, leaks) if self.elsewhere else self._by_luck[1]

    @property
    def guessed_from(self) -> str:
        return "with another vector" if self.elsewhere else "uninjected"

    @cached_property
    def observed(self) -> Observed | None:
        """Return what readers and a probe make of the witnesses; ``None`` with too few of them."""
        witnesses = [Witness.of(row) for row in self.run.arms.get(controls.WITNESS, ())]
        enough = len(witnesses) >= FEW and len({one.concept for one in witnesses}) >= FEWEST_CONCEPTS
        return observe(witnesses) if enough else None

    @cached_property
    def _by_luck(self) -> tuple[Rate, Rate]:
        """How often an uninjected reply names the concept of its pair, with a claim and without one.

        Graders are not told of a concept on controls, so mentions are looked for here.
        """
        concept_of = {row.trial: row.concept for row in self.run.injected}
        claimed = silent = graded = 0
        for row in self.run.pool:
            detected = detects(row)
            word = row.pair.concept if row.pair else concept_of.get(row.trial)
            if detected is None or word is None:
                continue
            graded += row.times
            named = row.pair.named if row.pair else None
            if names_concept(row.response, word, row.library) if named is None else named:
                claimed += detected * row.times
                silent += (not detected) * row.times
        return rate(claimed, graded), rate(silent, graded)

    @cached_property
    def trial_question(self) -> TrialShift | None:
        return trial_shift(self.run.arms.get(controls.QUESTION, ()))

    @cached_property
    def questions(self) -> tuple[QuestionShift, ...]:
        """Return the unrelated questions, with what the injection does to their answers."""
        return question_shifts(self.run.arms, (*controls.UNRELATED, controls.SPANNING))

    def shifts_of(self, kind: str) -> list[float]:
        """Return what the injection does to the answers to unrelated questions of one kind, in nats."""
        return [one.shift for one in self.questions if one.kind == kind]

    @cached_property
    def question_variance(self) -> float:
        """Return by how much two questions of one kind may differ in their shifts, in square nats."""
        return question_variance(self.questions)

    @cached_property
    def swapped(self) -> SwappedThoughts:
        """Return what answers come to after another trial's thought."""
        return SwappedThoughts.of((row.concept or "", row.measurements) for row in self.arm(controls.SWAPPED))

    @property
    def more_trials(self) -> str:
        """Return the options that double the trials per concept."""
        return f"--repeats {2 * math.ceil(trials_in(self.injected) / max(len(self.run.words), 1))}"

    @cached_property
    def shorter(self) -> float:
        """Return how many times shorter random vectors of equal impact are than the concepts' (geometric mean)."""
        own = {row.trial: row.strength for row in self.run.injected}
        pairs = [
            (row.pair.strength if row.pair else own.get(row.trial), row.strength)
            for row in self.run.arms.get(controls.MATCHED, ())
        ]
        known = [math.log(concept / random) for concept, random in pairs if concept and random]
        return math.exp(math.fsum(known) / len(known)) if known else 1.0

    def exceeds(self, first: Rate, second: Rate) -> float:
        """Return the one-sided p value of Fisher's exact test on effective counts; 1 where either side is empty.

        Trials of one concept resemble each other. Counts are divided by the rate's design effect, so that they weigh as
        much as independent trials would (Rao and Scott 1992).
        """
        p = exceeds(effective(first), effective(second))
        return 1.0 if p is None else p

    def above_alarms(self, one: Rate) -> float:
        """Return the one-sided p value of Fisher's exact test against uninjected replies.

        Where an injection or a text does nothing, its trials are as independent as uninjected ones, so all count.
        """
        p = exceeds(one, self.false_alarms)
        return 1.0 if p is None else p

    def could_tell(self, arm: Rate) -> bool:
        """Tell whether an arm of this size would have shown fewer claims, had it none beyond false alarms."""
        if arm.trials < FEW:
            return False
        none = rate(round((self.false_alarms.value or 0.0) * arm.trials), arm.trials)
        return self.exceeds(self.detection, none) < self.alpha


def names_concept(reply: str, word: str, library: Library) -> bool:
    """Tell whether a reply names a concept or one of its near names.

    Args:
        library: the concepts that the reply's run knows.
    """
    return bool(_names_of(word, library).within(fold(reply)))


@lru_cache(maxsize=1_000)
def _names_of(word: str, library: Library) -> Names:
    return Names({word: library.concept(word).related})


def is_mark(p: float | None) -> bool:
    """Tell whether a p value shows a rival's own mark."""
    return p is not None and p < MARK


def versus(first: Rate, second: Rate, other: str) -> str:
    """Return two rates side by side, for a line of the card."""
    return f"{in_words(first)} against {in_words(second)} {other}"


def in_words(one: Rate) -> str:
    return "nothing graded" if one.value is None else f"{one.value:.0%} ({one.successes}/{one.trials})"
