"""What a number of trials can show: the width of an interval, and the difference that would be found."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass

from mlxintro.analysis.stats import CONFIDENCE, rate

FALSE_ALARMS = 0.1
"""Rate of claims without injection that is assumed."""
DIFFERENCE = 0.2
"""Between detection and false alarms."""
POWER = 0.8

_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Power:
    """Says what one cell of the grid (a layer at a strength) can show against the controls."""

    trials: int
    """Trials in the smallest cell."""
    controls: int
    margin: float
    """Half the width of the 95 % interval (Wilson) of a rate near one half, where it is widest; a share."""
    power: float | None
    """Probability that a cell with ``DIFFERENCE`` more detections than ``FALSE_ALARMS`` is told from the controls at
    the 5 % level (two-sided test of two proportions, normal approximation); ``None`` without trials on either side."""
    needed: int
    """Number of trials, and of as many controls, with which that probability is ``POWER``."""

    def as_dict(self) -> dict[str, float | int | None]:
        """Return what JSON takes: the fields and what was assumed."""
        return {**asdict(self), "difference": DIFFERENCE, "false_alarms": FALSE_ALARMS}


def power_of(trials: int, controls: int) -> Power:
    """Return what so many trials in a cell, beside so many controls, can show."""
    middle = rate(trials // 2, trials)
    return Power(
        trials=trials,
        controls=controls,
        margin=(middle.high - middle.low) / 2,
        power=chance(trials, controls) if trials and controls else None,
        needed=bisect_left(range(_MOST), POWER, lo=2, key=lambda n: chance(n, n)),
    )


def chance(trials: int, controls: int, difference: float = DIFFERENCE, base: float = FALSE_ALARMS) -> float:
    """Return the probability that a difference is found; see ``Power.power``."""
    from statsmodels.stats.proportion import power_proportions_2indep

    found = power_proportions_2indep(
        diff=difference, prop2=base, nobs1=trials, ratio=controls / trials, alpha=1 - CONFIDENCE, return_results=False
    )
    return float(found)
