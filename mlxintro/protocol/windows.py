"""Where a vector is injected: windows anchored on text, resolved to token positions.

``all``          every token of the prompt and the reply
``prompt``       the prompt only
``generation``   generated tokens only; the first one is still predicted by an unsteered token
``question``     from the separator before the trial question through the reply (Lindsey 2025, "injected thoughts")

Where the subject thinks before it answers (``--thinking on``), a window may also follow the parts of its reply:

``before-thinking``    from the separator before the trial question up to the mark that opens the thought, so that the
    vector is off while the subject thinks and answers
``thinking``     from that mark to the last token of the thought
``answer``       from the mark that closes the thought on: its last token predicts the answer's first

Tokenisers disagree about separators: some merge a full stop with the blank line after it, some keep two newline
tokens. The rule here is by characters: the window starts with the token that holds the first character of the white
space before the question, or, where there is none, the last character before it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from mlxintro.backends.base import Rendered, ReplyPart
from mlxintro.backends.errors import UsageError
from mlxintro.backends.thinking.marks import ThinkingMarks

WindowName = Literal["all", "prompt", "generation", "question", "before-thinking", "thinking", "answer"]
WINDOWS: tuple[WindowName, ...] = get_args(WindowName)
THOUGHT_WINDOWS: tuple[WindowName, ...] = ("before-thinking", "thinking", "answer")
"""Windows for subjects that think before they answer."""


class ReplyWindow(NamedTuple):
    """Covers token positions ``[start, stop)``, and says which part of the reply an open window covers."""

    start: int
    stop: int | None
    """End of the window; ``None`` reaches through the reply, or through that part of it."""
    part: ReplyPart = "reply"


def resolve_by_part(
    window: WindowName, rendered: Rendered, question: str, marks: ThinkingMarks | None = None
) -> ReplyWindow:
    """Return the place of any window.

    Args:
        question: text of the trial question, as it stands in the prompt.
        marks: how the subject's template writes thoughts; the prompt ends with their opening where it shall think.

    Raises:
        UsageError: the question does not stand in the rendered prompt, or no thought is opened at its end.
    """
    if window not in THOUGHT_WINDOWS:
        return ReplyWindow(*resolve(window, rendered, question))
    if marks is None or not rendered.text.endswith(marks.opening):
        raise UsageError(f"the window {window} is for a subject that thinks: add --thinking on", setting="window")
    opening = token_at(rendered, len(rendered.text) - len(marks.opening.lstrip()))
    if window == "thinking":
        return ReplyWindow(opening, None, "thought")
    if window == "answer":
        return ReplyWindow(len(rendered.tokens), None, "answer")
    return ReplyWindow(separator_before(rendered, question), opening)


def resolve(window: WindowName, rendered: Rendered, question: str) -> tuple[int, int | None]:
    """Return the token positions ``[start, stop)`` of a window; ``stop=None`` reaches through the reply.

    Args:
        question: text of the trial question, as it stands in the prompt.

    Raises:
        UsageError: the question does not stand in the rendered prompt.
    """
    length = len(rendered.tokens)
    match window:
        case "all":
            return 0, None
        case "prompt":
            return 0, length
        case "generation":
            return length, None
        case "question":
            return separator_before(rendered, question), None
    if window in THOUGHT_WINDOWS:
        raise UsageError(f"the window {window} is for a subject that thinks: add --thinking on", setting="window")
    raise UsageError(f"no window called {window!r}: choose one of {', '.join(WINDOWS)}", setting="window")


def separator_before(rendered: Rendered, question: str) -> int:
    """Return the position of the token that holds the separator before the last occurrence of ``question``."""
    at = rendered.text.rfind(question)
    if at < 0:
        raise UsageError(f"the window is anchored on {question[:40]!r}, which does not stand in the rendered prompt")
    anchor = len(rendered.text[:at].rstrip())
    if anchor == at:
        anchor = max(0, at - 1)
    return token_at(rendered, anchor)


def span(rendered: Rendered, text: str, before: str = "") -> tuple[int, int]:
    """Return the positions ``[start, stop)`` of the tokens that overlap the last occurrence of ``text``.

    Args:
        before: only what stands before the last occurrence of this text counts.

    Raises:
        UsageError: it does not stand in the rendered prompt.
    """
    limit = rendered.text.rfind(before) if before else len(rendered.text)
    at = rendered.text.rfind(text, 0, limit) if limit >= 0 else -1
    if at < 0 or not text:
        raise UsageError(f"{text[:40]!r} does not stand in the rendered prompt")
    end = at + len(text)
    # The last character may be spread over several tokens, all of which have it as their place.
    last = max(position for position, (start, _) in enumerate(rendered.offsets) if start < end)
    return token_at(rendered, at), last + 1


def token_at(rendered: Rendered, character: int) -> int:
    """Return the position of the first token that ends after a character index."""
    for position, (_, stop) in enumerate(rendered.offsets):
        if stop > character:
            return position
    return len(rendered.offsets) - 1
