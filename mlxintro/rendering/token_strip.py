"""The token strip: a prompt token by token, with what was injected where."""

from __future__ import annotations

from collections.abc import Sequence

from mlxintro.protocol.trials import PlannedInjection, PromptRecord

MARK = "▓"
SPACE = "·"


def strip(prompt: PromptRecord, injections: Sequence[PlannedInjection], width: int = 100) -> list[str]:
    """Return the lines of tokens, each pair of lines showing tokens above and their windows marked below.

    Args:
        width: characters per line.
    """
    touched = [
        any(one.start <= at and (one.stop is None or at < one.stop) for one in injections)
        for at in range(len(prompt.pieces))
    ]
    lines: list[str] = []
    tokens = marks = ""
    for piece, hit in zip(prompt.pieces, touched, strict=True):
        shown = readable(piece)
        if tokens and len(tokens) + len(shown) + 1 > width:
            lines += [tokens, marks]
            tokens = marks = ""
        tokens += shown + "|"
        marks += (MARK if hit else " ") * len(shown) + " "
        if "\n" in piece:
            lines += [tokens, marks]
            tokens = marks = ""
    if tokens:
        lines += [tokens, marks]
    return [line.rstrip() for line in lines if line.strip()]


def window_in_words(prompt: PromptRecord, injections: Sequence[PlannedInjection]) -> list[str]:
    """Return one sentence per injection: which tokens, and what they say."""
    sentences = []
    count = len(prompt.tokens)
    for one in injections:
        if one.start >= count:
            where = f"the {one.part} only"
        else:
            end = f"through the {one.part}" if one.stop is None else f"to token {one.stop - 1}"
            where = f"from token {one.start} of {count} ({readable(prompt.pieces[one.start])!r}) {end}"
        sentences.append(f"{one.concept} at layer {one.layer}, {one.strength:g} {one.unit}: {where}")
    return sentences


def readable(piece: str) -> str:
    """Return a token on one line, its white space visible."""
    return piece.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍").replace(" ", SPACE)
