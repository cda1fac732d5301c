"""Concepts to inject, the words that count as naming them, and the word lists they are measured against.

The lists themselves are data (``mlxintro/data/concepts.toml`` and ``baselines.toml``), each with its source. Any other
word can be a concept too; it then belongs to the category ``custom``. Nothing here knows of models or vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, cached_property
from typing import Any

from mlxintro import data as packaged
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.spelling import comparable, composed, nearest

CONTRAST = "contrast"
"""Category of concepts that are contrasts of prompts rather than words."""

CUSTOM = "custom"
"""Category of words that are not in the library."""

_ANSWERS = """
yes no none nothing something anything maybe true false not thought thoughts word words concept concepts idea injected
injection inject detect trial experiment model assistant
"""
ANSWER_WORDS = frozenset(_ANSWERS.split())
"""Words of which replies to a trial question are made, whatever is injected."""

_LONGEST = 80
"""Characters of a concept: a name or a short phrase, not a text."""


@dataclass(frozen=True, slots=True)
class Concept:
    word: str
    """Word as it is put into the extraction template, before the recipe's rule about case."""
    category: str
    related: tuple[str, ...] = ()
    """Inflections, near synonyms and unmistakable names that count as naming the concept."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "word", composed(self.word))
        object.__setattr__(self, "related", tuple(map(composed, self.related)))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the word and everything that counts as it."""
        return (self.word, *self.related)


@dataclass(frozen=True, slots=True)
class WordList:
    name: str
    source: str
    words: tuple[str, ...]
    """Words in the order of the source; a word may stand twice where it does there."""

    def without(self, target: str) -> tuple[str, ...]:
        """Return the words that are not the target under another case or number.

        Raises:
            UsageError: nothing is left.
        """
        words = tuple(word for word in self.words if not same_word(word, target))
        if not words:
            raise UsageError(f"the baseline {self.name} holds nothing but {target!r}: choose another baseline")
        return words


@dataclass(frozen=True, eq=False)
class Library:
    """Finds concepts by word, category and set: those that ship, or those with a person's own before them.

    Compared and hashed by identity, since there is one of each content. Looking a word up takes as long in a long list
    as in a short one: grading does it for every trial.
    """

    concepts: tuple[Concept, ...]
    sets: Mapping[str, WordList]
    """Lists of concepts by name. Every category is one as well."""
    baselines: Mapping[str, WordList]
    contrasts: tuple[Concept, ...] = ()
    """Ways of speaking and situations that have pairs of prompts of their own; no category to compare words from."""

    @cached_property
    def _by_category(self) -> Mapping[str, tuple[Concept, ...]]:
        found: dict[str, list[Concept]] = {}
        for concept in self.concepts:
            found.setdefault(concept.category, []).append(concept)
        return {category: tuple(members) for category, members in found.items()}

    @cached_property
    def _by_word(self) -> Mapping[str, Concept]:
        found: dict[str, Concept] = {}
        for concept in (*self.concepts, *self.contrasts):
            found.setdefault(comparable(concept.word), concept)
        return found

    @cached_property
    def _by_number(self) -> Mapping[str, Sequence[int]]:
        """Places in ``concepts`` by every form that a word or its plural may have."""
        found: dict[str, list[int]] = {}
        for place, concept in enumerate(self.concepts):
            for form in (comparable(concept.word), *plurals(concept.word)):
                found.setdefault(form, []).append(place)
        return found

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self._by_category)

    def find(self, word: str) -> Concept | None:
        """Return the concept of that word. Case does not matter.

        Another number keeps its own spelling (ocean, oceans).
        """
        wanted = comparable(word.strip())
        if (known := self._by_word.get(wanted)) is not None:
            return known
        near = [place for form in (wanted, *plurals(wanted)) for place in self._by_number.get(form, ())]
        for concept in (self.concepts[place] for place in sorted(near)):
            if same_word(concept.word, wanted):
                spelling = word.strip() if concept.word != concept.word.lower() else word.strip().lower()
                related = (concept.word, *(name for name in concept.related if comparable(name) != wanted))
                return replace(concept, word=spelling, related=related)
        return None

    def concept(self, word: str) -> Concept:
        """Return the concept of a word, known or not.

        Raises:
            UsageError: it is no word.
        """
        return self.find(word) or custom(word)

    def related(self, word: str | None) -> tuple[str, ...]:
        """Return the near names of a concept that count as naming it; none of a word that is not known."""
        known = self.find(word) if word else None
        return known.related if known else ()

    def category(self, word: str) -> str:
        """Return the category of a word; ``custom`` where it is not known."""
        known = self.find(word)
        return known.category if known else CUSTOM

    def resolve(self, names: Sequence[str], allow_unknown: bool) -> list[Concept]:
        """Return the concepts by word, ``set:NAME`` or ``category:NAME``, each once, in the order they are named.

        Args:
            allow_unknown: take a word that is not in the library for a concept of the category ``custom``.

        Raises:
            UsageError: an unknown name, with close matches.
        """
        found: dict[str, Concept] = {}
        for name in names:
            for concept in self._named(name, allow_unknown):
                found.setdefault(comparable(concept.word), concept)
        return list(found.values())

    def baseline(self, name: str) -> WordList:
        """Return a baseline word list.

        Raises:
            UsageError: there is no such list.
        """
        return _one_of(self.baselines, name, "baseline")

    def _named(self, name: str, allow_unknown: bool) -> Iterator[Concept]:
        kind, colon, rest = name.partition(":")
        if colon and kind == "category" and rest == CONTRAST:
            yield from self.contrasts
        elif colon and kind == "category":
            if rest not in self._by_category:
                raise UsageError(
                    f"no category called {rest!r}{nearest(rest, self.categories)}: choose one of "
                    f"{', '.join(self.categories)}",
                    setting="concepts",
                )
            yield from self._by_category[rest]
        elif colon and kind == "set":
            for word in _one_of(self.sets, rest, "set of concepts").words:
                yield self.concept(word)
        else:
            concept = self.find(name)
            if concept is None and not allow_unknown:
                raise UsageError(self._unknown(name), setting="concepts")
            yield concept or custom(name)

    def _unknown(self, name: str) -> str:
        meant = {comparable(alias): concept.word for concept in self.concepts for alias in concept.names}
        meant |= {key: f"set:{key}" for key in self.sets}
        close = get_close_matches(comparable(name.strip()), meant, n=3, cutoff=0.75)
        hint = " or ".join(repr(word) for word in dict.fromkeys(meant[match] for match in close))
        advice = f"did you mean {hint}? Any word works with --any-word" if hint else "any word works with --any-word"
        return f"no concept called {name!r}: {advice}"


