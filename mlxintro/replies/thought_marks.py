"""Where the marks of thoughts stand in a reply, told apart from marks that are only spoken of.

A model may quote its own marks ("I close it with </think>"), show them in a code block, or name them in a sentence. It
may also write them with spaces inside, or escaped for HTML. Text that a decoder left of a chat template is found here
as well: headers, and what ends a turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlxintro.backends.thinking.marks import MARK_PAIRS

PROSE_PAIR = ("Here is my thought process:", "Here is my response:")
"""How Granite 3.2 and 3.3 write a thought, without any token for it. Only at the beginning of a reply."""


@dataclass(frozen=True, slots=True)
class ThoughtMark:
    """Says where a mark stands in a reply, of which pair it is, and which half."""

    start: int
    stop: int
    pair: int
    opens: bool


def _loose(mark: str) -> str:
    """Return a pattern that also matches a mark with spaces in it, and one that is escaped for HTML."""
    found = re.fullmatch(r"<(/?)(\w[\w:]*)>", mark)
    if found is None:
        return re.escape(mark)
    slash = r"\s*/\s*" if found[1] else r"\s*"
    return rf"(?:<|&lt;){slash}{re.escape(found[2])}\s*(?:>|&gt;)"


_MARK = re.compile(
    "|".join(
        f"(?P<{half}_{number}>{_loose(mark)})"
        for number, pair in enumerate(MARK_PAIRS)
        for half, mark in zip(("open", "close"), pair, strict=True)
    ),
    re.IGNORECASE,
)
_PROSE = re.compile(rf"\A\s*(?P<open>{re.escape(PROSE_PAIR[0])})|^[ \t]*(?P<close>{re.escape(PROSE_PAIR[1])})", re.M)
_QUOTES = "`\"'“‘"
_FENCE = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_BEFORE_WITHIN = re.compile(r"[^\W\d_][,;]?[ \t]+\Z")
_AFTER_WITHIN = re.compile(r"[ \t]*[,;)]|[ \t]+[^\W\d_A-Z]|\.[ \t]*$", re.MULTILINE)
"""Around a mark that is named in the middle of a sentence: "the <think> block", "no </think> yet"."""


def thought_marks(reply: str) -> list[ThoughtMark]:
    """Return the marks that open and close thoughts, in order; those that are spoken of are left out."""
    marks = [mark for mark in _all_marks(reply) if not _named(reply, mark)]
    fences = [found.span() for found in _FENCE.finditer(reply)]

    def fence_of(mark: ThoughtMark) -> tuple[int, int] | None:
        return next((span for span in fences if span[0] <= mark.start < span[1]), None)

    kept = []
    for mark in marks:
        fence = fence_of(mark)
        # A thought may end in the middle of a block: its closing mark is the last one, and no example.
        if fence is None or (not mark.opens and not _shown(mark, fence, marks)):
            kept.append(mark)
    return kept


def _shown(mark: ThoughtMark, fence: tuple[int, int], marks: list[ThoughtMark]) -> bool:
    """Tell whether a closing mark in a block of code is an example: it is opened there too, or another follows."""
    opened = any(one.opens and one.pair == mark.pair and fence[0] <= one.start < mark.start for one in marks)
    return opened or any(not one.opens and one.pair == mark.pair and one.start >= fence[1] for one in marks)


def _all_marks(reply: str) -> Iterator[ThoughtMark]:
    prose = list(_PROSE.finditer(reply))
    if prose and prose[0].lastgroup == "open":
        # What follows the answer's heading is the answer, whatever stands in it.
        pair = len(MARK_PAIRS)
        halves = [prose[0], *[found for found in prose[1:] if found.lastgroup == "close"][:1]]
        yield from (ThoughtMark(*one.span(one.lastgroup or 0), pair, one.lastgroup == "open") for one in halves)
        return
    for found in _MARK.finditer(reply):
        half, number = (found.lastgroup or "open_0").split("_")
        yield ThoughtMark(*found.span(), int(number), half == "open")


def _named(reply: str, mark: ThoughtMark) -> bool:
    """Tell whether a mark is quoted, or named in the middle of a sentence."""
    if reply[mark.start - 1 : mark.start] in tuple(_QUOTES):
        return True
    line = reply.rfind("\n", 0, mark.start) + 1
    return bool(_BEFORE_WITHIN.search(reply, line, mark.start) and _AFTER_WITHIN.match(reply, mark.stop))


_ROLE = r"(?:[ \t]*(?:assistant|model)\b[ \t]*\n?)?"
_HEADER = re.compile(
    rf"<\|(?:im_start|start_header_id|start_of_role|START_OF_TURN_TOKEN)\|>{_ROLE}"
    rf"|<start_of_turn>{_ROLE}|<[|｜](?:assistant|Assistant|CHATBOT_TOKEN|end_header_id|end_of_role)[|｜]>"
    r"|<\|(?:begin|end)_of_(?:solution|box)\|>|<\|(?:START|END)_RESPONSE\|>|</?answer>"
)
"""What a template or a training format writes around an answer."""
_TURN_END = re.compile(
    r"<\|(?:im_end|endoftext|end_of_text|eot_id|END_OF_TURN_TOKEN|end|return|user|observation)\|>"
    r"|<｜(?:end▁of▁sentence|User)｜>|<end_of_turn>|</s>"
)


def blanked_headers(text: str) -> str:
    """Put spaces in the place of what templates write around an answer; the length is kept."""
    return _HEADER.sub(lambda found: " " * len(found.group()), text)


def end_of_turn(text: str) -> int:
    """Return where the model's turn ends; the length of the text where nothing says so.

    A mark in front of any word ends nothing.
    """
    ends = (found.start() for found in _TURN_END.finditer(text) if text[: found.start()].strip())
    return next(ends, len(text))
