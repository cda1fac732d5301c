"""Ablation: does noticing depend on a direction of the residual stream?

The trial question is asked with and without an injected concept, as in ``injected-thoughts``, while a direction is
projected out at every token and at chosen layers: the injected concept's own (after the layer it was injected at), the
refusal direction, or any word's. A random direction in the place of each tells what projecting anything out does. Hits
and false alarms stand side by side: a direction whose loss raises both has changed what is said, not what is noticed.
Sources: Arditi et al. 2024, "Refusal in language models is mediated by a single direction"; Macar et al. 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from pydantic import Field

from mlxintro import data
from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.base import ModelInfo, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.grid import Grid, Occasion, injected
from mlxintro.mechanism.ablation_arms import CONCEPT, REFUSAL, arm_of, random_arm
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.prompts import Asked
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import PlannedInjection, Transform, TrialSpec, model_key
from mlxintro.protocol.words.imported import PREFIX, resolve_concepts
from mlxintro.vectors.recipe import ContrastPairs, PromptPair
from mlxintro.vectors.settings import recipe_for


class AblationOptions(Data):
    directions: tuple[str, ...] = Field(default=(CONCEPT, REFUSAL), min_length=1)
    """What is projected out: ``concept`` (the pair's own vector), ``refusal``, a word, whose vector it then is, or
    ``vector:NAME`` for an imported one, whose layer nearest to the injection is taken."""
    at: tuple[float, ...] = ()
    """Layers it is projected out at: indices or depth fractions; all of them by default. The concept's own direction is
    projected out only after the layer it was injected at."""
    refusal_depth: float = Field(default=0.6, gt=0, lt=1)
    """Depth at which the refusal direction is read."""


class Ablation(Experiment):
    name = "ablation"
    preset = "ablation"
    thinks = True
    graded = True
    summary = (
        "ask the trial question while a direction is projected out: the concept's, the refusal direction, any other"
    )
    compared = "nothing projected out, and a random direction projected out at the same layers"
    Options = AblationOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        return grid.plan(_AblationPlanner(grid).trials)

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        from mlxintro.mechanism.ablation_findings import analyse

        return analyse(rows, study.unit or "raw")


class _AblationPlanner:
    def __init__(self, grid: Grid) -> None:
        if grid.preset.dialogue is None:
            raise UsageError("ablation needs a preset with a dialogue", setting="preset")
        self.grid = grid
        self.options = AblationOptions.model_validate(grid.study.options)
        messages, question = grid.preset.dialogue.at_trial(1)
        self.asked: Asked = grid.ask(messages, grid.preset.dialogue.prefill)
        self.window = grid.window(self.asked, question)
        chosen = dict.fromkeys(grid.info.layer(layer) for layer in self.options.at)
        self.layers = sorted(chosen) or list(range(grid.info.layers))
        for layer, _ in grid.cells:
            if CONCEPT in self.options.directions and not any(at > layer for at in self.layers):
                raise UsageError(
                    f"the concept's direction can only be projected out after layer {layer}, where it is injected: set "
                    "option at to a later layer, or leave concept out of directions",
                    setting="at",
                )

    def trials(self) -> Iterator[TrialSpec]:
        for pair in self.grid.pairs:
            base = self.grid.trial(pair, self.asked)
            for arm, direction, transform in self._arms():
                if pair.number < self.grid.uninjected:
                    # Without an injection there is no concept to name: what is projected out is the next one's.
                    first = self.grid.cells[0] if self.grid.cells else (0, 0.0)
                    removed = self._removed(pair, direction, transform, first[0])
                    yield base.changed(arm=arm, concept=None, injections=removed)
                for cell in self.grid.cells:
                    own = self.grid.inject(pair.word, cell, self.window)
                    yield injected(base, own, *self._removed(pair, direction, transform, cell[0]), arm=arm)

    def _arms(self) -> Iterator[tuple[str, str | None, Transform]]:
        """Nothing projected out, then every direction, each with a random one in its place."""
        yield "", None, "none"
        for direction in self.options.directions:
            yield arm_of(direction), direction, "none"
            if self.grid.arms:
                yield random_arm(direction), direction, "random"

    def _removed(
        self, pair: Occasion, direction: str | None, transform: Transform, layer: int
    ) -> tuple[PlannedInjection, ...]:
        """Projections at every chosen layer, over the whole dialogue and the reply."""
        if direction is None:
            return ()
        own = direction == CONCEPT
        word = pair.word if own else direction
        if direction == REFUSAL:
            vector, taken_at = self._refusal(), self.grid.info.layer(self.options.refusal_depth)
        elif direction.startswith(PREFIX):
            word, vector, taken_at = self._imported(direction, layer)
        else:
            vector, taken_at = self.grid.vector(word), layer
        return tuple(
            PlannedInjection(
                concept=word,
                vector=vector,
                layer=at,
                strength=1.0,
                unit="raw",
                start=0,
                stop=None,
                transform=transform,
                operation="ablate",
                taken_at=taken_at,
            )
            for at in self.layers
            if not own or at > layer
        )

    def _imported(self, name: str, layer: int) -> tuple[str, str, int]:
        """Word and key of an imported vector, and its layer that is nearest."""
        ((word, (_, reference)),) = resolve_concepts(
            (name,), True, self.grid.study.vectors or {}, self.grid.study.library
        ).items()
        assert reference is not None, "a name with the prefix has one"
        recipe = recipe_for(self.grid.preset.extraction, word, self.grid.info, reference)
        self.grid.recipes[recipe.key] = recipe
        return word, recipe.key, min(reference.layers, key=lambda at: abs(at - layer))

    def _refusal(self) -> str:
        recipe = ContrastPairs(
            word=REFUSAL,
            model=model_key(self.grid.info),
            pairs=_refusal_pairs(),
        )
        self.grid.recipes[recipe.key] = recipe
        return recipe.key


@cache
def _refusal_pairs() -> tuple[PromptPair, ...]:
    """Read the pairs of a harmful and a harmless prompt once: every trial that removes the direction asks for them."""
    return tuple(PromptPair(harmful, harmless) for harmful, harmless in data.load("refusal.toml")["pairs"])


EXPERIMENT = Ablation()
