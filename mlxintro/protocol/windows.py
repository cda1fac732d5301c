"""Where a vector is injected: windows anchored on text, resolved to token positions.

``all``          every token of the prompt and the reply
``prompt``       the prompt only
``generation``   generated tokens only; the first one is still predicted by an unsteered token
``question``     from the separator before the trial question through the reply (Lindsey 2025, "injected thoughts")

Tokenisers disagree about separators: some merge a full stop with the blank line after it, some keep two newline
tokens. The rule here is by characters: the window starts with the token that holds the first character of the white
space before the question, or, where there is none, the last character before it.
"""

from __future__ import annotations

from typing import Literal, get_args

from mlxintro.backends.base import Rendered
from mlxintro.backends.errors import UsageError

WindowName = Literal["all", "prompt", "generation", "question"]
WINDOWS: tuple[WindowName, ...] = get_args(WindowName)


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
