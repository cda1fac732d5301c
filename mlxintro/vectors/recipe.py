"""Recipes of concept vectors: everything a vector depends on, as data.

Nothing here runs a model. A recipe's hash names its vector. Each kind of recipe is a dataclass with a ``method``; all
of them say which prompts are read for the concept (``positives``) and which for what it is compared with
(``negatives``), and the vector is the difference of the means, except where a recipe says otherwise. Sources:
``docs/protocols.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from mlxintro.backends.errors import UsageError
from mlxintro.backends.thinking.marks import ThinkingMode
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.vectors.reading import LetterCase, PromptReading, Read, ReadSite, cased

Centre = Literal["pairs", "differences"]
"""What is subtracted before the principal component is taken: each pair's own midpoint, so that what all pairs share
stays in; or the mean difference, which takes that out."""


@dataclass(frozen=True, slots=True)
class PromptPair:
    """Holds two prompts that differ in the concept and, at best, in nothing else."""

    positive: str
    negative: str
    beginning: str = ""
    """Beginning of the reply to both."""


class _Hashed:
    __slots__ = ()

    @property
    def key(self) -> str:
        """Return the hash that names the vector."""
        return tagged_hash(self)


@dataclass(frozen=True, slots=True)
class _AgainstBaseline(_Hashed):
    """Holds what recipes share that read the baseline words with one prompt."""

    word: str
    model: str
    """``trials.model_key`` of the model."""
    baseline: str
    """Name of the word list, for people."""
    baseline_words: tuple[str, ...]
    """The list itself, without the target; a word that stands twice weighs twice."""
    template: str = "Tell me about {word}"
    case: LetterCase = "lower"
    read: Read = "last-template-token"
    site: ReadSite = "resid_post"
    thinking: ThinkingMode = "off"

    LATER: ClassVar[dict[str, Any]] = {"site": "resid_post", "thinking": "off"}

    def __post_init__(self) -> None:
        _check_templates((self.template,))
        _check_words(self.word, self.baseline_words)
        _check_place(self.case, self.read)

    @property
    def reference_key(self) -> str:
        """Name the baseline's mean, which many vectors share."""
        place = [self.model, self.template, self.case, self.read, self.baseline_words]
        later = [value for value, usual in ((self.site, "resid_post"), (self.thinking, "off")) if value != usual]
        return tagged_hash(["baseline-mean", *place, *later])

    def negatives(self) -> tuple[PromptReading, ...]:
        return tuple(self._reading(word) for word in self.baseline_words)

    def _reading(self, word: str) -> PromptReading:
        return PromptReading(self.template, self.read, cased(word, self.case), site=self.site, thinking=self.thinking)


@dataclass(frozen=True, slots=True)
class ExtractionRecipe(_AgainstBaseline):
    """Takes one prompt with the word, minus the mean over the same prompt with baseline words (Lindsey 2025)."""

    method: Literal["word-minus-baseline"] = "word-minus-baseline"

    def positives(self) -> tuple[PromptReading, ...]:
        return (self._reading(self.word),)


