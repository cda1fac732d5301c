"""What the subject, a reader of its text and a probe of its state make of the same trials.

In a witness trial the subject writes a sentence of its own with the vector on; the vector is then off, and it is asked
whether a thought was injected while it wrote. The text and the state it left in the cache are exchanged in all four
ways: both injected (the subject itself), the text alone (a reader: the same model, uninjected), the state alone, and
neither. A linear probe on the final state says how much there was to know. After Shah 2026 (equal-cost observers,
state/text swap, recovery, gate) and Song et al. 2025 (privileged access).
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import auroc
from mlxintro.ladder.shifts import FEWEST_CONCEPTS, above

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDES = ("self", "reader", "state", "clean")
"""Text and state injected; the text only; the state only; neither."""
COMPARED = (("self", "reader"), ("state", "clean"), ("reader", "clean"))
READABLE = 0.6
"""Below this AUROC of the probe there was nothing to know, and a null says nothing (Shah's gate)."""
RESAMPLES = 1_999


@dataclass(frozen=True, slots=True)
class Witness:
    """Holds one witness trial: yes-no logits in nats by side, and projections of the final state with and without."""

    concept: str
    logits: dict[str, float]
    injected: tuple[float, ...]
    clean: tuple[float, ...]

    @classmethod
    def of(cls, row: Row) -> Witness:
        states = row.measurements.get("states", {})
        logits = {side: float(row.measurements["logits"][side]) for side in SIDES}
        return cls(row.concept or "", logits, tuple(states.get("injected", ())), tuple(states.get("clean", ())))


@dataclass(frozen=True, slots=True)
class Observed:
    """Says what the subject, the reader and the probe make of the same trials."""

    own: float
    """AUROC of the subject's own answers against the clean ones."""
    reader: float
    probe: float | None
    beyond: float
    """One-sided p value that the subject's AUROC is no higher than the reader's (bootstrap over concepts)."""
    recovery: tuple[float, float, float] | None
    """Share of the probe's AUROC above one half that the subject reports, with its 95 % interval."""
    gaps: Mapping[tuple[str, str], float]
    """One-sided p value that the first side's logits are no higher than the second's, with concepts as the units."""
    read: NDArray[np.float64]
    """Share of the subject's AUROC above one half that the reader has, resampled over concepts; infinite where the
    subject has none."""


def _by_concept(witnesses: Sequence[Witness], first: str, second: str) -> float:
    """One-sided p value that the first side's logits are no higher, with concepts as the units."""
    gaps: dict[str, list[float]] = defaultdict(list)
    for one in witnesses:
        gaps[one.concept].append(one.logits[first] - one.logits[second])
    p = above([statistics.fmean(values) for values in gaps.values()])
    return 1.0 if p is None else p


def observe(witnesses: Sequence[Witness]) -> Observed:
    """Compare the subject with the reader and the probe on the same trials."""
    import numpy as np

    logits = {side: np.array([one.logits[side] for one in witnesses]) for side in SIDES}
    words = sorted({one.concept for one in witnesses})
    member = np.array([[one.concept == word for word in words] for one in witnesses], float)
    drawn = np.random.default_rng(0).multinomial(len(words), np.full(len(words), 1 / len(words)), RESAMPLES)
    weights = drawn @ member.T
    own, reader = (_areas(logits[side], logits["clean"], weights) for side in ("self", "reader"))
    probe = _probe(witnesses)
    found = None if probe is None else probe[0]
    recovery = None
    plain = {side: auroc(list(logits[side]), list(logits["clean"])) or 0.5 for side in ("self", "reader")}
    if probe is not None and probe[0] >= READABLE:
        injected, clean = probe[1]
        ceiling = _areas(injected, clean, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (own - 0.5) / (ceiling - 0.5)
        low, high = np.quantile(shares[np.isfinite(shares)], [0.025, 0.975])
        recovery = (plain["self"] - 0.5) / (probe[0] - 0.5), float(low), float(high)
    beyond = float((1 + np.sum(own <= reader)) / (RESAMPLES + 1))
    gaps = {pair: _by_concept(witnesses, *pair) for pair in COMPARED}
    with np.errstate(divide="ignore", invalid="ignore"):
        read = np.where(own > 0.5, np.maximum(reader - 0.5, 0) / (own - 0.5), np.inf)
    return Observed(plain["self"], plain["reader"], found, beyond, recovery, gaps, read)


def _areas(
    positives: NDArray[np.float64], negatives: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AUROC of every resample; ``weights`` (resamples, trials) say how often each trial was drawn."""
    import numpy as np

    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    return np.asarray(((weights @ wins) * weights).sum(axis=1) / weights.sum(axis=1) ** 2)


def _probe(
    witnesses: Sequence[Witness],
) -> tuple[float, tuple[NDArray[np.float64], NDArray[np.float64]]] | None:
    """AUROC of a logistic regression on the final state, on concepts it was not fitted to, and its scores."""
    known = [one for one in witnesses if one.injected and one.clean]
    words = [one.concept for one in known]
    if len(known) < len(witnesses) or len(set(words)) < FEWEST_CONCEPTS:
        return None
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.array([one.injected for one in known] + [one.clean for one in known])
    y = np.array([1] * len(known) + [0] * len(known))
    folds = GroupKFold(min(5, len(set(words))))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    scores = cross_val_predict(model, x, y, groups=words * 2, cv=folds, method="decision_function")
    return float(roc_auc_score(y, scores)), (scores[: len(known)], scores[len(known) :])
