"""The demonstration: one small real study on two subjects, a plain model and the same one trained to notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.analysis.results import Analysis, Verdict
from mlxintro.grading.base import Grade
from mlxintro.protocol.study import Study
from mlxintro.store.records import Trial

ADAPTERS = {"plain": None, "trained": "smollm2-control"}
"""The subjects: the embedded model, and with the adapter that ships as a positive control."""
STRENGTH = 0.7
"""Fraction of the residual norm; in the middle of what the trained subject was trained on."""
READ = ("volcanoes", "milk", "poetry")
"""Concepts whose replies are shown; neither subject was trained on any of the library's."""
CONTROLS_READ = 2
"""Uninjected replies that are shown."""


def demo_study(backend: str, dtype: str | None, adapter: str | None = None) -> Study:
    """Plan fifty concepts, each beside its controls, at the layer where published detection peaks."""
    return Study(
        model="smollm2",
        adapter=adapter,
        backend=backend,
        dtype=dtype,
        preset="lindsey",
        concepts=("set:lindsey-50",),
        layers=(0.66,),
        strengths=(STRENGTH,),
        unit="resid",
        trials=1,
        max_tokens=24,
    )


@dataclass(frozen=True, slots=True)
class Quote:
    """Holds one reply worth reading."""

    trial: Trial
    grade: Grade | None


def quotes(graded: Sequence[tuple[Trial, Grade | None]]) -> list[Quote]:
    """Return the replies about some concepts chosen beforehand, and the first controls.

    The choice looks at no grade.
    """
    injected = [Quote(trial, grade) for trial, grade in graded if trial.condition == "injected" and not trial.arm]
    plain = [Quote(trial, grade) for trial, grade in graded if trial.condition == "control" and not trial.arm]
    return [quote for word in READ for quote in injected if quote.trial.concept == word] + plain[:CONTROLS_READ]


def conclusion(plain: Analysis, trained: Analysis) -> list[str]:
    """Return what both verdicts come to, in sentences."""
    verdicts = (plain.verdict, trained.verdict)
    if None in verdicts or any(one is not None and one.kind == "too little data" for one in verdicts):
        return ["Nothing can be concluded: too few replies could be graded."]
    said = []
    for name, verdict in zip(ADAPTERS, verdicts, strict=True):
        assert verdict is not None
        said.append(f"The {name} model: {verdict.kind}. {verdict.headline}")
    if effect(plain.verdict):
        said.append("A plain model of this size is not expected to notice anything: repeat it with more trials.")
    elif effect(trained.verdict):
        said.append(
            "An effect shows where one was trained in: the instrument is not blind. The rungs say what may explain it."
        )
    else:
        said.append("The trained model was expected to notice: something is wrong with this installation or adapter.")
    return said


def effect(verdict: Verdict | None) -> bool:
    """Tell whether a verdict says that claims rise with the injection."""
    return verdict is not None and verdict.kind not in (
        "no effect shown",
        "yes-bias",
        "steering only",
        "too little data",
    )
