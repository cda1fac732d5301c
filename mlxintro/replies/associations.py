"""Close associations of a concept: looser than its near names, for identification by the rules grader only."""

from __future__ import annotations

from functools import cache

from mlxintro import data
from mlxintro.protocol.concepts import library, same_word
from mlxintro.protocol.spelling import comparable


@cache
def associations(concept: str) -> tuple[str, ...]:
    """Return the words that tell a reader what a claimed thought was about, though they do not name the concept.

    A word that is not listed borrows from the first entry it is a near name of (sea from ocean): that entry's name, its
    near names and its associations. Empty for a word nothing is known of.
    """
    table = _table()
    for word, related in table.items():
        if same_word(word, concept):
            return related
    wanted = comparable(concept.strip())
    for known in library().concepts:
        if wanted in (comparable(name) for name in known.related):
            return (known.word, *known.related, *table.get(comparable(known.word), ()))
    return ()


@cache
def _table() -> dict[str, tuple[str, ...]]:
    groups = data.load("associations.toml")
    return {comparable(word): tuple(words) for group in groups.values() for word, words in group.items()}
