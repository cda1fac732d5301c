"""From a study of injected thoughts to its trials: the grid, the pool of uninjected replies, and every control arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from pydantic import Field

from mlxintro.backends.base import Message, ModelInfo, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, seed_of
from mlxintro.protocol import concepts, controls, windows
from mlxintro.protocol.presets import Dialogue, Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import PlannedInjection, PromptRecord, TrialSpec, Unit, model_key
from mlxintro.vectors.recipe import ExtractionRecipe, MeanDifference, VectorRecipe
from mlxintro.vectors.settings import recipe_for

WITNESS_TOKENS = 32
"""Length of the sentence that a witness writes."""


class DetectionOptions(Data):
    """Settings of injected thoughts alone. All but the first are what ``mlxintro certify`` finds out about a model."""

    trial_numbers: int = Field(default=1, ge=1, le=1000)
    """The number shown to the subject runs from 1 to this, so that repeats differ in their text."""
    centred: bool = False
    """Vectors are word minus the mean of the study's other words, so that no direction is shared by all."""
    spanning: tuple[str, ...] = ()
    """Unrelated questions whose logits stand around the trial question's."""
    matched: tuple[float, ...] = ()
    """By pair, the strength at which a random vector has the impact of the pair's concept."""
    matched_other: tuple[float, ...] = ()
    """By pair, the same for another concept's vector."""
    impacts: tuple[tuple[float, float, float], ...] = ()
    """By pair, impacts in nats: of the concept, of the matched random vector, of the matched other concept."""
    partners: dict[str, str] = Field(default_factory=dict)
    """By word, another whose vector resembles it least."""


@dataclass(frozen=True, slots=True)
class AskedAbout:
    """A rendered dialogue and the window of its injections."""

    record: PromptRecord
    key: str
    """Hash of the record's whole prompt; kept, since every trial asks for it."""
    start: int
    stop: int | None

    @property
    def length(self) -> int:
        return len(self.record.tokens)


class Renderings:
    """The dialogue rendered at each trial number and with each control question, once."""

    def __init__(self, dialogue: Dialogue, study: Study, tokenizer: Tokenizer) -> None:
        self._dialogue = dialogue
        self._window = study.window or "question"
        self._tokenizer = tokenizer
        self._made: dict[tuple[Any, ...], AskedAbout] = {}

    @property
    def all(self) -> dict[str, PromptRecord]:
        return {one.key: one.record for one in self._made.values()}

    def at(self, number: int, question: str = "") -> AskedAbout:
        """The dialogue at a trial number, with another question in the trial question's place unless it is empty."""
        if (number, question) not in self._made:
            dialogue = controls.asking(self._dialogue, question)
            messages, anchor = dialogue.at_trial(number)
            record = self._record(messages, dialogue.prefill)
            rendered = self._tokenizer.render(messages, dialogue.prefill)
            window = windows.resolve(self._window, rendered, anchor)
            self._made[number, question] = AskedAbout(record, record.key, *window)
        return self._made[number, question]

    def tampered(self, number: int, word: str) -> AskedAbout:
        """The dialogue with a word where it does not belong, right before the trial question."""
        if (number, "odd", word) not in self._made:
            messages, anchor = self._dialogue.at_trial(number)
            content = messages[-1]["content"]
            at = content.rindex(anchor)
            odd = controls.forms()["odd"].replace("{word}", word)
            last = {**messages[-1], "content": content[:at] + odd + content[at:]}
            record = self._record((*messages[:-1], last), self._dialogue.prefill)
            self._made[number, "odd", word] = AskedAbout(record, record.key, 0, None)
        return self._made[number, "odd", word]

    def task(self) -> AskedAbout:
        """The dialogue of a witness: it is asked to write a sentence; the window reaches from there on."""
        if ("task",) not in self._made:
            messages, _ = self._dialogue.at_trial(1)
            text = controls.forms()["task"]
            said = (*messages[:-1], {"role": messages[-1]["role"], "content": text})
            rendered = self._tokenizer.render(said)
            record = self._record(said, "")
            self._made["task",] = AskedAbout(record, record.key, windows.span(rendered, text)[0], None)
        return self._made["task",]

    def _record(self, messages: tuple[Message, ...], prefill: str) -> PromptRecord:
        rendered = self._tokenizer.render(messages, prefill)
        return PromptRecord.of(messages, prefill, rendered, self._tokenizer.pieces(rendered.tokens))


