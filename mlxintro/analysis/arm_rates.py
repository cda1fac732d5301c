"""How many replies of each arm are open, incoherent or refused: where these differ, so may the grader's errors.

A grader whose errors are alike in both arms takes something off a difference; one whose errors differ makes one up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlxintro.analysis.reply_tally import ReplyTally
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate

WARN_AT = 0.05
"""Difference between two arms, as a share, beyond which it is said."""
LEAST = 20
"""Graded replies an arm needs before its shares are compared."""


@dataclass(frozen=True, slots=True)
class ArmRates:
    """Holds shares of one arm's graded replies."""

    arm: str
    open: Rate
    """Share of replies of which the grader could not tell."""
    incoherent: Rate
    refused: Rate

    @property
    def shares(self) -> dict[str, Rate]:
        return {"open": self.open, "incoherent": self.incoherent, "refused": self.refused}


def arm_rates(rows: Iterable[Row]) -> list[ArmRates]:
    """Return the shares by arm: injected first, then the uninjected controls, then the other control arms by name."""
    tallies: dict[str, ReplyTally] = {}
    for row in rows:
        if row.grade is not None:
            arm = row.arm or ("injected" if row.condition == "injected" else "controls")
            tallies.setdefault(arm, ReplyTally()).add(row)
    order = sorted(tallies.items(), key=lambda item: (item[0] != "injected", item[0] != "controls", item[0]))
    return [ArmRates(arm, one.unsettled.rate, one.incoherence.rate, one.refusal.rate) for arm, one in order]


def warnings(arms: Iterable[ArmRates]) -> Iterator[str]:
    """Warn of every share in which an arm of some size differs from the injected one by more than 5 points."""
    known = {one.arm: one for one in arms if one.open.trials >= LEAST}
    injected = known.pop("injected", None)
    if injected is None:
        return
    for one in known.values():
        for name, share in one.shares.items():
            mine, theirs = injected.shares[name].value, share.value
            if mine is None or theirs is None or abs(mine - theirs) <= WARN_AT:
                continue
            yield (
                f"{name} replies differ between the arms: {mine:.0%} of injected, {theirs:.0%} of {one.arm}. A "
                "grader's errors then differ too, and can look like an effect: label both arms (mlxintro label)"
            )
