"""Runs a study in memory: planned, measured and analysed, without a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.base import Backend
from mlxintro.experiments.base import Plan
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import launch
from mlxintro.running.launch import Checked
from mlxintro.running.session import Session
from mlxintro.vectors.extraction import extract


@dataclass(frozen=True)
class Ran:
    checked: Checked
    plan: Plan
    specs: list[TrialSpec]
    session: Session
    outcomes: dict[str, Outcome]
    rows: list[Row]
    analysis: Analysis


def planned(backend: Backend, experiment: str, **settings: Any) -> tuple[Checked, Plan]:
    study = make_study(experiment=experiment, model=backend.info.model, backend=backend.info.backend, **settings)
    checked = launch.check(study)
    return checked, launch.plan(checked, backend)


def ran(backend: Backend, experiment: str, *, batch: int = 16, **settings: Any) -> Ran:
    checked, plan = planned(backend, experiment, **settings)
    session = Session(backend, plan.prompts, extract(backend, plan.recipes.values()))
    specs = list(plan)
    outcomes = {}
    for first in range(0, len(specs), batch):
        for outcome in checked.experiment.measure(session, specs[first : first + batch]):
            outcomes[outcome.key] = outcome
    rows = rows_of(specs, outcomes)
    return Ran(
        checked, plan, specs, session, outcomes, rows, checked.experiment.analyse(rows, checked.study, checked.preset)
    )


def rows_of(specs: Sequence[TrialSpec], outcomes: dict[str, Outcome]) -> list[Row]:
    return [_row(spec, outcomes[spec.key]) for spec in specs]


def _row(spec: TrialSpec, outcome: Outcome) -> Row:
    first = spec.injections[0] if spec.injections else None
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
        grade=None,
        injected=tuple(injection.concept for injection in spec.injections),
    )
