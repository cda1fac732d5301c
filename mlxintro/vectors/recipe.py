"""Recipes of concept vectors: everything a vector depends on, as data.

Nothing here runs a model. A preset says how vectors are extracted (``ExtractionSettings``). With a word and a model
that becomes an ``ExtractionRecipe``, whose hash names the vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator

from mlxintro.backends.base import Message, ModelInfo, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.bounds import Data
from mlxintro.protocol.concepts import library
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.spelling import composed
from mlxintro.protocol.trials import model_key
from mlxintro.protocol.windows import span, token_at

LetterCase = Literal["lower", "as-is", "title"]
Read = Literal["last-template-token", "word", "mean"]
"""Where the activation is taken: the last token of the rendered prompt; the last token of the word itself; the mean
over the tokens of what the user says."""


def _holds_word(template: str) -> str:
    if template.count("{word}") != 1:
        raise ValueError(f"the template {template!r} must hold {{word}} exactly once")
    return template


def _known_list(name: str) -> str:
    try:
        return library().baseline(name).name
    except UsageError as error:
        raise ValueError(str(error)) from None


class ExtractionSettings(Data):
    """How a preset has concept vectors extracted."""

    template: Annotated[str, AfterValidator(_holds_word)]
    case: LetterCase
    read: Read
    baseline: Annotated[str, AfterValidator(_known_list)]
    """Name of a word list; see ``mlxintro.concepts``."""


@dataclass(frozen=True, slots=True)
class ExtractionRecipe:
    """Everything a vector depends on; its hash names the vector."""

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
    method: Literal["word-minus-baseline"] = "word-minus-baseline"

    def __post_init__(self) -> None:
        if self.template.count("{word}") != 1:
            raise UsageError(f"the extraction template {self.template!r} must hold {{word}} exactly once")
        if self.case not in get_args(LetterCase):
            raise UsageError(f"no case called {self.case!r}: choose one of {', '.join(get_args(LetterCase))}")
        if self.read not in get_args(Read):
            raise UsageError(f"no read position called {self.read!r}: choose one of {', '.join(get_args(Read))}")
        if not self.word.strip() or not self.baseline_words:
            raise UsageError(f"a vector of {self.word!r} needs a word, and other words to compare it with")

    @property
    def key(self) -> str:
        return tagged_hash(self)

    @property
    def baseline_key(self) -> str:
        """Names the baseline's mean, which many vectors share."""
        return tagged_hash(["baseline-mean", self.model, self.template, self.case, self.read, self.baseline_words])

    def reading(self, word: str) -> PromptReading:
        return PromptReading(self.template, self.read, cased(word, self.case))


@dataclass(frozen=True, slots=True)
class PromptReading:
    """One activation to take; recipes that share a reading share a forward pass."""

    template: str
    read: Read
    word: str

    def place(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of the prompt, and the positions to read, counted from its end."""
        text = self.template.replace("{word}", self.word)
        said = text.strip()
        message: Message = {"role": "user", "content": said}
        rendered = tokenizer.render([message])
        length = len(rendered.tokens)
        if self.read == "last-template-token":
            return rendered.tokens, (-1,)
        start, stop = span(rendered, said)
        if self.read == "mean":
            return rendered.tokens, tuple(range(start - length, stop - length))
        # The word is looked for inside what the user says: a chat template may well hold the same letters.
        begin = self.template.index("{word}") - (len(text) - len(text.lstrip()))
        last = token_at(rendered, rendered.text.rfind(said) + begin + len(self.word) - 1)
        return rendered.tokens, (last - length,)


def cased(word: str, case: LetterCase) -> str:
    """A word as it stands in the prompt; ``title`` raises the first letter of each part of a name."""
    word = word.strip()
    match case:
        case "lower":
            return word.lower()
        case "title":
            return " ".join(part[:1].upper() + part[1:] for part in word.split(" "))
        case "as-is":
            return word


def recipe_for(extraction: ExtractionSettings, word: str, info: ModelInfo) -> ExtractionRecipe:
    """The recipe of a word as a preset extracts it, the word itself left out of the baseline."""
    baseline = library().baseline(extraction.baseline)
    return ExtractionRecipe(
        word=composed(word.strip()),
        model=model_key(info),
        baseline=baseline.name,
        baseline_words=baseline.without(word),
        template=extraction.template,
        case=extraction.case,
        read=extraction.read,
    )
