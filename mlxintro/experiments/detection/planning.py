"""From a study of injected thoughts to its trials: the grid, the pool of uninjected replies, and the control arms."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from mlxintro.experiments.base import Data, seed_of
from mlxintro.experiments.detection.prompts import TrialPrompt, TrialPrompts
from mlxintro.experiments.grid import Grid, injected
from mlxintro.protocol import controls
from mlxintro.protocol.presets import Dialogue
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import TrialSpec


class DetectionOptions(Data):
    """Holds settings of injected thoughts alone. All but the first are what ``mlxintro certify`` finds out."""

    trial_numbers: int = Field(default=1, ge=1, le=1000)
    """The number shown to the subject runs from 1 to this, so that repeats differ in their text."""
    centred: bool = False
    """Whether a vector is the word minus the mean of the study's other words, so that no direction is shared by all."""
    spanning: tuple[str, ...] = ()
    """Unrelated questions whose logits stand around the trial question's."""
    matched: tuple[float, ...] = ()
    """Strength at which a random vector has the impact of the pair's concept, for each pair."""
    matched_other: tuple[float, ...] = ()
    """Strength at which another concept's vector has that impact, for each pair."""
    impacts: tuple[tuple[float, float, float], ...] = ()
    """Impacts in nats for each pair: of the concept, of the matched random vector, of the matched other concept."""
    partners: dict[str, str] = Field(default_factory=dict)
    """Another word for each word: the one whose vector resembles it least."""


class DetectionTrials:
    """Makes the trials of one study for one model."""

    def __init__(self, grid: Grid, dialogue: Dialogue, options: DetectionOptions) -> None:
        self.grid = grid
        self.options = options
        self.prompts = TrialPrompts(dialogue, grid.study.window or "question", grid.dialogues)
        self.pairs = grid.pair_count
        self.pool = pool_size(grid.study, self.pairs, options.trial_numbers)
        shown = min(options.trial_numbers, max(self.pool, self.pairs, 1))
        self.own = [self.prompts.at(number) for number in range(1, shown + 1)]
        """The dialogue at each trial number."""
        for concept in grid.concepts:
            grid.vector(concept.word)
        self.slots = self._slots()
        """Control trials by the pair they belong to."""

    def _slots(self) -> dict[int, list[controls.Slot]]:
        cells, options = self.grid.cells, self.options
        matched = min(len(options.matched), len(options.matched_other), len(options.impacts))
        sizes = controls.Sizes(
            pairs=self.pairs,
            words=tuple(concept.word for concept in self.grid.concepts),
            cells=len(cells),
            prompts=min(options.trial_numbers, max(self.pairs, 1)),
            spanning=options.spanning,
            matched=matched >= self.pairs and len(cells) == 1,
        )
        found: dict[int, list[controls.Slot]] = {}
        for slot in controls.slots(self.grid.study, sizes):
            removed = slot.arm in (controls.ABLATED, controls.ABLATED_LAST)
            if removed and cells[slot.cell or 0][0] >= self.grid.info.layers - 1:
                continue  # there is no later layer to take the vector out at
            if slot.arm == controls.PROMPT_ONLY and self.own[0].window.start >= self.own[0].length:
                continue  # nothing is injected into the prompt
            found.setdefault(slot.number, []).append(slot)
        return found

    def word(self, number: int) -> str:
        """Return the concept of a pair."""
        return self.grid.pair(number).word

    def repeat(self, number: int) -> int:
        """Return which trial number's dialogue a pair has, from 0."""
        return number // len(self.grid.concepts) % len(self.own)

    def control(self, number: int) -> TrialSpec:
        """Return an uninjected trial of the pool."""
        prompt = self.own[number % len(self.own)]
        return self.grid.base.changed(prompt=prompt.key, trial=number, seed=seed_of(self.grid.study.seed, number))

    def injected(self, number: int, cell: int, prompt: TrialPrompt | None = None) -> TrialSpec:
        """Return a trial of the grid, or the same with another prompt."""
        pair = self.grid.pair(number)
        shown = self.own[self.repeat(number)] if prompt is None else prompt
        vector = self.grid.inject(pair.word, self.grid.cells[cell], shown.window)
        return injected(self.grid.trial(pair, shown.asked), vector)

    def swapped(self, spec: TrialSpec, word: str) -> TrialSpec:
        """Return a trial with another concept's vector."""
        changed = replace(spec.injections[0], concept=word, vector=self.grid.vector(word))
        return spec.changed(injections=(changed,))


def pool_size(study: Study, pairs: int, numbers: int) -> int:
    """Return how many uninjected trials there are: one for each pair of a cell, or as many as are asked for.

    Greedy controls of one prompt are all the same text: more than one would only pretend to be a larger sample.
    """
    if isinstance(study.controls, int):
        return study.controls
    if study.controls == "none":
        return 0
    return min(pairs, numbers) if study.temperature == 0 else pairs
