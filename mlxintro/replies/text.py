"""Plain text tools for grading: normalisation that keeps offsets, invented turns, sentences, clauses, repetition.

No language model and no dictionary. Every function keeps character offsets, so that evidence can be highlighted in
the reply as the model wrote it.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mlxintro.protocol.spelling import composed

_ONE_TO_ONE = str.maketrans(
    "’‘‛ʼ`´“”„«»–—−‐‑\u00a0\u202f\t",
    "''''''" + '"""""' + "-----" + "   ",
)

_TURN = re.compile(
    r"<\|(?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id|end|user|assistant|system)\|>"
    r"|</?s>|<(?:start|end)_of_turn>|\[/?INST\]"
    r"|\n[ \t]*(?:\*\*)?(?:human|user|researcher|interviewer|experimenter|scientist|subject|participant|student"
    r"|assistant|system|model"
    r"|ai)(?:\*\*)?[ \t]*:"
    r"|\n[ \t]*(?:user|model|assistant|human)[ \t]*\n"
    r"|\n(?:[^\S\n]|[*#_])*trial[ \t]+\d+[ \t]*:",
    re.IGNORECASE,
)
# "Trial 1: Yes, I do" behind a preamble is the reply's own heading, not a further turn; the question repeated is one.
_OWN_HEADING = re.compile(
    r"\n(?:[^\S\n]|[*#_])*trial[ \t]+1[ \t]*:(?![\s*_]*(?:do|did|can|have|is|are)\b)", re.IGNORECASE
)
_ANSWERED = re.compile(r"\b(?:yes|no|not|n't|detect|notice|sense|nothing)\b|\btrial[ \t]+\d", re.IGNORECASE)

_SENTENCE_END = re.compile(r"[.!?]+[\"')\]*_]*(?=\s|$)|\.{2,}|…|\n+|(?<=[a-z])[.!?](?=[A-Z])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|mr|mrs|ms|dr|st|no|approx)|(?:^|[\s\n])\(?\d{1,2})\.$", re.IGNORECASE
)

# A negation does not reach into the next clause: "not sure what, but I do notice", "no, I detect".
_CLAUSE_BREAK = re.compile(
    r";|:\s|\s-+\s|\(|\)"
    r"|,?\s(?:but|however|although|though|yet|while|whereas|except|because)\b,?"
    r"|,\s(?=(?:so|and|then)\b)|\s(?=and\s(?:i|it|there|my|the)\b)"
    r"|,\s(?=(?:i|i'm|i've|it|it's|there|there's|my|yes|no|nothing|just|only|which|as)\b)"
)

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


@dataclass(frozen=True, slots=True)
class Piece:
    """Marks a sentence or a clause: lower-case text and where it starts in the reply."""

    text: str
    start: int

    @property
    def stop(self) -> int:
        return self.start + len(self.text)


def word_set(text: str) -> frozenset[str]:
    """Return a list of words written as one string."""
    return frozenset(text.split())


def fold(text: str) -> str:
    """Put a text in lower case, with straight quotes and dashes.

    The length of a text that is composed (``spelling.composed``) is kept, so that offsets into it stay valid.
    """
    text = composed(text).translate(_ONE_TO_ONE)
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def trim_invented_turns(reply: str) -> str:
    """Cut the reply where the model starts to write further turns, its own or somebody else's."""
    lead = len(reply) - len(reply.lstrip())
    found = _TURN.search(reply, lead)
    while found and (not reply[: found.start()].strip() or _opens_the_answer(reply, found)):
        # A turn label in front of the answer ("Assistant: Yes ...") opens the reply rather than ending it.
        found = _TURN.search(reply, found.end())
    return reply[: found.start()] if found else reply


def _opens_the_answer(reply: str, label: re.Match[str]) -> bool:
    """Whether a label is the reply's own heading of trial 1, after a preamble that answers nothing."""
    if not _OWN_HEADING.match(reply, label.start()) or label.start() > _PREAMBLE:
        return False
    return not _ANSWERED.search(reply[: label.start()])


_PREAMBLE = 400
"""Characters of lead-in behind which a heading is no longer taken for the reply's own."""


def sentences(text: str, *, offset: int = 0) -> list[Piece]:
    """Split folded text at sentence ends and line breaks; enumerators such as ``1.`` do not end a sentence."""
    pieces: list[Piece] = []
    begin = 0
    for end in _SENTENCE_END.finditer(text):
        if end.group().startswith(".") and _ABBREVIATION.search(text[max(begin, end.start() - 8) : end.start() + 1]):
            continue
        _append(pieces, text, begin, end.end(), offset)
        begin = end.end()
    _append(pieces, text, begin, len(text), offset)
    return pieces


def _append(pieces: list[Piece], text: str, begin: int, end: int, offset: int) -> None:
    raw = text[begin:end]
    stripped = raw.strip()
    if stripped:
        pieces.append(Piece(stripped, offset + begin + len(raw) - len(raw.lstrip())))


def clauses(sentence: Piece) -> Iterator[Piece]:
    """Split a sentence where a negation stops reaching."""
    begin = 0
    for mark in _CLAUSE_BREAK.finditer(sentence.text):
        if mark.start() > begin:
            yield Piece(sentence.text[begin : mark.start()], sentence.start + begin)
        begin = mark.end()
    if begin < len(sentence.text):
        yield Piece(sentence.text[begin:], sentence.start + begin)


def words(folded: str) -> list[str]:
    return _WORD.findall(folded)


def word_starts(folded: str) -> list[int]:
    """Return where each of a text's ``words`` starts."""
    return [match.start() for match in _WORD.finditer(folded)]


def longest_run(items: Sequence[str]) -> int:
    """Return the length of the longest stretch of one and the same item."""
    best = run = 1 if items else 0
    for before, after in pairwise(items):
        run = run + 1 if before == after else 1
        best = max(best, run)
    return best


def repeated_share(items: Sequence[str], n: int) -> float:
    """Return the share of n-grams that have occurred before, 0 to 1; 0 when there are fewer than two n-grams."""
    grams = Counter(zip(*(items[i:] for i in range(n)), strict=False))
    total = sum(grams.values())
    return 1 - len(grams) / total if total > 1 else 0.0


def compression_ratio(text: str) -> float:
    """Return compressed size over size in bytes (zlib level 6).

    It is near 0.55 for 400 characters of prose, and below 0.3 for loops.
    """
    raw = text.encode("utf-8", "surrogatepass")
    return len(zlib.compress(raw, 6)) / len(raw) if raw else 1.0
