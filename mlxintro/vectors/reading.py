"""Where an activation is read: one prompt, one token position, one site.

Recipes that share a reading share its forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mlxintro.backends.base import Message, Tokenizer
from mlxintro.backends.thinking.marks import ThinkingMode
from mlxintro.protocol.windows import span, token_at

LetterCase = Literal["lower", "as-is", "title"]
Read = Literal["last-template-token", "word", "mean"]
"""Where the activation is taken: the last token of the rendered prompt; the last token of the word itself; the mean
over the tokens of what the user says."""

ReadSite = Literal["resid_post", "attn_out", "mlp_out"]
"""Which activation is taken: the residual stream after a block, or what its attention or its MLP adds to the stream.
A vector is injected at the site it was read at."""


@dataclass(frozen=True, slots=True)
class PromptReading:
    """Names one activation to take."""

    template: str
    """Text of the user's turn; ``{word}`` stands for the word."""
    read: Read
    word: str
    prefill: str = ""
    """Beginning of the reply, put in the assistant's mouth; the last token is then the last of this."""
    site: ReadSite = "resid_post"

    thinking: ThinkingMode = "off"
    """``on``: inside the context of an opened thought; its mark is then the last token of the template."""

    LATER: ClassVar[dict[str, str]] = {"prefill": "", "site": "resid_post", "thinking": "off"}

    def place(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the tokens of the prompt, and the positions to read, counted from its end."""
        text = self.template.replace("{word}", self.word)
        said = text.strip()
        message: Message = {"role": "user", "content": said}
        rendered = tokenizer.render([message], self.prefill, self.thinking)
        length = len(rendered.tokens)
        if self.read == "last-template-token":
            return rendered.tokens, (-1,)
        start, stop = span(rendered, said)
        if self.read == "mean":
            return rendered.tokens, tuple(range(start - length, stop - length))
        # The word is looked for inside what the user says: a chat template may well hold the same letters.
        begin = self.template.index("{word}") - (len(text) - len(text.lstrip()))
        last = token_at(rendered, rendered.text.rfind(said) + begin + len(self.word) - 1)
        return rendered.tokens, (last - length,)


def cased(word: str, case: LetterCase) -> str:
    """Return a word as it stands in the prompt; ``title`` raises the first letter of each part of a name."""
    word = word.strip()
    match case:
        case "lower":
            return word.lower()
        case "title":
            return " ".join(part[:1].upper() + part[1:] for part in word.split(" "))
        case "as-is":
            return word