def custom(word: str) -> Concept:
    """Return any word as a concept.

    Raises:
        UsageError: it is empty, or not a word or short phrase.
    """
    word = composed(word.strip())
    if not word or len(word) > _LONGEST or not word.isprintable():
        raise UsageError(
            f"{word[:_LONGEST]!r} is no concept: give a word or a short phrase of up to {_LONGEST} letters",
            setting="concepts",
        )
    return Concept(word, CUSTOM, tuple(sorted(plurals(word))))


def answer_words(concepts: Iterable[Concept]) -> list[str]:
    """Return names of concepts that stand in replies whatever is injected, each once."""
    names = (name for concept in concepts for name in concept.names)
    return list(dict.fromkeys(name for name in names if comparable(name) in ANSWER_WORDS))


def same_word(a: str, b: str) -> bool:
    """Tell whether two words are equal but for case and simple English plurals (Butterfly, butterflies)."""
    a, b = comparable(a.strip()), comparable(b.strip())
    return a == b or a in plurals(b) or b in plurals(a)


def plurals(word: str) -> frozenset[str]:
    """Return what a plural of an English noun may look like; irregular ones (mouse, child) are not known."""
    word = comparable(word.strip())
    if not word:
        return frozenset()
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return frozenset({word + "es"})
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return frozenset({word[:-1] + "ies"})
    if word.endswith("f"):
        return frozenset({word + "s", word[:-1] + "ves"})
    if word.endswith("fe"):
        return frozenset({word + "s", word[:-2] + "ves"})
    if word.endswith("o"):
        return frozenset({word + "s", word + "es"})
    return frozenset({word + "s"})


@cache
def library() -> Library:
    """Return the library that ships."""
    data = packaged.load("concepts.toml")
    concepts = tuple(
        Concept(word, category, tuple(related))
        for category, words in data["concepts"].items()
        for word, related in words.items()
    )
    sets = _word_lists(data["sets"])
    for category in data["concepts"]:
        words = tuple(concept.word for concept in concepts if concept.category == category)
        sets[category] = WordList(category, f"mlxintro's concepts of the category {category}.", words)
    contrasts = tuple(Concept(word, CONTRAST, tuple(related)) for word, related in data["contrasts"].items())
    return Library(concepts, sets, _word_lists(packaged.load("baselines.toml")), contrasts)


def _word_lists(tables: Mapping[str, Any]) -> dict[str, WordList]:
    return {name: WordList(name, table["source"], tuple(table["words"])) for name, table in tables.items()}


def _one_of(lists: Mapping[str, WordList], name: str, what: str) -> WordList:
    if name not in lists:
        raise UsageError(
            f"no {what} called {name!r}{nearest(name, lists)}: choose one of {', '.join(lists)}", setting="concepts"
        )
    return lists[name]