class Planner:
    """Makes the trials of one study for one model."""

    def __init__(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer, experiment: str) -> None:
        if preset.dialogue is None:
            raise UsageError(
                f"the preset {study.preset!r} has no dialogue: give its [dialogue] messages and question",
                setting="preset",
            )
        chosen = concepts.library().resolve(study.concepts, allow_unknown=study.any_word)
        self.words = tuple(dict.fromkeys(concept.word for concept in chosen))
        self.options = DetectionOptions.model_validate(study.options)
        layers = dict.fromkeys(info.layer(layer) for layer in study.layers or ())
        self.cells = [(layer, strength) for layer in layers for strength in dict.fromkeys(study.strengths or ())]
        self.layers = info.layers
        made = [self._recipe(preset, word, info) for word in self.words]
        self.recipes = {recipe.key: recipe for recipe in made}
        self.vectors = dict(zip(self.words, self.recipes, strict=True))
        self.pairs = len(self.words) * (study.trials or 1)
        self.pool = pool_size(study, self.pairs, self.options.trial_numbers)
        self.seed = study.seed
        self.asked = Renderings(preset.dialogue, study, tokenizer)
        shown = min(self.options.trial_numbers, max(self.pool, self.pairs, 1))
        self.own = [self.asked.at(number) for number in range(1, shown + 1)]
        self._witnessed = f"{preset.dialogue.at_trial(1)[1]} {controls.forms()['witness']}"
        # Not ``replace`` from a base: it takes as long as everything else about a trial together.
        self._trial = partial(
            TrialSpec,
            experiment=experiment,
            preset=study.preset or experiment,
            model=model_key(info),
            temperature=cast(float, study.temperature),
            top_p=cast(float, study.top_p),
            max_tokens=cast(int, study.max_tokens),
            stop=tokenizer.stop_strings,
        )
        self._injection = partial(PlannedInjection, unit=cast(Unit, study.unit), transform=study.transform)
        self.sites = {recipe.word: recipe.site for recipe in made}
        self.slots = self._slots(study)

    def _recipe(self, preset: Preset, word: str, info: ModelInfo) -> VectorRecipe:
        recipe = recipe_for(preset.extraction, word, info)
        if not self.options.centred:
            return recipe
        if not isinstance(recipe, ExtractionRecipe | MeanDifference):
            raise UsageError(
                f"centred: {recipe.method} has no list of words that the study's own could replace: leave it out",
                setting="centred",
            )
        others = tuple(one for one in self.words if one != word)
        return replace(recipe, baseline="the study's own words", baseline_words=others)

    def _slots(self, study: Study) -> dict[int, list[controls.Slot]]:
        """Control trials by the pair they belong to."""
        matched = min(len(self.options.matched), len(self.options.matched_other), len(self.options.impacts))
        sizes = controls.Sizes(
            pairs=self.pairs,
            words=self.words,
            cells=len(self.cells),
            prompts=min(self.options.trial_numbers, max(self.pairs, 1)),
            spanning=self.options.spanning,
            matched=matched >= self.pairs and len(self.cells) == 1,
        )
        found: dict[int, list[controls.Slot]] = {}
        for slot in controls.slots(study, sizes):
            removed = slot.arm in (controls.ABLATED, controls.ABLATED_LAST)
            if removed and self.cells[slot.cell or 0][0] >= self.layers - 1:
                continue  # there is no later layer to take the vector out at
            found.setdefault(slot.number, []).append(slot)
        return found

    def prepare(self, slot: controls.Slot) -> None:
        """Render the prompt that a control trial refers to."""
        if slot.question:
            self.asked.at(1, slot.question)
        elif slot.arm == controls.WITNESS:
            self.asked.task()
        elif slot.arm == controls.TAMPERED:
            self._tampered(slot)

    @property
    def count(self) -> int:
        return self.pool + self.pairs * len(self.cells) + sum(map(len, self.slots.values()))

    def control(self, number: int) -> TrialSpec:
        """An uninjected trial of the pool."""
        prompt = self.own[number % len(self.own)].key
        seed = seed_of(self.seed, number)
        return self._trial(prompt=prompt, condition="control", concept=None, trial=number, seed=seed)

    def injected(self, number: int, cell: int, prompt: AskedAbout | None = None) -> TrialSpec:
        """A trial of the grid, or the same with another prompt."""
        asked = self._repeat(number) if prompt is None else prompt
        word = self.words[number % len(self.words)]
        layer, strength = self.cells[cell]
        injection = self._injection(
            concept=word,
            vector=self.vectors[word],
            layer=layer,
            strength=strength,
            start=asked.start,
            stop=asked.stop,
            site=self.sites[word],
        )
        return self._trial(
            prompt=asked.key,
            condition="injected",
            concept=word,
            trial=number,
            seed=seed_of(self.seed, number),
            injections=(injection,),
        )

    def _repeat(self, number: int) -> AskedAbout:
        return self.own[number // len(self.words) % len(self.own)]

    def arm(self, slot: controls.Slot) -> TrialSpec:
        """A trial of a control arm."""
        return replace(_MAKERS.get(slot.arm, Planner._scored)(self, slot), arm=slot.arm)

    def _base(self, slot: controls.Slot) -> TrialSpec:
        return self.injected(slot.number, slot.cell or 0)

    def _transformed(self, slot: controls.Slot) -> TrialSpec:
        spec = self._base(slot)
        turned = replace(spec.injections[0], transform=controls.TRANSFORMED[slot.arm])
        return replace(spec, injections=(turned,))

    def _other(self, slot: controls.Slot) -> TrialSpec:
        """The next concept's vector; the pair's own concept stays the one that would be right to name."""
        spec = self._base(slot)
        other = self.words[(slot.number + 1) % len(self.words)]
        swapped = replace(spec.injections[0], concept=other, vector=self.vectors[other])
        return replace(spec, injections=(swapped,))

    def _matched(self, slot: controls.Slot) -> TrialSpec:
        """A vector of another kind, at the strength that has the concept's impact."""
        target, random, other = self.options.impacts[slot.number]
        if slot.arm == controls.MATCHED:
            spec, strength, made = self._base(slot), self.options.matched[slot.number], random
            changed = replace(spec.injections[0], transform="random", strength=strength)
        else:
            spec, strength, made = self._other(slot), self.options.matched_other[slot.number], other
            changed = replace(spec.injections[0], strength=strength)
        return replace(spec, injections=(changed,), detail={"target": target, "impact": made})

    def _tampered(self, slot: controls.Slot) -> TrialSpec:
        word = self.words[slot.number % len(self.words)]
        number = 1 + slot.number // len(self.words) % len(self.own)
        prompt = self.asked.tampered(number, word)
        return replace(self.control(slot.number), concept=word, prompt=prompt.key)

    def _off(self, slot: controls.Slot) -> TrialSpec:
        """The vector off while the reply is written, or taken out again at later layers."""
        spec = self._base(slot)
        own = spec.injections[0]
        if slot.arm == controls.PROMPT_ONLY:
            return replace(spec, injections=(replace(own, stop=self._repeat(slot.number).length),))
        first = self.layers - 1 if slot.arm == controls.ABLATED_LAST else own.layer + 1
        out = [replace(own, layer=layer, operation="ablate", taken_at=own.layer) for layer in range(first, self.layers)]
        return replace(spec, injections=(own, *out))

    def _scored(self, slot: controls.Slot) -> TrialSpec:
        if slot.question:
            prompt = self.asked.at(1, slot.question)
        else:
            prompt = self.own[slot.number % len(self.own)] if slot.cell is None else self._repeat(slot.number)
        if slot.cell is None:
            spec = replace(self.control(slot.number), prompt=prompt.key)
        else:
            spec = self.injected(slot.number, slot.cell, prompt)
        detail: dict[str, Any] = {"question": slot.question} if slot.question else {}
        if self.options.spanning:
            detail["entropy"] = True
        if slot.arm == controls.ASKED_OTHER and spec.injections:
            word = spec.concept or ""
            other = self.options.partners.get(word, self.words[(slot.number + 1) % len(self.words)])
            swapped = replace(spec.injections[0], concept=other, vector=self.vectors[other])
            spec = replace(spec, injections=(swapped,))
        return replace(spec, readout="score", options=(*controls.YES, *controls.NO), detail=detail)

    def _witness(self, slot: controls.Slot) -> TrialSpec:
        spec = self.injected(slot.number, slot.cell or 0, self.asked.task())
        detail = {"task": controls.forms()["task"], "question": self._witnessed}
        options = (*controls.YES, *controls.NO)
        return replace(spec, readout="witness", options=options, max_tokens=WITNESS_TOKENS, detail=detail)

    def _bank(self, slot: controls.Slot) -> TrialSpec:
        detail = {"layer": self.cells[slot.cell or 0][0], "vectors": list(self.recipes)}
        return replace(self.control(0), readout="bank", detail=detail)


_MAKERS: dict[str, Callable[[Planner, controls.Slot], TrialSpec]] = {
    **dict.fromkeys(controls.TRANSFORMED, Planner._transformed),
    controls.OTHER: Planner._other,
    **dict.fromkeys((controls.MATCHED, controls.MATCHED_OTHER), Planner._matched),
    controls.TAMPERED: Planner._tampered,
    **dict.fromkeys((controls.PROMPT_ONLY, controls.ABLATED, controls.ABLATED_LAST), Planner._off),
    controls.WITNESS: Planner._witness,
    controls.BANK: Planner._bank,
}
"""How the trials of an arm are made; what is not listed is a scored question."""


def pool_size(study: Study, pairs: int, numbers: int) -> int:
    """Uninjected trials: as many as the pairs of a cell, or as many as are asked for.

    Greedy controls of one prompt are all the same text: more than one would only pretend to be a larger sample.
    """
    if isinstance(study.controls, int):
        return study.controls
    if study.controls == "none":
        return 0
    return min(pairs, numbers) if study.temperature == 0 else pairs
