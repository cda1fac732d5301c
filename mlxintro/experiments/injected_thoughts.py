"""Injected thoughts: does the subject notice a concept vector in its residual stream, and can it name the concept?

Grid of concepts x layers x strengths x trials, and one pool of uninjected controls, which depend on none of these.
Source: Lindsey 2025, "Emergent Introspective Awareness in Large Language Models", self-report of injected thoughts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from backends.base import ModelInfo, Tokenizer
from mlxintro import concepts, windows
from mlxintro.analysis import Analysis, Row
from mlxintro.experiments.base import Experiment, Plan, seed_of
from mlxintro.presets import Preset
from mlxintro.study import Study
from mlxintro.trials import PlannedInjection, PromptRecord, TrialSpec, Unit, model_key
from mlxintro.vectors import recipe_for


class InjectedThoughts(Experiment):
    name = "injected-thoughts"
    preset = "lindsey"
    graded = True
    summary = "inject a concept vector while the subject is asked whether it detects an injected thought"

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        chosen = concepts.library().resolve(study.concepts, allow_unknown=study.any_word)
        words = list(dict.fromkeys(concept.word for concept in chosen))
        layers = list(dict.fromkeys(info.layer(layer) for layer in study.layers or ()))
        strengths = list(dict.fromkeys(study.strengths or ()))
        recipes = {word: recipe_for(preset.extraction, word, info) for word in words}

        assert preset.dialogue is not None
        messages, question = preset.dialogue.at_trial(1)
        rendered = tokenizer.render(messages, preset.dialogue.prefill)
        prompt = PromptRecord.of(messages, preset.dialogue.prefill, rendered, tokenizer.pieces(rendered.tokens))
        start, stop = windows.resolve(study.window or "question", rendered, question)

        trials = study.trials or 1
        pairs = len(words) * trials
        # Greedy controls are all the same text: more than one would only pretend to be a larger sample.
        usual = 1 if study.temperature == 0 else pairs
        controls = study.controls if isinstance(study.controls, int) else usual
        base = TrialSpec(
            experiment=self.name,
            preset=study.preset or self.preset,
            model=model_key(info),
            prompt=prompt.key,
            condition="control",
            concept=None,
            trial=0,
            seed=0,
            temperature=cast(float, study.temperature),
            top_p=cast(float, study.top_p),
            max_tokens=cast(int, study.max_tokens),
            stop=tokenizer.stop_strings,
        )

        def control(number: int) -> TrialSpec:
            return replace(base, trial=number, seed=seed_of(study.seed, number))

        def injected(number: int, word: str, layer: int, strength: float) -> TrialSpec:
            injection = PlannedInjection(
                concept=word,
                vector=recipes[word].key,
                layer=layer,
                strength=strength,
                unit=cast(Unit, study.unit),
                start=start,
                stop=stop,
                transform=study.transform,
            )
            return replace(
                base,
                condition="injected",
                concept=word,
                trial=number,
                seed=seed_of(study.seed, number),
                injections=(injection,),
            )

        def expand() -> Iterator[TrialSpec]:
            # A control beside the grid of every pair, so that rates on both sides grow together.
            for number in range(max(pairs, controls)):
                if number < controls:
                    yield control(number)
                if number < pairs:
                    word = words[number % len(words)]
                    for layer in layers:
                        for strength in strengths:
                            yield injected(number, word, layer, strength)

        return Plan(
            count=controls + pairs * len(layers) * len(strengths),
            prompts={prompt.key: prompt},
            recipes={recipe.key: recipe for recipe in recipes.values()},
            expand=expand,
        )

    def analyse(self, rows: Sequence[Row], study: Study) -> Analysis:
        return Analysis()


EXPERIMENT = InjectedThoughts()
