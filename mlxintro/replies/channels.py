"""A reply's thought and its answer, told apart by the marks and channels in its text.

Replies of runs with ``--thinking on`` are told apart by their tokens, when they are made (``backends.thinking``). Here
are replies of every other origin: made by other programs, or by a model that thought although it was asked not to. The
mark that opens a thought may be missing, since many templates write it into the prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlxintro.backends.thinking.marks import MARK_PAIRS
from mlxintro.replies.text import Piece, trim_invented_turns

_OPENING = frozenset(opening.lower() for opening, _ in MARK_PAIRS)
_ALL_MARKS = [mark for pair in MARK_PAIRS for mark in pair]
# A mark in quotes or in code is spoken of, not used.
_MARK = re.compile(
    rf"(?<![`\"'“‘])(?:{'|'.join(map(re.escape, sorted(_ALL_MARKS, key=len, reverse=True)))})", re.IGNORECASE
)

# What gpt-oss writes before each part of a reply, and what ends the part.
_CHANNEL = re.compile(r"(?:<\|start\|>assistant[^<]*)?<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>.*", re.DOTALL)
# The same after a decoder has dropped special tokens: "analysisWe need to ... assistantfinalYes."
_GLUED = re.compile(r"(?:\A\s*|assistant)(analysis|commentary|final)(?=[^\sa-z])|assistant(final)(?=\S)")
_GLUED_REPLY = re.compile(r"\A\s*analysis(?=[A-Z\"'“(*])|assistantfinal(?=\S)")


@dataclass(frozen=True, slots=True)
class ReplyChannels:
    """Holds the parts of one reply. Every offset is one into the reply."""

    thoughts: tuple[Piece, ...]
    """Thoughts in their order."""
    answer: str
    """Text of the answer, as long as the reply: spaces stand in the place of thoughts and marks."""
    begin: int
    """Offset where the answer begins."""
    finished: bool
    """False where the reply ends inside a thought, so that its answer is not known."""


def split_channels(reply: str) -> ReplyChannels:
    """Tell thought and answer of a reply apart.

    A closing mark without an opening one ends a thought that began in the prompt. A reply without any mark is all
    answer.
    """
    if "<|channel|>" in reply:
        return _by_channel(reply, [(m.start(), m.end(), m.group(1)) for m in _CHANNEL.finditer(reply)])
    if _GLUED_REPLY.search(reply):
        return _by_channel(reply, [(m.start(), m.end(), m.group(1) or m.group(2)) for m in _GLUED.finditer(reply)])
    return _by_marks(reply)


def answer_text(reply: str) -> str:
    """Return what a grader reads as the answer: thoughts blanked, further turns that the model invented cut off.

    Offsets into it are offsets into the reply. A reply that ends inside its thought has no answer: only spaces.
    """
    parts = split_channels(reply)
    if not parts.finished:
        return " " * len(reply)
    return " " * parts.begin + trim_invented_turns(parts.answer[parts.begin :])


def _by_marks(reply: str) -> ReplyChannels:
    """Tell parts apart by pairs of marks."""
    hidden: list[tuple[int, int, int, int]] = []
    """Blocks: where the opening mark starts, where the thought starts and stops, where the closing mark ends."""
    outside, opened = 0, None
    for mark in _MARK.finditer(reply):
        opens = mark.group().lower() in _OPENING
        if opened is None and opens:
            opened = mark
        elif opened is not None and not opens and _belong(opened.group(), mark.group()):
            hidden.append((opened.start(), opened.end(), mark.start(), mark.end()))
            outside, opened = mark.end(), None
        elif opened is None and not opens:
            hidden.append((outside, outside, mark.start(), mark.end()))
            outside = mark.end()
    if opened is not None:
        hidden.append((opened.start(), opened.end(), len(reply), len(reply)))
    return _assembled(reply, hidden, finished=opened is None)


def _belong(opening: str, closing: str) -> bool:
    """Tell whether two marks are a pair."""
    return any(one.lower() == opening.lower() and other.lower() == closing.lower() for one, other in MARK_PAIRS)


def _by_channel(reply: str, headers: list[tuple[int, int, str]]) -> ReplyChannels:
    """Tell parts apart by the channel that each is written in; only ``final`` is the answer.

    Args:
        headers: where each header starts and ends, and the channel it names.
    """
    hidden: list[tuple[int, int, int, int]] = []
    if not headers:  # cut off in the middle of the first header
        return ReplyChannels((), " " * len(reply), len(reply), False)
    # What stands before the first header was begun in the prompt.
    starts = [start for start, _, _ in headers[1:]] + [len(reply)]
    hidden.append((0, 0, _stop(reply, 0, headers[0][0]), headers[0][1]))
    for (start, end, channel), following in zip(headers, starts, strict=True):
        stop = _stop(reply, end, following)
        if channel == "final":
            hidden += [(start, end, end, end), (stop, following, following, following)]
        else:
            hidden.append((start, end, stop, following))
    return _assembled(reply, hidden, finished=any(channel == "final" for _, _, channel in headers))


def _stop(reply: str, start: int, limit: int) -> int:
    """Return where a part ends: at the mark that ends a message, or at the next header."""
    found = _CHANNEL_END.search(reply, start, limit)
    return found.start() if found else limit


def _assembled(reply: str, hidden: list[tuple[int, int, int, int]], *, finished: bool) -> ReplyChannels:
    characters = list(reply)
    thoughts = []
    for start, first, stop, end in hidden:
        characters[start:end] = " " * (end - start)
        if reply[first:stop].strip():
            thoughts.append(Piece(reply[first:stop], first))
    answer = "".join(characters)
    begin = 0
    for start, _, _, end in sorted(hidden):
        if not answer[:start].strip():
            begin = max(begin, end)
    return ReplyChannels(tuple(thoughts), answer, begin, finished)
