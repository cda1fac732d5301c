"""What an adapter is trained on: words, wordings of the question, answers and unrelated questions.

All of it is data (``mlxintro/data/training.toml``). No word of it is a concept of the library or a near name of one, so
the whole library stays for measuring what was learnt on words the subject was not trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from mlxintro import data
from mlxintro.backends.errors import UsageError
from mlxintro.protocol import presets
from mlxintro.protocol.concepts import plurals
from mlxintro.protocol.presets import Dialogue

_FILE = "training.toml"
AskedForm = Literal["present", "absent", "third-person", "asked"]
"""What a yes-no question asks: whether a thought is there, whether none is, whether a reader of the text would think
so, and whether there is one about a certain word."""


@dataclass(frozen=True, slots=True)
class Wording:
    """Is one way to put the trial question to the subject."""

    name: str
    dialogue: Dialogue
    share: float
    """How often it is drawn in training, relative to the others; 0 for one that is held out."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Says what the subject learns to say. ``yes`` holds ``{word}``."""

    yes: str
    no: str
    right: str
    """Answer to an unrelated question whose answer is yes."""
    wrong: str
    """Answer to an unrelated question whose answer is no."""


@dataclass(frozen=True, slots=True)
class WitnessTexts:
    """Says what a witness is asked to write, what it writes, and what it is asked about that time."""

    tasks: tuple[str, ...]
    sentences: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Material:
    words: tuple[str, ...]
    more: tuple[str, ...]
    """Words for trainings on more than ``words``; none of them ever chooses when to stop."""
    wordings: tuple[Wording, ...]
    answers: Answers
    unrelated: Mapping[bool, tuple[str, ...]]
    """Unrelated questions by their right answer: true is yes."""
    forms: Mapping[AskedForm, tuple[str, ...]]
    """Yes-no questions about the trial; those of ``asked`` hold ``{word}``."""
    odd: tuple[str, ...]
    """Texts that stand before the trial question; they hold ``{word}``."""
    witness: WitnessTexts

    @property
    def trained(self) -> tuple[Wording, ...]:
        """Return the wordings that are shown in training."""
        return tuple(wording for wording in self.wordings if wording.share)

    def wording(self, name: str) -> Wording:
        """Find a wording by name.

        Raises:
            UsageError: there is no such wording.
        """
        for wording in self.wordings:
            if wording.name == name:
                return wording
        raise UsageError(f"no wording called {name!r}: choose one of {', '.join(w.name for w in self.wordings)}")


@dataclass(frozen=True, slots=True)
class WordSplit:
    """Splits words by what they are for; the library's concepts are a third group, which no training sees."""

    trained: tuple[str, ...]
    stopping: tuple[str, ...]
    """Words that choose which of the evaluated adapters is kept."""


def split_words(stuff: Material, count: int, stopping: int, seed: int) -> WordSplit:
    """Draw the words that are trained on and those for choosing when to stop.

    Raises:
        UsageError: there are not as many words.
    """
    words, more = stuff.words, stuff.more
    most = len(words) - stopping + len(more)
    if not 1 <= count <= most:
        raise UsageError(f"there are {most} words to train on: choose at most as many, not {count}")
    order = np.random.default_rng([seed, 1]).permutation(len(words))
    shuffled = tuple(words[at] for at in order)
    return WordSplit((*shuffled[stopping:], *more)[:count], shuffled[:stopping])


def in_turn(nouns: Sequence[str]) -> Iterator[str]:
    """Return every second noun in the plural.

    Baselines are mostly plurals: with singular words alone, what all vectors share would be their number, and that is
    what a subject would learn to notice.
    """
    for number, noun in enumerate(nouns):
        yield min(plurals(noun)) if number % 2 else noun


@cache
def material() -> Material:
    """Read the material that ships."""
    table = data.load(_FILE)
    unrelated = table["unrelated"]
    return Material(
        words=(*in_turn(table["words"]["words"].split()), *table["words"]["mass"].split()),
        more=tuple(in_turn(table["words"]["more"].split())),
        wordings=tuple(_wording(one) for one in table["wordings"]),
        answers=Answers(**table["answers"]),
        unrelated={
            right: tuple(f"{text} {unrelated['ending']}" for text in unrelated[name])
            for right, name in ((True, "yes"), (False, "no"))
        },
        forms={form: tuple(table["forms"][form]) for form in get_args(AskedForm)},
        odd=tuple(table["odd"]["texts"]),
        witness=WitnessTexts(**{name: tuple(texts) for name, texts in table["witness"].items()}),
    )


def digest() -> str:
    """Name the material that ships by its content, so that a training only goes on with what it was begun with."""
    return hashlib.sha256(data.text(_FILE).encode()).hexdigest()[:16]


def _wording(table: Mapping[str, Any]) -> Wording:
    if "preset" in table:
        dialogue = presets.load(table["preset"]).dialogue
        assert dialogue is not None, "a wording names a preset with a dialogue"
    else:
        dialogue = Dialogue(messages=tuple(table["messages"]), question=table["question"])
    return Wording(table["name"], dialogue, 0.0 if table.get("held_out") else table["share"])
