"""The demonstration: a small real study on the embedded model, and what may honestly be concluded from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.analysis.summary import Summary
from mlxintro.grading.base import Grade
from mlxintro.protocol.study import Study
from mlxintro.store.records import Trial

STRENGTHS = (2.0, 4.0)
"""Raw multiples: one at which the embedded model still speaks plainly, one at which the concept colours its words."""

FEW = 10
"""Below as many graded replies on either side, the interval of a difference is too narrow to be believed: with 2 of 2
against 0 of 2 it lies above 0, and Fisher's exact test gives p = 0.33."""


def demo_study(backend: str, dtype: str | None) -> Study:
    """The blueprint's five concepts at two strengths, each beside its control.

    The temperature is below the paper's 1, at which a model of this size rarely finishes a sentence.
    """
    return Study(
        model="smollm2",
        backend=backend,
        dtype=dtype,
        preset="lindsey",
        concepts=("set:blueprint",),
        layers=(0.66,),
        strengths=STRENGTHS,
        unit="raw",
        trials=3,
        controls=15,
        temperature=0.7,
        max_tokens=48,
    )


@dataclass(frozen=True, slots=True)
class Quote:
    """One reply worth reading."""

    trial: Trial
    grade: Grade | None


def quotes(graded: Sequence[tuple[Trial, Grade | None]]) -> list[Quote]:
    """Per concept one reply at each strength, and two controls. The choice looks at no grade: first come."""
    chosen: dict[tuple[str | None, float | None, int], Quote] = {}
    for trial, grade in graded:
        copy = 0
        if trial.condition == "control":
            copy = sum(key[0] is None for key in chosen)
            if copy >= 2:
                continue
        chosen.setdefault((trial.concept, trial.strength, copy), Quote(trial, grade))
    return sorted(chosen.values(), key=lambda quote: (quote.trial.concept or "", quote.trial.strength or 0.0))


def conclusion(summary: Summary) -> list[str]:
    """Return what the rates allow to say, in sentences."""
    overall, net = summary.overall, summary.overall.net
    if net.value is None:
        return ["Nothing can be concluded: no reply could be graded."]
    injected, controls = overall.detection.trials, summary.false_alarms.trials
    if min(injected, controls) < FEW:
        return [f"Nothing can be concluded from {injected} graded replies with an injection and {controls} without."]
    said = []
    if net.low > 0:
        said.append("The model says that it notices something more often with an injection than without one.")
        if overall.net_identification.low > 0:
            said.append("It also names the concept more often than chance remarks would explain.")
        else:
            said.append("It does not name what was injected: it may react to a disturbance, or only say yes.")
        said.append("Before believing it, repeat with more trials, and with --transform random as a control.")
    else:
        said.append(
            f"No evidence of introspection: detections minus false alarms are {100 * net.value:+.0f} points "
            f"(95 % interval {100 * net.low:+.0f} to {100 * net.high:+.0f})."
        )
    if leaked := overall.tally.leak.hits:
        replies = "1 reply" if leaked == 1 else f"{leaked} replies"
        said.append(f"In {replies} the concept came out although no thought was claimed: steering, not noticing.")
    if net.low <= 0:
        said.append("With 135 million parameters that is to be expected. The instrument is real, the answer is no.")
    return said
