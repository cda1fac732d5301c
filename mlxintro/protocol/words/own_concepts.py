"""Concepts of a person's own: words with near names and categories from a file, stored with each run that takes them.

A file has the form of the list that ships (``mlxintro/data/concepts.toml``): a table ``[concepts.CATEGORY]`` of words,
each with the names that count as naming it, and ``[sets.NAME]`` with ``words``. What a file says is stored in the study
of a run, so that grading, resuming and reporting read the run and never the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from mlxintro.backends.errors import UsageError, reason_of
from mlxintro.protocol.bounds import Data
from mlxintro.protocol.concepts import CONTRAST, CUSTOM, Concept, Library, WordList, custom, library, plurals
from mlxintro.protocol.hashing import canonical_json
from mlxintro.protocol.spelling import comparable
from mlxintro.protocol.toml_text import line_of, parsed, text_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def _label(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.50} is no name: use letters, digits and hyphens, 40 at most")
    return name


def _word(word: str) -> str:
    if "," in word or ":" in word:
        raise ValueError(f"{word!r:.50} holds a comma or a colon, so --concepts could not name it")
    return _near_name(word)


def _near_name(word: str) -> str:
    try:
        return custom(word).word
    except UsageError as error:
        raise ValueError(str(error)) from None


def _with_names(words: Any) -> Any:
    """Take a plain list of words for words without near names."""
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return dict.fromkeys(words, ())
    return words


def _words_of(table: Any) -> Any:
    """Take a set's words out of its table; what it is from is for readers of the file."""
    if isinstance(table, Mapping) and set(table) <= {"words", "source"} and "words" in table:
        return table["words"]
    return table


GroupName = Annotated[str, AfterValidator(_label)]
OwnWord = Annotated[str, AfterValidator(_word)]
NearName = Annotated[str, AfterValidator(_near_name)]
NearNames = Annotated[dict[OwnWord, tuple[NearName, ...]], BeforeValidator(_with_names), Field(min_length=1)]
SetWords = Annotated[tuple[OwnWord, ...], BeforeValidator(_words_of), Field(min_length=1)]


class _EntryError(ValueError):
    """Says what is wrong with an entry of a file, and which one it is."""

    def __init__(self, entry: str, message: str) -> None:
        super().__init__(message)
        self.entry = entry


class OwnConcepts(Data):
    """Holds a person's own concepts and sets."""

    concepts: dict[GroupName, NearNames] = Field(default_factory=dict)
    """Category -> word -> near names that count as naming it; plurals need not be among them.

    In which order they stand means nothing: a stored study does not keep it.
    """
    sets: dict[GroupName, SetWords] = Field(default_factory=dict)
    """Name -> words, of these concepts or of the list that ships."""

    @model_validator(mode="after")
    def _agree(self) -> OwnConcepts:
        """Refuse what could be meant in two ways."""
        known: dict[str, tuple[str, str]] = {}
        for category, words in self.concepts.items():
            if category in (CONTRAST, CUSTOM):
                raise _EntryError(
                    category, f"[concepts.{category}]: this category has a meaning already: choose another name"
                )
            for word in words:
                first, spelling = known.setdefault(comparable(word), (category, word))
                if (first, spelling) != (category, word):
                    also = f"as {spelling}" if first == category else f"under {first}"
                    raise _EntryError(word, f"{word}: it is there twice (also {also}): leave one out")
        shipped = library()
        for name, members in self.sets.items():
            if name in shipped.sets or name in self.concepts:
                raise _EntryError(name, f"[sets.{name}]: there is a set or category of this name: choose another")
            for word in members:
                if comparable(word) not in known and shipped.find(word) is None:
                    raise _EntryError(name, f"[sets.{name}]: {word!r} is no concept: add it under [concepts.CATEGORY]")
        return self

    def joined(self, other: OwnConcepts) -> OwnConcepts:
        """Return these concepts and another file's together.

        Raises:
            ValidationError: a word has another category there.
            UsageError: a word or a set is in both.
        """
        concepts = {category: dict(words) for category, words in self.concepts.items()}
        for category, words in other.concepts.items():
            mine = concepts.setdefault(category, {})
            known = {comparable(word) for word in mine}
            if twice := [word for word in words if comparable(word) in known]:
                raise UsageError(f"{twice[0]!r} is in two of the files: leave one out", setting="concept_file")
            mine |= words
        if both := self.sets.keys() & other.sets.keys():
            raise UsageError(f"the set {min(both)!r} is in two of the files: leave one out", setting="concept_file")
        return OwnConcepts(concepts=concepts, sets={**self.sets, **other.sets})


def read_concept_files(paths: Sequence[Path]) -> OwnConcepts | None:
    """Read files of concepts; ``None`` where there are none.

    Raises:
        UsageError: one line that names the file, the line and the key.
    """
    found: OwnConcepts | None = None
    for path in paths:
        one = _read(path)
        if found is None:
            found = one
            continue
        try:
            found = found.joined(one)
        except (UsageError, ValidationError) as error:
            said = reason_of(error.errors()[0]) if isinstance(error, ValidationError) else error
            raise UsageError(f"{path}: {said}", setting="concept_file") from None
    return found


