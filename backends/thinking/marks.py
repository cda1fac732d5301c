"""Marks between which models think before they answer, as their chat templates write them. Plain text, no tokens.

Sources: the chat templates that ship with Qwen3, QwQ, DeepSeek-R1, SmolLM3, GLM-4.5, Magistral, Kimi, Seed-OSS,
OpenThinker, Command A Reasoning and gpt-oss (the "harmony" response format, OpenAI 2025).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

ThinkingMode = Literal["off", "on", "empty"]
"""``off``: the template's own switch; ``on``: the model thinks, then answers; ``empty``: the template lets it think,
and a block without a word is put in its mouth."""
THINKING_MODES: tuple[ThinkingMode, ...] = get_args(ThinkingMode)

MARK_PAIRS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""Marks that open and close a block of thought. Tags such as ``<thought>`` or ``<reasoning>`` are not among them:
models use them as headings within answers."""


@dataclass(frozen=True, slots=True)
class ThinkingMarks:
    """Says how one model's template writes a thought."""

    opening: str
    """Text between the assistant's header and the first word of the thought, e.g. ``"<think>\n"``."""
    closing: str
    """Text between the last word of the thought and the answer, e.g. ``"\n</think>\n\n"``."""
    mark: str
    """Text that the model itself writes to end its thought: the closing without white space and headers around it."""
    opened: bool
    """Whether the template writes the opening into the prompt by itself."""
    switch: bool
    """Whether the template can be asked for a reply without thought."""
    unasked: bool
    """Whether the model thinks however the template is asked."""

    @property
    def after(self) -> str:
        """Return what of the closing follows the mark."""
        return self.closing[self.closing.index(self.mark) + len(self.mark) :]