@dataclass(frozen=True, slots=True)
class ImportedVector(_AgainstBaseline):
    """Takes directions made elsewhere; baseline words are read only for the norm of the stream they are added to."""

    content: str = ""
    """``LayerDirections.content_hash``."""
    method: Literal["imported"] = "imported"

    def positives(self) -> tuple[PromptReading, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class MeanDifference(_Hashed):
    """Takes the mean over many prompts with the word, minus the mean over them with baseline words.

    What belongs to one prompt's wording averages out. Source: difference in means, Marks and Tegmark 2023.
    """

    word: str
    model: str
    baseline: str
    baseline_words: tuple[str, ...]
    templates: tuple[str, ...]
    case: LetterCase = "lower"
    read: Read = "last-template-token"
    site: ReadSite = "resid_post"
    method: Literal["mean-difference"] = "mean-difference"

    def __post_init__(self) -> None:
        _check_templates(self.templates)
        _check_words(self.word, self.baseline_words)
        _check_place(self.case, self.read)

    @property
    def reference_key(self) -> str:
        return tagged_hash(["mean", self.model, self.templates, self.case, self.read, self.site, self.baseline_words])

    def positives(self) -> tuple[PromptReading, ...]:
        return self._readings((self.word,))

    def negatives(self) -> tuple[PromptReading, ...]:
        return self._readings(self.baseline_words)

    def _readings(self, words: tuple[str, ...]) -> tuple[PromptReading, ...]:
        return tuple(
            PromptReading(template, self.read, cased(word, self.case), site=self.site)
            for word in words
            for template in self.templates
        )


@dataclass(frozen=True, slots=True)
class _FromPromptPairs(_Hashed):
    """Holds what recipes from pairs of prompts share."""

    word: str
    """Word that the pairs contrast: the concept that is right to name."""
    model: str
    pairs: tuple[PromptPair, ...]
    read: Read = "last-template-token"
    site: ReadSite = "resid_post"

    def __post_init__(self) -> None:
        _check_pairs(self.word, self.pairs, self.read)

    @property
    def reference_key(self) -> str:
        """Name the mean over the negative prompts."""
        return tagged_hash(["mean", self.model, self.negatives()])

    def positives(self) -> tuple[PromptReading, ...]:
        return tuple(PromptReading(one.positive, self.read, "", one.beginning, self.site) for one in self.pairs)

    def negatives(self) -> tuple[PromptReading, ...]:
        return tuple(PromptReading(one.negative, self.read, "", one.beginning, self.site) for one in self.pairs)


@dataclass(frozen=True, slots=True)
class ContrastPairs(_FromPromptPairs):
    """Takes the mean difference within pairs (Lindsey 2025, showcase examples; Rimsky et al. 2023)."""

    method: Literal["contrast-pairs"] = "contrast-pairs"


@dataclass(frozen=True, slots=True)
class PrincipalDirection(_FromPromptPairs):
    """Takes the first principal component of the pairs, of length 1, pointing to where positives lie.

    Source: Zou et al. 2023 (representation engineering), as repeng does it: ``pairs`` is its ``pca_center``,
    ``differences`` its ``pca_diff``.
    """

    centre: Centre = "pairs"
    method: Literal["pca"] = "pca"

    def __post_init__(self) -> None:
        _check_pairs(self.word, self.pairs, self.read)
        if self.centre not in get_args(Centre):
            raise UsageError(f"no centre called {self.centre!r}: choose one of {', '.join(get_args(Centre))}")
        if len(self.pairs) < 2:
            raise UsageError(f"a principal component of {self.word!r} takes two pairs at least: give more pairs")
        if self.centre == "differences":
            for side, texts in (("positive", self.positives()), ("negative", self.negatives())):
                if len(set(texts)) == 1:
                    raise UsageError(
                        f"the {side} prompt of {self.word!r} is the same in all pairs: centred "
                        'differences then hold everything but the concept, so use centre = "pairs", or contrast-pairs'
                    )


VectorRecipe = ExtractionRecipe | MeanDifference | ContrastPairs | PrincipalDirection | ImportedVector
"""Every kind of recipe, told apart by ``method``."""

Method = Literal["word-minus-baseline", "mean-difference", "contrast-pairs", "pca"]


def _check_templates(templates: tuple[str, ...]) -> None:
    if not templates:
        raise UsageError("there is no extraction template: give one that holds {word}")
    for template in templates:
        if template.count("{word}") != 1:
            raise UsageError(f"the extraction template {template!r} must hold {{word}} exactly once")


def _check_place(case: str, read: str) -> None:
    if case not in get_args(LetterCase):
        raise UsageError(f"no case called {case!r}: choose one of {', '.join(get_args(LetterCase))}")
    if read not in get_args(Read):
        raise UsageError(f"no read position called {read!r}: choose one of {', '.join(get_args(Read))}")


def _check_words(word: str, others: tuple[str, ...]) -> None:
    if not word.strip() or not others:
        raise UsageError(f"a vector of {word!r} needs a word, and other words to compare it with")


def _check_pairs(word: str, pairs: tuple[PromptPair, ...], read: str) -> None:
    _check_words(word, tuple(one.positive for one in pairs))
    if read == "word":
        raise UsageError('pairs of prompts have no one word to read at: use read = "last-template-token" or "mean"')
    _check_place("lower", read)
    for one in pairs:
        if not one.positive.strip() or not one.negative.strip():
            raise UsageError(f"a prompt of {word!r} is empty: write both sides of every pair")
        if one.positive == one.negative:
            raise UsageError(f"both prompts of a pair are {one.positive[:60]!r}: they must differ in the concept")