def with_concept_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with what their files of concepts say in the files' place.

    Args:
        settings: ``concept_file`` is a path or several, or is not there.

    Raises:
        UsageError: see ``read_concept_files``.
    """
    rest = dict(settings)
    given = rest.pop("concept_file", None) or ()
    paths = [given] if isinstance(given, str | Path) else given
    own = read_concept_files([Path(path) for path in paths])
    return rest if own is None else {**rest, "own_concepts": own}


def check_same_concepts(name: str, study: Mapping[str, Any], now: OwnConcepts | None) -> None:
    """Refuse to go on with other concepts than a run was begun with.

    Args:
        name: of the run.
        study: of the run, as it is stored.
        now: what the file says that is given now.

    Raises:
        UsageError: naming the first concept that differs.
    """
    stored = study.get("own_concepts")
    then = None if stored is None else OwnConcepts.model_validate(stored)
    if then != now:
        raise UsageError(
            f"{name} was begun with other concepts ({_difference(then, now)} differs): leave the file out to go on "
            "with those that are stored with it, or start a new run",
            setting="concept_file",
        )


def _difference(one: OwnConcepts | None, two: OwnConcepts | None) -> str:
    first, second = (_entries(own) for own in (one, two))
    return next((key for key in (*first, *second) if first.get(key) != second.get(key)), "the order")


def _entries(own: OwnConcepts | None) -> dict[str, object]:
    """Every concept and set by a name for people."""
    if own is None:
        return {}
    words = {word: (category, names) for category, table in own.concepts.items() for word, names in table.items()}
    return {**words, **{f"set:{name}": members for name, members in own.sets.items()}}


def _read(path: Path) -> OwnConcepts:
    text = text_of(path)
    data = parsed(text, str(path))
    for key in data:
        if key not in OwnConcepts.model_fields:
            raise UsageError(
                f"{_place(path, text, key)}there is no table [{key}]: a file of concepts has [concepts.CATEGORY] and "
                "[sets.NAME]",
                setting="concept_file",
            )
    if not data:
        raise UsageError(f'{path} holds no concepts: write [concepts.CATEGORY] and word = ["near name"] below it')
    try:
        return OwnConcepts.model_validate(data)
    except ValidationError as error:
        raise UsageError(_said(path, text, error), setting="concept_file") from None


_FORMS = {
    "concepts": 'write [concepts.CATEGORY] with word = ["near name", "..."] below it',
    "sets": 'write [sets.NAME] with words = ["...", "..."] below it',
}


def _said(path: Path, text: str, error: ValidationError) -> str:
    """Say what is wrong first, at the line of the innermost key that stands in the file."""
    first = error.errors(include_url=False)[0]
    keys = [part for part in first["loc"] if isinstance(part, str) and part != "[key]"]
    what = reason_of(first)
    raised = first.get("ctx", {}).get("error")
    inner = keys[-1] if keys else raised.entry if isinstance(raised, _EntryError) else ""
    if first["type"] in ("dict_type", "tuple_type", "string_type"):
        what = f'write {keys[-1]} = ["...", "..."]' if len(keys) > 2 else _FORMS[keys[0]]
    elif first["type"] == "too_short":
        what = "it holds no words: add one, or leave it out"
    where = ".".join(keys)
    return f"{_place(path, text, inner)}{f'{where}: ' if where else ''}{what}"


def _place(path: Path, text: str, key: str) -> str:
    line = line_of(text, key)
    return f"{path}:{line}: " if line else f"{path}: "


def library_with(own: OwnConcepts | None) -> Library:
    """Return the list that ships with a person's own concepts before it, those in the order of the alphabet.

    A word of one's own goes before the shipped concept of that word. A category that both have holds the words of both.
    """
    return library() if own is None else _made(canonical_json(own.model_dump(mode="json")))


def library_of(study: Mapping[str, Any]) -> Library:
    """Return the concepts that a stored study knows.

    Args:
        study: as plain data; one that names no concepts of its own knows those that ship.

    Raises:
        UsageError: what it holds as its own concepts cannot be read.
    """
    own = study.get("own_concepts")
    if own is None:
        return library()
    try:
        return library_with(OwnConcepts.model_validate(own))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"the run's own concepts cannot be read ({reason_of(first)}): import it anew") from None


@lru_cache(maxsize=32)
def _made(text: str) -> Library:
    own = OwnConcepts.model_validate_json(text)
    mine = tuple(_concepts(own))
    known = {comparable(concept.word) for concept in mine}
    shipped = library()
    every = (*mine, *(concept for concept in shipped.concepts if comparable(concept.word) not in known))
    words: dict[str, list[str]] = {category: [] for category in own.concepts}
    for concept in every:
        if concept.category in words:
            words[concept.category].append(concept.word)
    sets = dict(shipped.sets)
    for category, members in words.items():
        sets[category] = WordList(category, f"Concepts of the category {category}.", tuple(members))
    sets |= {name: WordList(name, "A set of one's own.", words) for name, words in own.sets.items()}
    return Library(every, sets, shipped.baselines, shipped.contrasts)


def _concepts(own: OwnConcepts) -> Iterator[Concept]:
    for category, words in own.concepts.items():
        for word, names in words.items():
            # A plural of one is none: a name that ends in s may be one already.
            many = (form for name in (word, *names) if not name.endswith("s") for form in sorted(plurals(name)))
            related = (name for name in dict.fromkeys((*names, *many)) if comparable(name) != comparable(word))
            yield Concept(word, category, tuple(related))
