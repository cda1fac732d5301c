"""Injected thoughts: does the subject notice a concept vector in its residual stream, and can it name the concept?

Grid of concepts x layers x strengths x trials, one pool of uninjected controls, which depend on none of these, and the
arms of a suite of controls (``mlxintro.protocol.controls``).
Source: Lindsey 2025, "Emergent Introspective Awareness in Large Language Models", self-report of injected thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.base import ModelInfo, OnToken, Tokenizer
from mlxintro.experiments.base import Experiment, Plan
from mlxintro.experiments.detection.planning import DetectionOptions, Planner
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running.session import Session


class InjectedThoughts(Experiment):
    name = "injected-thoughts"
    preset = "lindsey"
    graded = True
    summary = "inject a concept vector while the subject is asked whether it detects an injected thought"
    Options = DetectionOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        make = Planner(study, preset, info, tokenizer, self.name)

        def expand() -> Iterator[TrialSpec]:
            # What belongs to one pair stands together, so that rates on all sides grow together.
            for number in range(max(make.pairs, make.pool, *(n + 1 for n in make.slots), 0)):
                if number < make.pool:
                    yield make.control(number)
                if number < make.pairs:
                    yield from (make.injected(number, cell) for cell in range(len(make.cells)))
                yield from map(make.arm, make.slots.get(number, ()))

        # Prompts of some arms are rendered when the trials are made; what is planned refers to what is rendered.
        for slots in make.slots.values():
            for slot in slots:
                make.prepare(slot)
        return Plan(count=make.count, prompts=make.asked.all, recipes=make.recipes, expand=expand)

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        from mlxintro.experiments.detection.measuring import measure

        return measure(session, specs, on_token)

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        from mlxintro.experiments.detection.analysis import analyse

        return analyse(rows, study)


EXPERIMENT = InjectedThoughts()
