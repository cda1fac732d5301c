"""What experiments share when they plan: a study resolved for a model, its pairs, its prompts, its trials.

A pair is one concept on one occasion: it has a number, and from that and the study's seed follow its random choices
(sentence, candidates, seed of sampling), never from how many pairs there are. A larger study thus contains the smaller.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Annotated, Any, cast

from pydantic import AfterValidator

from mlxintro import data
from mlxintro.backends.base import Message, ModelInfo, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Plan, seed_of
from mlxintro.protocol import concepts, windows
from mlxintro.protocol.concepts import Concept
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.prompts import Asked, Dialogues
from mlxintro.protocol.spelling import comparable
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import PlannedInjection, Transform, TrialSpec, Unit, model_key
from mlxintro.protocol.windows import ReplyWindow
from mlxintro.protocol.words.imported import VectorReference
from mlxintro.vectors.recipe import ExtractionRecipe, MeanDifference, VectorRecipe
from mlxintro.vectors.settings import recipe_for


def holding(*names: str) -> AfterValidator:
    """Return a validator of a text that must hold each ``{name}`` once."""

    def check(text: str) -> str:
        for name in names:
            if text.count("{" + name + "}") != 1:
                raise ValueError(f"must hold {{{name}}} exactly once")
        return text

    return AfterValidator(check)


SentenceText = Annotated[str, holding("sentence")]


def fill(text: str, **values: str) -> str:
    """Put values in the place of ``{name}``; other braces stay as they are."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


@dataclass(frozen=True, slots=True)
class Occasion:
    number: int
    concept: Concept
    seed: int

    @property
    def word(self) -> str:
        return self.concept.word

    def rng(self, purpose: str) -> random.Random:
        """Return the random choices of this pair, independent of those for another purpose."""
        return random.Random(f"{self.seed}:{self.concept.word}:{purpose}")


@dataclass(slots=True)
class Grid:
    """Expands a resolved study on a loaded model to its trials, and keeps what they refer to."""

    study: Study
    preset: Preset
    info: ModelInfo
    concepts: tuple[Concept, ...]
    layers: tuple[int, ...]
    cells: tuple[tuple[int, float], ...]
    """Pairs of a layer and a strength: all layers with all strengths."""
    base: TrialSpec
    """An uninjected trial that lacks its prompt, number and seed."""
    dialogues: Dialogues
    references: Mapping[str, VectorReference] = field(default_factory=dict)
    """Imported vectors, by the word of their concept."""
    centred: bool = False
    """Whether a word's vector has the study's other words for its baseline."""
    recipes: dict[str, VectorRecipe] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        experiment: str,
        study: Study,
        preset: Preset,
        info: ModelInfo,
        tokenizer: Tokenizer,
        *,
        named_arms: bool = False,
        centred: bool = False,
    ) -> Grid:
        """Resolve names, layers and strengths.

        Args:
            named_arms: whether the experiment takes control arms by name.
            centred: whether a word's vector has the study's other words for its baseline.

        Raises:
            UsageError: they do not fit the model.
        """
        if isinstance(study.controls, tuple) and not named_arms:
            raise UsageError(
                f"controls: {experiment} takes none, standard, full or a number, and no names of arms",
                setting="controls",
            )
        found = study.resolved_concepts
        layers = tuple(dict.fromkeys(info.layer(layer) for layer in study.layers or ()))
        strengths = tuple(dict.fromkeys(study.strengths or ()))
        base = TrialSpec(
            experiment=experiment,
            preset=study.preset or experiment,
            model=model_key(info),
            prompt="",
            condition="control",
            concept=None,
            trial=0,
            seed=0,
            temperature=cast(float, study.temperature),
            top_p=cast(float, study.top_p),
            max_tokens=cast(int, study.max_tokens),
            stop=tokenizer.stop_strings,
            thinking_tokens=study.thinking_tokens or 0,
        )
        references = {word: reference for word, (_, reference) in found.items() if reference is not None}
        for reference in references.values():
            reference.check_layers(layers)
        cells = tuple((layer, strength) for layer in layers for strength in strengths)
        dialogues = Dialogues(tokenizer, study.thinking or "off")
        chosen = tuple(concept for concept, _ in found.values())
        return cls(study, preset, info, chosen, layers, cells, base, dialogues, references, centred)

    @property
    def pair_count(self) -> int:
        return len(self.concepts) * (self.study.trials or 1)

    def pair(self, number: int) -> Occasion:
        """Return a pair; concepts take turns, so that a run that is cut short is balanced."""
        return Occasion(number, self.concepts[number % len(self.concepts)], seed_of(self.study.seed, number))

    @property
    def pairs(self) -> Iterator[Occasion]:
        """Return every pair of the study, in order."""
        return map(self.pair, range(self.pair_count))

    @property
    def uninjected(self) -> float:
        """Return how many pairs have uninjected controls: all, unless the study says otherwise."""
        if isinstance(self.study.controls, int):
            return self.study.controls
        return 0 if self.study.controls == "none" else float("inf")

    @property
    def arms(self) -> int:
        """Return how many control arms to run: 0 none, 1 the standard ones, 2 all."""
        return {"standard": 1, "full": 2}.get(str(self.study.controls), 0)

    def no_window(self, where: str) -> None:
        """Refuse a window where the experiment's design has its own.

        Raises:
            UsageError: saying where it injects.
        """
        if self.study.window is not None:
            raise UsageError(f"{self.base.experiment} injects {where}: leave --window out", setting="window")

    @property
    def tokenizer(self) -> Tokenizer:
        return self.dialogues.tokenizer

    def ask(self, messages: Sequence[Message], prefill: str = "", *, aside: bool = False) -> Asked:
        """Render a dialogue and keep it.

        Args:
            messages: of the dialogue.
            prefill: how the answer begins.
            aside: whether its reply is no answer of the subject's, so that no thought belongs before it.
        """
        return self.dialogues.ask(messages, prefill, thinking=self.dialogues.aside if aside else None)

    def window(self, asked: Asked, question: str) -> ReplyWindow:
        """Return where the study's window lies in a dialogue, by default from the question on.

        Raises:
            UsageError: the question does not stand in it, or the window is over a thought and there is none.
        """
        marks = self.tokenizer.thinking if self.dialogues.thinking == "on" else None
        return windows.resolve_by_part(self.study.window or "question", asked.rendered, question, marks)

    def vector(self, word: str) -> str:
        """Return the key of a word's vector; the plan extracts it."""
        if word not in self._keys:
            recipe = self._recipe(word)
            self._keys[word] = recipe.key
            self.recipes[recipe.key] = recipe
        return self._keys[word]

    def _recipe(self, word: str) -> VectorRecipe:
        recipe = recipe_for(self.preset.extraction, word, self.info, self.references.get(word))
        if not self.centred:
            return recipe
        if not isinstance(recipe, ExtractionRecipe | MeanDifference):
            raise UsageError(
                f"centred: {recipe.method} has no list of words that the study's own could replace: leave it out",
                setting="centred",
            )
        others = tuple(concept.word for concept in self.concepts if concept.word != word)
        return replace(recipe, baseline="the study's own words", baseline_words=others)

    def trial(self, pair: Occasion, asked: Asked, **changes: Any) -> TrialSpec:
        """Return an uninjected trial about the pair's concept."""
        values = {"concept": pair.word, "trial": pair.number, "seed": pair.seed, "prompt": asked.key, **changes}
        return self.base.changed(**values)

    def inject(
        self,
        word: str,
        cell: tuple[int, float],
        window: tuple[int, int | None] | ReplyWindow,
        transform: Transform | None = None,
    ) -> PlannedInjection:
        """Return a vector at one cell of the grid."""
        key = self.vector(word)
        return PlannedInjection(
            concept=word,
            vector=key,
            layer=cell[0],
            strength=cell[1],
            unit=cast(Unit, self.study.unit),
            start=window[0],
            stop=window[1],
            part=window.part if isinstance(window, ReplyWindow) else "reply",
            transform=transform or self.study.transform,
            site=self.recipes[key].site,
        )

    def plan(self, trials: Callable[[], Iterator[TrialSpec]]) -> Plan:
        """Return a plan of the trials that each call expands anew.

        They are expanded once here, for their number and for the dialogues and vectors they refer to, and not kept.
        """
        count = sum(1 for _ in trials())
        return Plan(count, self.dialogues.records, self.recipes, trials)


