"""Injected thoughts: does the subject notice a concept vector in its residual stream, and can it name the concept?

Grid of concepts x layers x strengths x trials, one pool of uninjected controls, which depend on none of these, and the
arms of a suite of controls (``mlxintro.controls``).
Source: Lindsey 2025, "Emergent Introspective Awareness in Large Language Models", self-report of injected thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from pydantic import Field

from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.base import ModelInfo, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, Experiment, Plan, seed_of
from mlxintro.protocol import concepts, controls, windows
from mlxintro.protocol.presets import Dialogue, Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import PlannedInjection, PromptRecord, TrialSpec, Unit, model_key
from mlxintro.vectors.recipe import recipe_for


class Options(Data):
    trial_numbers: int = Field(default=1, ge=1, le=1000)
    """The number shown to the subject runs from 1 to this, so that repeats differ in their text."""


class InjectedThoughts(Experiment):
    name = "injected-thoughts"
    preset = "lindsey"
    graded = True
    summary = "inject a concept vector while the subject is asked whether it detects an injected thought"
    Options = Options

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        chosen = concepts.library().resolve(study.concepts, allow_unknown=study.any_word)
        words = list(dict.fromkeys(concept.word for concept in chosen))
        layers = list(dict.fromkeys(info.layer(layer) for layer in study.layers or ()))
        cells = [(layer, strength) for layer in layers for strength in dict.fromkeys(study.strengths or ())]
        made = [recipe_for(preset.extraction, word, info) for word in words]
        recipes = {recipe.key: recipe for recipe in made}
        vectors = dict(zip(words, recipes, strict=True))
        if preset.dialogue is None:
            raise UsageError(
                f"the preset {study.preset!r} has no dialogue: give its [dialogue] messages and question",
                setting="preset",
            )
        numbers = Options.model_validate(study.options).trial_numbers
        pairs = len(words) * (study.trials or 1)
        pool = pool_size(study, pairs, numbers)
        slots = list(controls.slots(study, pairs, len(words), len(cells), min(numbers, max(pairs, 1))))
        asked = _Prompts(preset.dialogue, study, tokenizer)
        own = [asked.at(number) for number in range(1, min(numbers, max(pool, pairs, 1)) + 1)]
        # Not ``replace`` from a base: it takes as long as everything else about a trial together.
        trial = partial(
            TrialSpec,
            experiment=self.name,
            preset=study.preset or self.preset,
            model=model_key(info),
            temperature=cast(float, study.temperature),
            top_p=cast(float, study.top_p),
            max_tokens=cast(int, study.max_tokens),
            stop=tokenizer.stop_strings,
        )
        injection = partial(PlannedInjection, unit=cast(Unit, study.unit), transform=study.transform)

        def control(number: int) -> TrialSpec:
            prompt = own[number % len(own)].key
            seed = seed_of(study.seed, number)
            return trial(prompt=prompt, condition="control", concept=None, trial=number, seed=seed)

        def injected(number: int, cell: int, prompt: _Asked) -> TrialSpec:
            word = words[number % len(words)]
            layer, strength = cells[cell]
            return trial(
                prompt=prompt.key,
                condition="injected",
                concept=word,
                trial=number,
                seed=seed_of(study.seed, number),
                injections=(
                    injection(
                        concept=word,
                        vector=vectors[word],
                        layer=layer,
                        strength=strength,
                        start=prompt.start,
                        stop=prompt.stop,
                    ),
                ),
            )

        def repeat(number: int) -> _Asked:
            return own[number // len(words) % len(own)]

        def arm(slot: controls.Slot) -> TrialSpec:
            if slot.question:
                prompt = asked.at(1, slot.question)
            else:
                prompt = own[slot.number % len(own)] if slot.cell is None else repeat(slot.number)
            spec = control(slot.number) if slot.cell is None else injected(slot.number, slot.cell, prompt)
            spec = replace(spec, arm=slot.arm, prompt=prompt.key)
            if slot.arm in controls.TRANSFORMED:
                turned = replace(spec.injections[0], transform=controls.TRANSFORMED[slot.arm])
                return replace(spec, injections=(turned,))
            if slot.arm == controls.OTHER:
                # The next concept's vector; the pair's own concept stays the one that would be right to name.
                other = words[(slot.number + 1) % len(words)]
                swapped = replace(spec.injections[0], concept=other, vector=vectors[other])
                return replace(spec, injections=(swapped,))
            detail = {"question": slot.question} if slot.question else {}
            return replace(spec, readout="score", options=(*controls.YES, *controls.NO), detail=detail)

        by_number: dict[int, list[controls.Slot]] = {}
        for slot in slots:
            by_number.setdefault(slot.number, []).append(slot)

        def expand() -> Iterator[TrialSpec]:
            # What belongs to one pair stands together, so that rates on all sides grow together.
            for number in range(max(pairs, pool, *(n + 1 for n in by_number), 0)):
                if number < pool:
                    yield control(number)
                if number < pairs:
                    yield from (injected(number, cell, repeat(number)) for cell in range(len(cells)))
                yield from map(arm, by_number.get(number, ()))

        asked_about = [asked.at(1, slot.question) for slot in slots if slot.question]
        return Plan(
            count=pool + pairs * len(cells) + len(slots),
            prompts={one.key: one.record for one in (*own, *asked_about)},
            recipes=recipes,
            expand=expand,
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        from mlxintro.experiments.detection.analysis import analyse

        return analyse(rows, study)


def pool_size(study: Study, pairs: int, numbers: int) -> int:
    """Uninjected trials: as many as the pairs of a cell, or as many as are asked for.

    Greedy controls of one prompt are all the same text: more than one would only pretend to be a larger sample.
    """
    if isinstance(study.controls, int):
        return study.controls
    if study.controls == "none":
        return 0
    return min(pairs, numbers) if study.temperature == 0 else pairs


@dataclass(frozen=True, slots=True)
class _Asked:
    record: PromptRecord
    key: str
    """Of the record: a hash over the whole prompt, and asked for by every trial."""
    start: int
    stop: int | None


class _Prompts:
    """The dialogue rendered at each trial number and with each control question, once."""

    def __init__(self, dialogue: Dialogue, study: Study, tokenizer: Tokenizer) -> None:
        self._dialogue = dialogue
        self._window = study.window or "question"
        self._tokenizer = tokenizer
        self._made: dict[tuple[int, str], _Asked] = {}

    def at(self, number: int, question: str = "") -> _Asked:
        if (number, question) not in self._made:
            dialogue = controls.asking(self._dialogue, question)
            messages, anchor = dialogue.at_trial(number)
            rendered = self._tokenizer.render(messages, dialogue.prefill)
            pieces = self._tokenizer.pieces(rendered.tokens)
            record = PromptRecord.of(messages, dialogue.prefill, rendered, pieces)
            self._made[number, question] = _Asked(record, record.key, *windows.resolve(self._window, rendered, anchor))
        return self._made[number, question]


EXPERIMENT = InjectedThoughts()
