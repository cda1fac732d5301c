"""In which way a reply fails or succeeds, and which words are named instead of the right one.

The classes are those of ``mlxintro.analysis.trial_classes``. Refusals and undecided replies are classes of their own
and never count as a no.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from mlxintro.analysis.results import Row, Table
from mlxintro.analysis.trial_classes import GRADED_CLASSES, TrialClass, graded_class
from mlxintro.protocol import concepts
from mlxintro.protocol.concepts import Library
from mlxintro.protocol.spelling import comparable
from mlxintro.replies.text import fold

_WORDS_SHOWN = 15


def table(injected: Iterable[Row], controls: Iterable[Row]) -> Table:
    """Return the counts of every class, with and without an injection."""
    with_, without = Counter[TrialClass](), Counter[TrialClass]()
    for counts, rows in ((with_, injected), (without, controls)):
        for row in rows:
            counts[graded_class(row.grade, injected=row.condition == "injected")] += row.times
    found = [(one.label, with_[one], without[one]) for one in GRADED_CLASSES if with_[one] or without[one]]
    return Table("taxonomy", "What the replies do", ("class", "injected", "uninjected"), tuple(found))


_ARTICLE = r"(?:the |a |an |some |my )?"
_OPEN = r"[\"'*_`(\[]*"
_CLAIMED = re.compile(
    r"(?:\babout|\bthought (?:is|was|of)|\bword(?: \w+){0,5}? (?:is|was)|\bconcept(?: of)?(?: (?:is|was))?"
    rf"|\brelat\w+ to|\bthinking of|\bnotion of|\bidea of|\bimage of)[:,]? "
    rf"(?:the (?:word|concept|idea) (?:of )?)?{_OPEN}{_ARTICLE}{_OPEN}([^\W\d_](?:[^\W\d_]|['-])+)"
)
# fmt: off
_EMPTY = frozenset({
    "it", "its", "this", "that", "these", "those", "what", "which", "something", "anything", "nothing",
    "everything", "someone", "you", "your", "me", "my", "our", "being", "having", "how", "why", "whether",
    "not", "injected", "thought", "thoughts", "concept", "word", "specific", "certain", "particular", "an",
    "in", "on", "of", "about", "related", "one", "here", "there", "like", "just", "more", "very", "trial",
})
# fmt: on


def claimed_words(reply: str, library: Library | None = None) -> list[str]:
    """Return what a reply says a thought is about.

    The words at the places where a thought's content is named, each once.

    Near names and inflections of a concept in the library count as that concept.

    Args:
        library: the concepts that the run knows; those that ship when ``None``.
    """
    names = _names(library or concepts.library())
    found = []
    for match in _CLAIMED.finditer(fold(reply)):
        word = match.group(1).strip("'-")
        if word not in _EMPTY:
            found.append(names.get(word, word))
    return list(dict.fromkeys(found))


def wrong_words(rows: Iterable[Row]) -> Table:
    """Return the words named by replies that claim a thought and do not name the right concept."""
    counts: Counter[str] = Counter()
    replies = 0
    for row in rows:
        if row.grade is None or row.grade.detects is not True or row.grade.identifies:
            continue
        replies += 1
        counts.update(word for word in claimed_words(row.response, row.library) if word != row.concept)
    # Equal counts by name, so that the order of the trials decides nothing.
    shown = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_WORDS_SHOWN])
    note = f"of {replies} replies that claim a thought without the right concept, uninjected ones included"
    return Table("wrong_words", "Wrong words named", ("word", "replies"), shown, note)


@lru_cache(maxsize=32)
def _names(library: Library) -> Mapping[str, str]:
    names: dict[str, str] = {}
    for concept in library.concepts:
        for name in concept.names:
            names.setdefault(comparable(name), concept.word)
    for concept in library.concepts:
        names[comparable(concept.word)] = concept.word
    return names