def injected(spec: TrialSpec, *injections: PlannedInjection, arm: str | None = None) -> TrialSpec:
    """Return the trial with vectors injected."""
    return spec.changed(condition="injected", injections=injections, arm=spec.arm if arm is None else arm)


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


@cache
def sentences() -> tuple[str, ...]:
    """Return the everyday sentences that ship."""
    return tuple(data.load("sentences.toml")["sentences"])


@lru_cache(maxsize=4096)
def sentences_without(concept: Concept) -> tuple[str, ...]:
    """Return the sentences that do not name a concept."""
    from mlxintro.replies.short_replies import names

    return tuple(sentence for sentence in sentences() if not names(sentence, concept))


def pick_sentence(pair: Occasion) -> str:
    """Return a sentence for a pair that does not name its concept.

    Raises:
        UsageError: there is none.
    """
    free = sentences_without(pair.concept)
    if not free:
        raise UsageError(f"every sentence names {pair.word!r}: leave that concept out", setting="concepts")
    return pair.rng("sentence").choice(free)


def distractors(pair: Occasion, count: int, among: Sequence[Concept]) -> tuple[Concept, ...]:
    """Return other concepts at random, none of which shares a name with the pair's.

    Raises:
        UsageError: there are not as many.
    """
    free = _strangers(pair.concept, tuple(among))
    if count > len(free):
        raise UsageError(
            f"only {len(free)} concepts to tell {pair.word!r} from: name a set with more than {count}",
            setting="concepts",
        )
    return tuple(pair.rng("candidates").sample(free, count))


@lru_cache(maxsize=4096)
def _strangers(concept: Concept, among: tuple[Concept, ...]) -> tuple[Concept, ...]:
    own = {comparable(name) for name in concept.names}
    return tuple(
        other
        for other in among
        if not own & {comparable(name) for name in other.names} and not concepts.same_word(other.word, concept.word)
    )
