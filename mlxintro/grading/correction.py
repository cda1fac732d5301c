"""Rates corrected for a grader's measured errors (Rogan and Gladen 1978), with an interval that carries them.

A grader that finds a share ``se`` of what is there and clears a share ``sp`` of what is not reports
``p = se * true + (1 - sp) * (1 - true)``; the correction solves this for ``true``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from mlxintro.analysis.stats import Rate


@dataclass(frozen=True, slots=True)
class Calibration:
    """Says how a grader did on replies whose truth is known from labels."""

    hits: int
    positives: int
    """Labelled as having it; ``hits`` of them the grader found."""
    rejections: int
    negatives: int
    """Labelled as not having it; ``rejections`` of them the grader cleared."""

    def __post_init__(self) -> None:
        if not (0 <= self.hits <= self.positives and 0 <= self.rejections <= self.negatives):
            raise ValueError("a calibration counts at most as many hits as there are cases")

    @property
    def sensitivity(self) -> float | None:
        return self.hits / self.positives if self.positives else None

    @property
    def specificity(self) -> float | None:
        return self.rejections / self.negatives if self.negatives else None


@dataclass(frozen=True, slots=True)
class CorrectedRate:
    value: float | None
    """Share, 0 to 1. None when the labels do not show that the grader tells the two apart."""
    low: float
    high: float
    raw: Rate
    calibration: Calibration

    def as_dict(self) -> dict[str, float | int | None]:
        """Return what JSON takes: the corrected rate, and what the grader was measured on."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "sensitivity": self.calibration.sensitivity,
            "specificity": self.calibration.specificity,
            "labelled": self.calibration.positives + self.calibration.negatives,
        }


def corrected(rate: Rate, calibration: Calibration, *, confidence: float = 0.95) -> CorrectedRate:
    """Return the rate that remains when a grader's errors are taken out.

    The interval is that of Lang and Reiczigel (2014, "Confidence limits for prevalence of disease adjusted for
    estimated sensitivity and specificity", Preventive Veterinary Medicine 113, 13-22): it carries the uncertainty of
    the rate and of both error rates. Value and interval are cut to 0..1.

    Args:
        rate: as the grader reports it; trials on which it abstained are not in it.
        calibration: from other trials or the same ones, labelled by a person.
        confidence: of the interval.
    """
    unknown = CorrectedRate(None, 0.0, 1.0, rate, calibration)
    se, sp = calibration.sensitivity, calibration.specificity
    if se is None or sp is None or not rate.trials:
        return unknown
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    n = rate.trials + z * z
    p = (rate.successes + z * z / 2) / n
    n_se, n_sp = calibration.positives + 2, calibration.negatives + 2
    se_, sp_ = (calibration.hits + 1) / n_se, (calibration.rejections + 1) / n_sp
    if se + sp <= 1 or se_ + sp_ <= 1:
        return unknown
    youden = se_ + sp_ - 1
    true = (p + sp_ - 1) / youden
    from_se, from_sp = se_ * (1 - se_) / n_se, sp_ * (1 - sp_) / n_sp
    shift = 2 * z * z * (true * from_se - (1 - true) * from_sp)
    spread = z * math.sqrt(p * (1 - p) / n + true * true * from_se + (1 - true) ** 2 * from_sp) / youden
    raw = rate.successes / rate.trials
    return CorrectedRate(
        value=_share((raw + sp - 1) / (se + sp - 1)),
        low=_share(true + shift - spread),
        high=_share(true + shift + spread),
        raw=rate,
        calibration=calibration,
    )


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
