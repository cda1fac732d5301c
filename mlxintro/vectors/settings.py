"""How a preset or a study has concept vectors extracted, and the recipe that comes of it for a word and a model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from mlxintro import data
from mlxintro.backends.base import ModelInfo
from mlxintro.backends.errors import UsageError
from mlxintro.backends.thinking.marks import ThinkingMode
from mlxintro.protocol.bounds import Data
from mlxintro.protocol.concepts import library
from mlxintro.protocol.spelling import comparable, composed
from mlxintro.protocol.trials import model_key
from mlxintro.protocol.words.imported import VectorReference
from mlxintro.vectors.imported import check_fit
from mlxintro.vectors.reading import LetterCase, Read, ReadSite, cased
from mlxintro.vectors.recipe import (
    Centre,
    ContrastPairs,
    ExtractionRecipe,
    ImportedVector,
    MeanDifference,
    Method,
    PrincipalDirection,
    PromptPair,
    VectorRecipe,
)


def _holds_word(template: str) -> str:
    if template.count("{word}") != 1:
        raise ValueError(f"the template {template!r} must hold {{word}} exactly once")
    return template


def _known_list(name: str) -> str:
    try:
        return library().baseline(name).name
    except UsageError as error:
        raise ValueError(str(error)) from None


Template = Annotated[str, AfterValidator(_holds_word)]


class PairTexts(Data):
    """Holds two prompts of a contrast; ``{word}`` in either stands for the concept's word."""

    positive: str = Field(min_length=1)
    negative: str = Field(min_length=1)
    beginning: str = ""
    """Beginning of the reply to both."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            if len(value) != 2:
                raise ValueError('a pair is two prompts: write ["with the concept", "without it"]')
            return {"positive": value[0], "negative": value[1]}
        return value


class ExtractionSettings(Data):
    """Says how a preset has concept vectors extracted."""

    method: Method = "word-minus-baseline"
    template: Template
    """The prompt of word minus baseline; also where the residual norm is measured for imported vectors."""
    case: LetterCase
    read: Read
    baseline: Annotated[str, AfterValidator(_known_list)]
    """Name of a word list; see ``mlxintro.protocol.concepts``."""
    site: ReadSite = "resid_post"
    """Site at which vectors are read, and injected."""
    thinking: ThinkingMode = "off"
    """``on`` reads word minus baseline inside an opened thought, for models that think; ``empty`` behind an empty
    one."""
    templates: tuple[Template, ...] = ()
    """Prompts of the mean difference; those that ship when empty."""
    pairs: tuple[PairTexts, ...] = ()
    """Pairs of prompts with ``{word}`` on the positive side; those that ship when empty."""
    beginnings: tuple[str, ...] = ()
    """Beginnings of the reply that every pair is crossed with for ``pca``; those that ship when empty."""
    contrasts: Mapping[str, tuple[PairTexts, ...]] = Field(default_factory=dict)
    """Pairs of a concept's own, by its word; they go before ``pairs`` and before those that ship."""
    centre: Centre = "pairs"
    """Mean that ``pca`` subtracts."""

    @model_validator(mode="after")
    def _pairs_fit(self) -> ExtractionSettings:
        if self.method in ("contrast-pairs", "pca") and self.read == "word":
            raise ValueError(
                'pairs of prompts have no one word to read at: set read to "last-template-token" or "mean"'
            )
        if self.thinking != "off" and self.method != "word-minus-baseline":
            raise ValueError(
                f"{self.method} is read outside of thoughts: leave thinking out, or use word-minus-baseline"
            )
        for pair in self.pairs:
            if "{word}" not in pair.positive:
                raise ValueError(f"the positive prompt {pair.positive!r} must hold {{word}}, or stand in contrasts")
        return self

    @property
    def in_words(self) -> str:
        """Return the method in a phrase for people."""
        read, site = self.read.replace("-", " "), "" if self.site == "resid_post" else f", at {self.site}"
        site += {"off": "", "on": ", inside an opened thought", "empty": ", behind an empty thought"}[self.thinking]
        if self.method == "word-minus-baseline":
            return f"{self.template!r} ({self.case}), read at {read}{site}, minus the mean over {self.baseline}"
        if self.method == "mean-difference":
            count = len(self.templates or shipped_texts("templates"))
            return f"mean over {count} prompts ({self.case}), read at {read}{site}, minus the mean over {self.baseline}"
        pairs = f"the concept's own pairs of prompts, or {len(self.pairs or shipped_pairs())} for any word"
        what = "mean difference of" if self.method == "contrast-pairs" else f"principal component ({self.centre}) of"
        return f"{what} {pairs}, read at {read}{site}"


