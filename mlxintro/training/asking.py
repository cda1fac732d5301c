"""The prompts of a training: the trial question, other questions in its place, odd texts, and witnesses."""

from __future__ import annotations

from dataclasses import dataclass

from mlxintro.backends.base import Message, Tokenizer
from mlxintro.protocol import controls, windows
from mlxintro.training.material import Wording


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """Holds a dialogue in tokens, and where a vector would be injected."""

    tokens: tuple[int, ...]
    start: int
    """First position of the window."""
    stop: int | None = None
    """End of the window; ``None`` for one that reaches through the reply."""


class Asker:
    """Dialogues as the model reads them, each rendered once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._asked: dict[tuple[str, ...], AskedPrompt] = {}
        self._answers: dict[str, tuple[int, ...]] = {}
        self._end = _end_token(tokenizer)

    def ask(self, wording: Wording, number: int, question: str = "", odd: str = "") -> AskedPrompt:
        """Return the dialogue of a trial.

        Args:
            wording: of the trial question and of what stands before it.
            number: of the trial, as the subject is told.
            question: another question in the trial question's place.
            odd: a text that stands before the question.
        """
        key = wording.name, str(number), question, odd
        if key not in self._asked:
            dialogue = controls.asking(wording.dialogue, question)
            messages, anchor = dialogue.at_trial(number)
            if odd:
                *before, last = messages
                at = last["content"].rindex(anchor)
                content = last["content"][:at] + odd + last["content"][at:]
                messages = (*before, {"role": last["role"], "content": content})
            rendered = self.tokenizer.render(messages, dialogue.prefill)
            start, _ = windows.resolve("question", rendered, anchor)
            self._asked[key] = AskedPrompt(rendered.tokens, start)
        return self._asked[key]

    def write(self, wording: Wording, task: str) -> AskedPrompt:
        """Return the dialogue of a witness up to where it writes a sentence."""
        key = wording.name, task
        if key not in self._asked:
            rendered = self.tokenizer.render(_task(wording, task))
            self._asked[key] = AskedPrompt(rendered.tokens, windows.span(rendered, task)[0])
        return self._asked[key]

    def witness(self, wording: Wording, task: str, sentence: str, question: str) -> AskedPrompt:
        """Return the dialogue of a witness that has written a sentence; the window ends where the sentence does."""
        key = wording.name, task, sentence, question
        if key not in self._asked:
            said: list[Message] = [
                *_task(wording, task),
                {"role": "assistant", "content": sentence},
                {"role": "user", "content": question},
            ]
            rendered = self.tokenizer.render(said)
            start, stop = windows.span(rendered, task)[0], windows.span(rendered, sentence, before=question)[1]
            self._asked[key] = AskedPrompt(rendered.tokens, start, stop)
        return self._asked[key]

    def answer(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a reply, its end included."""
        if text not in self._answers:
            self._answers[text] = (*self.tokenizer.encode(text).tokens, self._end)
        return self._answers[text]


def _task(wording: Wording, task: str) -> list[Message]:
    """The dialogue with a task in the last message's place."""
    messages, _ = wording.dialogue.at_trial(1)
    return [*messages[:-1], {"role": messages[-1]["role"], "content": task}]


def _end_token(tokenizer: Tokenizer) -> int:
    """The token that ends a reply in the model's own dialogues."""
    said = "Yes."
    rendered = tokenizer.render(
        [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": said}, {"role": "user", "content": "Hi."}]
    )
    after = windows.span(rendered, said)[1]
    ends = (token for token in rendered.tokens[after:] if token in tokenizer.end_tokens)
    return next(ends, min(tokenizer.end_tokens))
