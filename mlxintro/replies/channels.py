"""A reply's thought and its answer, told apart by the marks and channels in its text.

Replies of runs with ``--thinking on`` are told apart by their tokens, when they are made (``backends.thinking``). Here
are replies of every other origin: made by other programs, or by a model that thought although it was asked not to. The
mark that opens a thought may be missing, since many templates write it into the prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlxintro.replies.text import Piece, trim_invented_turns
from mlxintro.replies.thought_marks import blanked_headers, end_of_turn, thought_marks

# What gpt-oss writes before each part of a reply, and what ends the part.
_CHANNEL = re.compile(r"(?:<\|start\|>assistant[^<]*)?<\|channel\|>\s*(\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>.*", re.DOTALL)
# The same after a decoder has dropped special tokens: "analysisWe need to ... assistantfinalYes.", or with spaces.
_GLUED = re.compile(r"(?:\A\s*|assistant)(analysis|commentary|final)(?=[^\sa-z])|assistant(final)(?=\S)")
_GLUED_REPLY = re.compile(r"\A\s*analysis(?=[A-Z\"'“(*])|assistantfinal(?=\S)")
_SPACED = re.compile(r"(?:\A\s*|\bassistant\s?)(analysis|commentary|final)(?=\s)")
_SPACED_REPLY = re.compile(r"\bassistant\s?final\s+\S")


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
    for told, header in ((_GLUED_REPLY, _GLUED), (_SPACED_REPLY, _SPACED)):
        if told.search(reply):
            found = [(m.start(), m.end(), m.group(m.lastindex or 0)) for m in header.finditer(reply)]
            return _by_channel(reply, found)
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
    for mark in thought_marks(reply):
        if opened is None and mark.opens:
            opened = mark
        elif opened is not None and not mark.opens and opened.pair == mark.pair:
            hidden.append((opened.start, opened.stop, mark.start, mark.stop))
            outside, opened = mark.stop, None
        elif opened is None and not mark.opens:
            hidden.append((outside, outside, mark.start, mark.stop))
            outside = mark.stop
    finished = opened is None
    if opened is not None:
        # A second thought behind an answer leaves the answer as it is.
        finished = bool(hidden) and bool(blanked_headers(reply[outside : opened.start]).strip())
        hidden.append((opened.start, opened.stop, len(reply), len(reply)))
    return _assembled(reply, hidden, finished=finished)


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
    answer = blanked_headers("".join(characters))
    stop = end_of_turn(answer)
    answer = answer[:stop] + " " * (len(answer) - stop)
    begin = 0
    for start, _, _, end in sorted(hidden):
        if not answer[:start].strip():
            begin = max(begin, end)
    return ReplyChannels(tuple(thoughts), answer, begin, finished)