def recipe_for(
    extraction: ExtractionSettings, word: str, info: ModelInfo, reference: VectorReference | None = None
) -> VectorRecipe:
    """Return the recipe of a word as a preset extracts it, the word itself left out of the baseline.

    Args:
        reference: an imported vector to take instead; only the norm of the stream is then read by the preset.

    Raises:
        UsageError: the settings give nothing to extract this word from, or the imported vector does not fit the model.
    """
    word, model = composed(word.strip()), model_key(info)
    if reference is not None:
        return _imported(extraction, word, info, reference)
    if extraction.method in ("contrast-pairs", "pca"):
        pairs = _pairs_of(extraction, word)
        if extraction.method == "contrast-pairs":
            return ContrastPairs(word, model, pairs, extraction.read, extraction.site)
        return PrincipalDirection(word, model, pairs, extraction.read, extraction.site, extraction.centre)
    baseline = library().baseline(extraction.baseline)
    others = baseline.without(word)
    if extraction.method == "mean-difference":
        templates = extraction.templates or shipped_texts("templates")
        return MeanDifference(
            word, model, baseline.name, others, templates, extraction.case, extraction.read, extraction.site
        )
    return ExtractionRecipe(
        word=word,
        model=model,
        baseline=baseline.name,
        baseline_words=others,
        template=extraction.template,
        case=extraction.case,
        read=extraction.read,
        site=extraction.site,
        thinking=extraction.thinking,
    )


def _imported(extraction: ExtractionSettings, word: str, info: ModelInfo, reference: VectorReference) -> ImportedVector:
    check_fit(word, reference.width, reference.layers, info.width, info.layers)
    baseline = library().baseline(extraction.baseline)
    return ImportedVector(
        word=word,
        model=model_key(info),
        baseline=baseline.name,
        baseline_words=baseline.without(word),
        template=extraction.template,
        case=extraction.case,
        read=extraction.read,
        site=reference.site,
        content=reference.content,
    )


def _pairs_of(extraction: ExtractionSettings, word: str) -> tuple[PromptPair, ...]:
    """The pairs of a concept: its own, else those for any word; ``pca`` crosses the latter with beginnings."""
    given = {comparable(name): pairs for name, pairs in extraction.contrasts.items()}
    own = given.get(comparable(word)) or (None if extraction.pairs else shipped_contrasts().get(comparable(word)))
    texts = own or extraction.pairs or shipped_pairs()
    beginnings: tuple[str, ...] = ("",)
    if extraction.method == "pca" and own is None:
        beginnings = extraction.beginnings or shipped_texts("beginnings")

    def filled(text: str) -> str:
        return text.replace("{word}", cased(word, extraction.case))

    return tuple(
        PromptPair(filled(pair.positive), filled(pair.negative), pair.beginning or beginning)
        for pair in texts
        for beginning in beginnings
    )


@cache
def shipped_pairs() -> tuple[PairTexts, ...]:
    """Return the pairs of prompts that ship, for any word."""
    return tuple(PairTexts.model_validate(pair) for pair in data.load("contrasts.toml")["pairs"])


@cache
def shipped_contrasts() -> Mapping[str, tuple[PairTexts, ...]]:
    """Return the contrasts that ship, by the word of their concept."""
    return {
        word: tuple(PairTexts.model_validate(pair) for pair in pairs)
        for word, pairs in data.load("contrasts.toml")["contrasts"].items()
    }


@cache
def shipped_texts(name: str) -> tuple[str, ...]:
    """Return ``templates`` of the mean difference, or ``beginnings`` of replies."""
    return tuple(data.load("contrasts.toml")[name])
