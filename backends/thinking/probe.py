"""Finds out how a chat template writes a thought: by letting it write one, else by what it puts before a reply.

Nothing is known here of single models. A template is asked for a prompt with and without thought, and for a finished
reply that holds one; what stands around it is how this model's thoughts begin and end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..errors import UsageError
from ..values import Message
from .marks import MARK_PAIRS, ThinkingMarks

Render = Callable[[Sequence[Message], bool, bool], str]
"""Messages, whether the model shall think, and whether the assistant's header follows -> text.

Raises ``UsageError`` where the template refuses."""

_ASK, _THOUGHT, _ANSWER = "qzaskzq", "qzthoughtzq", "qzanswerzq"
_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a message in which templates look for a thought."""
_FIRST_MARK = re.compile(r"\s*(<[^>]*>|\[[^\]]*\]|\S+)")


def find_marks(render: Render, source: str) -> ThinkingMarks | None:
    """Return how a template writes thoughts; ``None`` where it knows of none.

    Args:
        render: fills the template in.
        source: of the template.
    """
    asked: list[Message] = [{"role": "user", "content": _ASK}]
    try:
        on, off = (_after(render(asked, thinking, True), _ASK) for thinking in (True, False))
    except UsageError:
        return None
    switch = render(asked, True, True) != render(asked, False, True)
    begun = _begun(on)
    written = _written(render, asked)
    if written is not None and written[0].startswith(on):
        before, closing = written
        opening = begun[0] if begun else before[len(on) :]
        if opening.strip() and closing.strip():
            mark = _mark(closing)
            return ThinkingMarks(opening, closing, mark, bool(begun), switch, unasked=not switch)
    for opening, closing in MARK_PAIRS:
        block = re.search(rf"({re.escape(opening)}(\s*))?{re.escape(closing)}\s*\Z", off)
        if begun is not None and begun[1] == closing:
            end = block.group() if block else f"\n{closing}\n\n"
            end = end[end.index(closing) :] if block else end
            return ThinkingMarks(begun[0], end, closing, True, switch, unasked=not switch)
        if block and block.group(1):
            line = "\n" if "\n" in block.group(2) else ""
            tail = off[block.end(2) :]
            return ThinkingMarks(f"{opening}{line}", f"{line}{tail}", closing, False, switch, unasked=False)
    for opening, closing in MARK_PAIRS:
        # It takes thoughts out of earlier turns: its model writes some, though nothing asks for them.
        if closing in source:
            return ThinkingMarks(f"{opening}\n", f"\n{closing}\n\n", closing, False, switch, unasked=False)
    return None


def _written(render: Render, asked: Sequence[Message]) -> tuple[str, str] | None:
    """What stands before and after the thought of a finished reply; ``None`` where the template leaves it out."""
    reply: Message = {"role": "assistant", "content": _ANSWER, **dict.fromkeys(_FIELDS, _THOUGHT)}
    with suppress(UsageError, ValueError):
        text = _after(render([*asked, reply], True, False), _ASK)
        at = text.index(_THOUGHT)
        return text[:at], text[at + len(_THOUGHT) : text.index(_ANSWER, at)]
    return None


def _begun(prompt: str) -> tuple[str, str] | None:
    """The opening mark that a prompt ends with, white space behind it included, and its closing mark."""
    for opening, closing in MARK_PAIRS:
        if found := re.search(rf"{re.escape(opening)}\s*\Z", prompt):
            return found.group(), closing
    return None


def _mark(closing: str) -> str:
    """Return the part of a closing that the model writes to end its thought."""
    for _, mark in MARK_PAIRS:
        if mark in closing:
            return mark
    found = _FIRST_MARK.match(closing)
    return found.group(1) if found else closing


def _after(text: str, mark: str) -> str:
    at = text.rfind(mark)
    return text[at + len(mark) :] if at >= 0 else text
