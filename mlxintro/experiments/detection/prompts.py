"""The dialogues of injected thoughts: by trial number, with a control question, tampered with, for a witness."""

from __future__ import annotations

from dataclasses import dataclass

from mlxintro.backends.base import Message
from mlxintro.backends.thinking.marks import ThinkingMode
from mlxintro.protocol import controls, windows
from mlxintro.protocol.presets import Dialogue
from mlxintro.protocol.prompts import Asked, Dialogues
from mlxintro.protocol.windows import ReplyWindow, WindowName


@dataclass(frozen=True, slots=True)
class TrialPrompt:
    """Holds a dialogue of the plan and the window of its injections."""

    asked: Asked
    window: ReplyWindow
    """Token positions ``[start, stop)``; ``None`` reaches through the reply."""
    length: int
    """Number of tokens."""

    @property
    def key(self) -> str:
        """Return the key under which trials refer to it."""
        return self.asked.key


class TrialPrompts:
    """Makes the dialogue of a preset in every form that trials ask for, each once."""

    def __init__(self, dialogue: Dialogue, window: WindowName, dialogues: Dialogues) -> None:
        self.dialogue = dialogue
        self._window = window
        self._dialogues = dialogues
        self._made: dict[tuple[int, str, str], TrialPrompt] = {}

    @property
    def aside(self) -> ThinkingMode:
        """Return how a witness's replies begin, whose text is what it is asked about."""
        return self._dialogues.aside

    def at(self, number: int, question: str = "") -> TrialPrompt:
        """Return the dialogue at a trial number, with another trial question unless that is empty."""
        form = number, "asking", question
        if form not in self._made:
            dialogue = controls.asking(self.dialogue, question)
            messages, anchor = dialogue.at_trial(number)
            asked = self._dialogues.ask(messages, dialogue.prefill)
            marks = self._dialogues.tokenizer.thinking if self._dialogues.thinking == "on" else None
            window = windows.resolve_by_part(self._window, asked.rendered, anchor, marks)
            self._made[form] = TrialPrompt(asked, window, len(asked.rendered.tokens))
        return self._made[form]

    def tampered(self, number: int, word: str) -> TrialPrompt:
        """Return the dialogue with a word where it does not belong, right before the trial question."""
        form = number, "tampered", word
        if form not in self._made:
            messages, anchor = self.dialogue.at_trial(number)
            content = messages[-1]["content"]
            at = content.rindex(anchor)
            odd = controls.forms()["odd"].replace("{word}", word)
            last: Message = {**messages[-1], "content": content[:at] + odd + content[at:]}
            asked = self._dialogues.ask((*messages[:-1], last), self.dialogue.prefill)
            self._made[form] = TrialPrompt(asked, ReplyWindow(0, None), len(asked.rendered.tokens))
        return self._made[form]

    def task(self) -> TrialPrompt:
        """Return the dialogue of a witness: it is asked to write a sentence; the window reaches from there on."""
        form = 1, "task", ""
        if form not in self._made:
            messages, _ = self.dialogue.at_trial(1)
            text = controls.forms()["task"]
            said: Message = {"role": messages[-1]["role"], "content": text}
            asked = self._dialogues.ask((*messages[:-1], said), thinking=self.aside)
            self._made[form] = TrialPrompt(asked, ReplyWindow(asked.span(text)[0], None), len(asked.rendered.tokens))
        return self._made[form]
