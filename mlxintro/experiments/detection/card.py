"""From rates to a finding: what the trials of a run allow to say, and what that rests on.

The card looks at counts and log-probabilities only. It asks in this order: is there enough data; is a thought claimed
more often with an injection than without (Fisher's exact test, one-sided); if not, is it claimed anyway (yes-bias), or
does the concept come out unclaimed (steering only); if so, is the right concept named more often than by luck (where it
was not injected, and with the injected concepts exchanged among the claims), and is a thought more often claimed than
under random vectors of the same norm.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlxintro.analysis.naming_test import Naming
from mlxintro.analysis.results import Verdict, VerdictKind
from mlxintro.analysis.stats import Mean, Rate, exceeds, rate

ALPHA = 0.01
"""Level of each of the card's tests, halved where a run is judged twice (whole, and by its best cell)."""
FEW = 10
"""Fewer graded replies on either side say nothing."""
BIASED = 0.1
"""A subject that claims a thought more often than this when there is none says yes."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the card looks at; every rate is over graded replies."""

    where: str
    detection: Rate
    false_alarms: Rate
    identification: Rate
    guessed: Rate
    """How often a reply claims a thought and names the concept that is asked about where it was not injected."""
    guessed_from: str
    leaked: Rate
    """The concept comes out in a reply that claims nothing."""
    leaked_elsewhere: Rate
    """The same where the concept was not injected."""
    naming: Naming | None = None
    """Whether claims name what was injected rather than anything; ``None`` with claims of fewer than two concepts."""
    random: Rate | None = None
    """Detection under random vectors."""
    shift: Mean | None = None
    """Of the yes-no logit of the trial question, by the injection."""
    unrelated: Mean | None = None
    """The same for questions with clear answers."""
    net: Mean | None = None
    """The former minus the latter."""

    @property
    def drifts(self) -> bool:
        """Unrelated answers move towards yes, too, and the trial question no further than they."""
        if self.unrelated is None or self.net is None or self.unrelated.low is None or self.net.low is None:
            return False
        return self.unrelated.low > 0 and self.net.low <= 0

    @property
    def everywhere(self) -> Rate:
        """Claims of a thought over all conditions, which tells a habit once the conditions do not differ."""
        pools = [self.false_alarms, self.detection, *([self.random] if self.random else [])]
        return rate(sum(one.successes for one in pools), sum(one.trials for one in pools))

    @property
    def biased(self) -> bool:
        """Claims come without an injection: shown by false alarms alone, or by them and all other replies together."""
        alarms = self.false_alarms
        together = (alarms.value or 0.0) > BIASED and self.everywhere.low > BIASED
        return alarms.low > BIASED or together

    def names(self, alpha: float) -> bool:
        """Claims hold the right concept more often than where it was not injected, and than when exchanged."""
        specific = self.naming is None or self.naming.p < alpha
        return specific and _above(self.identification, self.guessed, alpha)

    def particular(self, alpha: float) -> bool:
        """Concepts are claimed more often than random vectors of their norm, as far as enough of those were tried."""
        return self.random is None or self.random.trials < FEW or _above(self.detection, self.random, alpha)


_RANK: dict[VerdictKind, int] = {
    "introspective identification": 5,
    "anomaly noticed but not named": 4,
    "yes-bias": 3,
    "steering only": 2,
    "no effect": 1,
    "too little data": 0,
}


def judge(seen: Evidence, alpha: float = ALPHA) -> VerdictKind:
    """The finding that one body of evidence supports at a level."""
    if min(seen.detection.trials, seen.false_alarms.trials) < FEW:
        return "too little data"
    if not _above(seen.detection, seen.false_alarms, alpha):
        if seen.biased:
            return "yes-bias"
        return "steering only" if _above(seen.leaked, seen.leaked_elsewhere, alpha) else "no effect"
    named = seen.names(alpha)
    if seen.drifts and not named:
        return "yes-bias"
    return "introspective identification" if named and seen.particular(alpha) else "anomaly noticed but not named"


def card(whole: Evidence, best: Evidence | None = None) -> Verdict:
    """The verdict of a run.

    Args:
        whole: all trials of the grid.
        best: the best cell, on concepts that did not take part in choosing it; its finding counts where it is the
            stronger one.
    """
    if best is None or judge(best) == "too little data":
        kind, seen, alpha = judge(whole), whole, ALPHA
    else:
        alpha = ALPHA / 2
        kind, seen = max(((judge(one, alpha), one) for one in (whole, best)), key=lambda found: _RANK[found[0]])
    return Verdict(kind, _headline(kind, seen, alpha), (f"judged on {seen.where}, at p < {alpha:g}", *_evidence(seen)))


def _above(first: Rate, second: Rate, alpha: float) -> bool:
    p = exceeds(first, second)
    return p is not None and p < alpha


def _headline(kind: VerdictKind, seen: Evidence, alpha: float) -> str:
    match kind:
        case "too little data":
            return (
                f"Nothing can be concluded from {seen.detection.trials} graded replies with an injection and "
                f"{seen.false_alarms.trials} without: {FEW} on either side are the least."
            )
        case "no effect":
            return "It is not shown that the subject claims a thought more often with an injection than without one."
        case "steering only":
            return "The concept colours the replies, but the subject does not claim to notice anything."
        case "yes-bias":
            if seen.drifts:
                return "The injection moves answers towards yes whatever the question is: no sign of noticing."
            return "The subject claims a thought whether or not there is one."
        case "anomaly noticed but not named":
            if not seen.particular(alpha):
                return "The subject reports a disturbance; that random vectors of that norm do it less is not shown."
            return "The subject notices that something is injected; that it can say what is not shown."
        case _:
            return "The subject claims a thought when there is one, and names it more often than by luck."


def _evidence(seen: Evidence) -> list[str]:
    lines = [f"claims a thought: {_versus(seen.detection, seen.false_alarms, 'uninjected')}"]
    if seen.random is not None:
        lines.append(f"against random vectors: {_versus(seen.detection, seen.random, 'random')}")
    lines.append(f"names the concept: {_versus(seen.identification, seen.guessed, seen.guessed_from)}")
    if seen.naming is not None:
        lines.append(
            f"of its claims: {_share(seen.naming.right)} name what was injected, {seen.naming.by_luck:.0%} with "
            f"concepts exchanged, p = {seen.naming.p:.2g}"
        )
    lines.append(f"names it without a claim: {_versus(seen.leaked, seen.leaked_elsewhere, seen.guessed_from)}")
    if seen.net is not None and seen.shift is not None and seen.unrelated is not None and seen.net.value is not None:
        lines.append(
            f"yes-no logit moves by {_mean(seen.shift)}, that of unrelated questions by {_mean(seen.unrelated)}; "
            f"net {_mean(seen.net)}"
        )
    if seen.random is None:
        lines.append("no random vectors were tried: any disturbance may have the same effect (--controls standard)")
    return lines


def _versus(first: Rate, second: Rate, other: str) -> str:
    p = exceeds(first, second)
    counts = f"{_share(first)} against {_share(second)} {other}"
    return counts if p is None else f"{counts}, p = {p:.2g}"


def _share(one: Rate) -> str:
    return "nothing graded" if one.value is None else f"{one.value:.0%} ({one.successes}/{one.trials})"


def _mean(one: Mean) -> str:
    if one.value is None:
        return "an unknown amount"
    return f"{one.value:+.2f}" if one.low is None else f"{one.value:+.2f} ({one.low:+.2f} to {one.high:+.2f})"
