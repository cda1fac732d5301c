"""Injected thoughts: does the subject notice a concept vector in its residual stream, and can it name the concept?

Grid of concepts x layers x strengths x trials, one pool of uninjected controls, which depend on none of these, and the
arms of a suite of controls (``mlxintro.protocol.controls``).
Source: Lindsey 2025, "Emergent Introspective Awareness in Large Language Models", self-report of injected thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.base import ModelInfo, OnToken, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Experiment, Plan
from mlxintro.experiments.detection.arms import arm_trial
from mlxintro.experiments.detection.planning import DetectionOptions, DetectionTrials
from mlxintro.experiments.grid import Grid
from mlxintro.protocol import controls
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running.session import Session


class InjectedThoughts(Experiment):
    name = "injected-thoughts"
    preset = "lindsey"
    graded = True
    thinks = True
    reads_every = frozenset({controls.MATCHED})
    summary = "inject a concept vector while the subject is asked whether it detects an injected thought"
    Options = DetectionOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        if preset.dialogue is None:
            raise UsageError(
                f"the preset {study.preset!r} has no dialogue: give its [dialogue] messages and question",
                setting="preset",
            )
        options = DetectionOptions.model_validate(study.options)
        grid = Grid.of(self.name, study, preset, info, tokenizer, named_arms=True, centred=options.centred)
        made = DetectionTrials(grid, preset.dialogue, options)

        def trials() -> Iterator[TrialSpec]:
            # What belongs to one pair stands together, so that rates on all sides grow together.
            for number in range(max(made.pairs, made.pool, *(n + 1 for n in made.slots), 0)):
                if number < made.pool:
                    yield made.control(number)
                if number < made.pairs:
                    yield from (made.injected(number, cell) for cell in range(len(grid.cells)))
                yield from (arm_trial(made, slot) for slot in made.slots.get(number, ()))

        return grid.plan(trials)

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        from mlxintro.experiments.detection.measuring import measure

        return measure(session, specs, on_token)

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        from mlxintro.experiments.detection.analysis import analyse

        return analyse(rows, study)


EXPERIMENT = InjectedThoughts()
