"""Injected thoughts: does the subject notice a concept vector in its residual stream, and can it name the concept?

Grid of concepts x layers x strengths x trials, and one pool of uninjected controls, which depend on none of these.
Source: Lindsey 2025, "Emergent Introspective Awareness in Large Language Models", self-report of injected thoughts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from backends.base import ModelInfo, OnToken, Tokenizer
from mlxintro import concepts, windows
from mlxintro.experiments.base import Plan, Session, generate
from mlxintro.presets import Preset
from mlxintro.study import Study
from mlxintro.trials import Outcome, PlannedInjection, PromptRecord, TrialSpec, Unit, model_key
from mlxintro.vectors import recipe_for


class InjectedThoughts:
    name = "injected-thoughts"
    summary = "inject a concept vector while the subject is asked whether it detects an injected thought"

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        chosen = concepts.library().resolve(study.concepts, allow_unknown=study.any_word)
        words = list(dict.fromkeys(concept.word for concept in chosen))
        layers = list(dict.fromkeys(info.layer(layer) for layer in study.layers or ()))
        strengths = list(dict.fromkeys(study.strengths or ()))
        recipes = {word: recipe_for(preset.extraction, word, info) for word in words}

        messages, question = preset.dialogue.at_trial(1)
        rendered = tokenizer.render(messages, preset.dialogue.prefill)
        prompt = PromptRecord.of(messages, preset.dialogue.prefill, rendered, tokenizer.pieces(rendered.tokens))
        start, stop = windows.resolve(study.window or "question", rendered, question)

        trials = study.trials or 1
        pairs = len(words) * trials
        # Greedy controls are all the same text: more than one would only pretend to be a larger sample.
        usual = 1 if study.temperature == 0 else pairs
        controls = usual if study.controls is None else study.controls
        base = TrialSpec(
            experiment=self.name,
            preset=study.preset,
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
            return replace(base, trial=number, seed=_seed(study.seed, number))

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
                seed=_seed(study.seed, number),
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

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        return generate(session, specs, on_token)


def _seed(study_seed: int, number: int) -> int:
    """One seed per pair number: a trial, its control and its neighbours in the grid draw the same random numbers."""
    digest = hashlib.blake2b(f"{study_seed}:{number}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


EXPERIMENT = InjectedThoughts()
