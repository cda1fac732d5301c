"""Whole studies of simulated subjects, without a store: planned, measured, graded and analysed as any study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.protocol.concepts import library
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import launch
from mlxintro.running.session import Session
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.vector import ConceptVector


def studies(subject: str, seeds: Sequence[int], **settings: Any) -> Iterator[tuple[list[Row], Analysis]]:
    """One study per seed, with its rows and what its experiment says of them."""
    vectors: dict[str, ConceptVector] = {}
    with FakeBackend(subject, batch_size=64) as backend:
        for seed in seeds:
            checked = launch.check(make_study(model=subject, backend="fake", seed=seed, **settings))
            plan = launch.plan(checked, backend)
            vectors = vectors or dict(extract(backend, plan.recipes.values(), None))
            specs = list(plan)
            outcomes = {
                outcome.key: outcome
                for outcome in checked.experiment.measure(Session(backend, plan.prompts, vectors), specs)
            }
            rows = [row_of(spec, outcomes[spec.key]) for spec in specs]
            yield rows, checked.experiment.analyse(rows, checked.study, checked.preset)


def row_of(spec: TrialSpec, outcome: Outcome) -> Row:
    first = spec.injections[0] if spec.injections else None
    spoken = spec.readout == "text"
    return Row(
        key=spec.key,
        condition=spec.condition,
        arm=spec.arm,
        concept=spec.concept,
        layer=first.layer if first else None,
        strength=first.strength if first else None,
        trial=spec.trial,
        response=outcome.response,
        measurements=outcome.measurements,
        detail=spec.detail,
        grade=RulesGrader().grade(outcome.response, spec.concept, library().related(spec.concept)) if spoken else None,
        injected=tuple(injection.concept for injection in spec.injections),
    )
