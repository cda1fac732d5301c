"""The dialogues of a plan: each rendered once, however many trials put it to the subject.

A plan is expanded more than once, so what a rendering is needed for afterwards is kept: the key of the prompt, and
where in it a text stands. The rendering itself, with the place of every token, is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlxintro.backends.base import Message, Rendered, Tokenizer
from mlxintro.backends.thinking.marks import ThinkingMode
from mlxintro.protocol import windows
from mlxintro.protocol.trials import PromptRecord

Said = tuple[tuple[tuple[str, str], ...], str]
"""Roles and contents of a dialogue, and the beginning of the reply."""


@dataclass(slots=True)
class Dialogues:
    """Says what is asked so far, by the key under which trials refer to it."""

    tokenizer: Tokenizer
    thinking: ThinkingMode = "off"
    """How replies begin, unless a dialogue asks for something else."""
    records: dict[str, PromptRecord] = field(default_factory=dict)
    _modes: dict[str, ThinkingMode] = field(default_factory=dict)
    """How the reply to a dialogue begins, by the dialogue's key."""
    _keys: dict[tuple[Said, ThinkingMode], str] = field(default_factory=dict)
    _spans: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)
    _latest: tuple[str, Rendered] | None = None

    def ask(self, messages: Sequence[Message], prefill: str = "", *, thinking: ThinkingMode | None = None) -> Asked:
        """Return a dialogue, rendered if it is new.

        Args:
            thinking: how the reply begins, where it is not the study's way.
        """
        mode = thinking or self.thinking
        said = (tuple((message["role"], message["content"]) for message in messages), prefill), mode
        if said not in self._keys:
            rendered = self.tokenizer.render(messages, prefill, mode)
            record = PromptRecord.of(tuple(messages), prefill, rendered, self.tokenizer.pieces(rendered.tokens))
            key = record.key
            self.records[key], self._keys[said], self._latest = record, key, (key, rendered)
            self._modes[key] = mode
        return Asked(self._keys[said], self)

    @property
    def aside(self) -> ThinkingMode:
        """Return how replies begin that no thought belongs before, in a study whose subject may think."""
        return "off" if self.thinking == "off" else "empty"

    def rendered(self, key: str) -> Rendered:
        """Return the rendering of a dialogue that was asked; anew, unless it is the latest."""
        if self._latest is None or self._latest[0] != key:
            record = self.records[key]
            self._latest = key, self.tokenizer.render(record.messages, record.prefill, self._modes[key])
        return self._latest[1]

    def span(self, key: str, text: str, before: str) -> tuple[int, int]:
        """Return ``windows.span`` in a dialogue that was asked."""
        where = key, text, before
        if where not in self._spans:
            self._spans[where] = windows.span(self.rendered(key), text, before)
        return self._spans[where]


@dataclass(frozen=True, slots=True)
class Asked:
    """Holds a dialogue of the plan."""

    key: str
    """Key under which trials refer to its prompt."""
    _among: Dialogues

    @property
    def rendered(self) -> Rendered:
        return self._among.rendered(self.key)

    def span(self, text: str, before: str = "") -> tuple[int, int]:
        """Return the positions ``[start, stop)`` of a text; see ``windows.span``."""
        return self._among.span(self.key, text, before)
