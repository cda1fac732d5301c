"""Text to ids and back for real models, shared by PyTorch and MLX.

A thin layer over a transformers fast tokenizer that keeps the promises of ``backends.base.Tokenizer`` where the
library leaves them open: one BOS and not two, offsets that leave out no space, a continuation that keeps its leading
space, a dialogue format for models that never learnt one. It refuses slow tokenizers, which have no offsets.

Special tokens spelled out in a message are read as special tokens, as the library does by default: dialogues come from
the experimenter, and forged turns can be part of an experiment.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..base import Message, Rendered
from ..errors import ModelError, UsageError
from ..thinking.marks import MARK_PAIRS, ThinkingMarks, ThinkingMode
from ..thinking.probe import find_marks
from ..values import DialogueFormat
from . import foreign, side_files
from .templates import ChatTemplate, TemplateError

TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end|>", "<|return|>")
"""Tokens with which known chat formats close the assistant's turn; not every configuration lists them."""

SPEAKERS = {"user": "Human", "assistant": "Assistant", "system": ""}
"""Who speaks in the plain dialogue of a base model."""


_NO_DATE = datetime.date(2000, 1, 1)
"""Given to templates that write no date."""


class ChatTokenizer:
    """Puts a transformers fast tokenizer behind ``backends.base.Tokenizer``."""

    def __init__(
        self,
        tokenizer: Any,
        *,
        end_tokens: Iterable[int] = (),
        content: bytes | None = None,
        dialogue: DialogueFormat | None = None,
    ) -> None:
        """Wrap a tokenizer, which is left as it is.

        Args:
            tokenizer: a ``transformers`` tokenizer with a Rust backend.
            end_tokens: ids that end a reply, beside the tokenizer's EOS and the known turn ends in its vocabulary.
            content: what stands for the tokenizer in ``template_hash``, usually the bytes of ``tokenizer.json``.
            dialogue: ``chat`` for the template, which must be there; ``plain`` for the format of base models, though
                there is one; what there is when ``None``.

        Raises:
            ModelError: the tokenizer is a slow one.
            UsageError: a chat template is asked for and there is none.
        """
        if dialogue == "chat" and not tokenizer.chat_template:
            raise UsageError("this model has no chat template: choose --dialogue plain", setting="dialogue")
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError("this model has no fast tokenizer (tokenizer.json): choose a model that ships one")
        from tokenizers import Tokenizer

        serialised = tokenizer.backend_tokenizer.to_str()
        self._tokenizer = tokenizer
        self._encoder = Tokenizer.from_str(serialised)
        # Post-processors add special tokens, which templates have written already, and trim spaces off the offsets.
        self._encoder.post_processor = None
        self._encoder.no_truncation()
        self._encoder.no_padding()
        self._byte_level = '"ByteLevel"' in json.dumps(json.loads(serialised)["decoder"])
        self._added: dict[int, str] = {i: token.content for i, token in tokenizer.added_tokens_decoder.items()}
        # Sentencepiece tokenizers put a space before any text and take it off when decoding. Both are undone by
        # working behind an anchor: a line break to encode (it joins nothing), a letter to decode.
        self._line, self._letter = (self._encode(text).tokens for text in ("\n", "a"))
        self._prefixes = str(self._encoder.id_to_token(self._letter[0])).startswith(("▁", "Ġ"))
        self._bos = tokenizer.bos_token if self._adds_bos() else ""
        self.chat_template: bool = bool(tokenizer.chat_template) and dialogue != "plain"
        """False for base models, which get a plain dialogue format."""
        self.stop_strings: tuple[str, ...] = () if self.chat_template else ("\n\nHuman:",)
        ends = {*end_tokens, *map(self._encoder.token_to_id, TURN_ENDS), tokenizer.eos_token_id}
        self.end_tokens: frozenset[int] = frozenset(int(end) for end in ends if end is not None)
        template = tokenizer.get_chat_template() if self.chat_template else "plain dialogue 1"
        self._template = _compile(template) if self.chat_template else None
        digest = hashlib.sha256(template.encode())
        digest.update(b"\0" + (serialised.encode() if content is None else content))
        self._digest = digest.hexdigest()[:16]
        self._parts: dict[tuple[str, ...], bool] = {}
        """Whether the template wants what is said as a list of parts, by the roles of a dialogue."""
        self.date: datetime.date | None = None
        """The day that the template writes into every prompt; ``None`` for templates that write none."""
        if self._template is not None and self._template.dated:
            self.date = datetime.datetime.now(datetime.UTC).astimezone().date()

    @classmethod
    def load(cls, folder: Path, dialogue: DialogueFormat | None = None) -> ChatTokenizer:
        """Read a model's tokenizer from its folder; nothing is downloaded.

        Raises:
            ModelError: there is none, or it is a slow one.
        """
        from transformers import AutoTokenizer

        ends = side_files.end_tokens(folder)
        with foreign.loading(f"no usable tokenizer in {folder}", "fetch or save the model again"):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        files = [folder / name for name in ("tokenizer.json", "tokenizer.model")]
        content = next((path.read_bytes() for path in files if path.is_file()), None)
        with foreign.told(f"the tokenizer in {folder} does not work", "fetch or save the model again"):
            return cls(tokenizer, end_tokens=ends, content=content, dialogue=dialogue)

    @property
    def template_hash(self) -> str:
        """Digest of the template, the tokenizer's file and, where the template writes it, the date: two runs that share
        it saw the same tokens."""
        return self._digest if self.date is None else f"{self._digest} {self.date.isoformat()}"

    def set_date(self, date: datetime.date) -> None:
        """Let the template write another day, that of a run which goes on; without effect where it writes none."""
        if self.date is not None:
            self.date = date

    @cached_property
    def thinking(self) -> ThinkingMarks | None:
        """Return how the template writes a thought; ``None`` for models that do not think before they answer."""
        if self._template is None:
            return None

        def rendered(messages: Sequence[Message], thinking: bool, header: bool) -> str:
            return self._apply(messages, parts=False, thinking=thinking, header=header)

        return find_marks(rendered, self._template.source)

    def render(self, messages: Sequence[Message], prefill: str = "", thinking: ThinkingMode = "off") -> Rendered:
        """Return the dialogue up to where the assistant speaks next, with ``prefill`` put in its mouth.

        An empty system message is left out: some templates would write an empty turn for it. Where the template has
        no system role, its text opens the first user turn. A base model gets "Human: ... Assistant: ..." with blank
        lines between.

        Args:
            thinking: ``off`` asks the model not to think, where its template can; ``on`` ends with the opened block of
                thought, to which ``prefill`` is not added, being part of the answer; ``empty`` closes that block at
                once.

        Raises:
            UsageError: the template refuses the order of roles, leaves out what somebody says, does not end, or knows
                no thoughts.
        """
        spoken = [message for message in messages if message["role"] != "system" or message["content"].strip()]
        unknown = {message["role"] for message in spoken} - SPEAKERS.keys()
        if unknown:
            raise UsageError(f"no role {min(unknown)!r}: use system, user or assistant")
        if thinking != "off":
            return self._encode(self._thoughtful(spoken, prefill, thinking))
        text = self._chat(spoken) if self.chat_template else self._plain(spoken)
        if not self.chat_template and prefill and not prefill[0].isspace():
            text += " "
        return self._encode(text + prefill)

    def _thoughtful(self, spoken: list[Message], prefill: str, mode: ThinkingMode) -> str:
        """Render a dialogue whose next reply begins with a block of thought, open or closed."""
        marks = self.thinking
        if marks is None:
            raise UsageError("this model's chat template knows no thoughts: leave --thinking out", setting="thinking")
        text = self._chat(spoken, thinking=True) + ("" if marks.opened else marks.opening)
        return text if mode == "on" else text + marks.closing + prefill

    def encode(self, text: str) -> Rendered:
        """Return the plain text as it would be tokenised in the middle of a text.

        No special tokens, and no space of its own.

        Sentencepiece tokenizers otherwise put a space before any text, and " yes" would begin with an empty token.
        """
        if not text:
            return Rendered("", (), ())
        if self._prefixes:
            n, found = len(self._line), self._encode("\n" + text)
            if found.tokens[:n] == self._line and len(found.tokens) > n:
                return Rendered(text, found.tokens[n:], tuple((a - 1, b - 1) for a, b in found.offsets[n:]))
        return self._encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the visible text, special tokens left out, a leading space kept: prompt plus reply is the whole text.

        Bytes that are not a character, or not yet, become U+FFFD.
        """
        if self._byte_level:
            return self._decode(tokens)
        return self._decode([*self._letter, *tokens]).removeprefix("a")

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        r"""Return each token as text, special ones by name; bytes that are no whole character as ``\xNN``."""
        return [self._piece(token) for token in map(int, tokens)]

    def _piece(self, token: int) -> str:
        if token in self._added:
            return self._added[token]
        piece = self._encoder.id_to_token(token)
        if piece is None:  # a row of the embedding that pads the vocabulary
            return f"<{token}>"
        if self._byte_level:
            return bytes(map(_byte, piece)).decode("utf-8", "backslashreplace")
        if match := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):
            return bytes.fromhex(match[1]).decode("ascii", "backslashreplace")
        return str(piece).replace("▁", " ")

    def _adds_bos(self) -> bool:
        if self._tokenizer.bos_token_id is None:
            return False
        ids = self._tokenizer("a", add_special_tokens=True)["input_ids"]
        return bool(ids) and ids[0] == self._tokenizer.bos_token_id

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(
                [int(token) for token in tokens], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _encode(self, text: str) -> Rendered:
        encoding = self._encoder.encode(text, add_special_tokens=False)
        return Rendered(text, tuple(encoding.ids), _composed(text, encoding.offsets))

    def _chat(self, messages: list[Message], thinking: bool = False) -> str:
        system = [message["content"].strip() for message in messages if message["role"] == "system"]
        try:
            return self._written(messages, thinking)
        except UsageError:
            if not system:
                raise
        rest = [message for message in messages if message["role"] != "system"]
        if not rest or rest[0]["role"] != "user":
            raise UsageError("this model has no system role: begin the dialogue with a user message")
        opening: Message = {"role": "user", "content": "\n\n".join([*system, rest[0]["content"]])}
        return self._written([opening, *rest[1:]], thinking)

    def _written(self, messages: list[Message], thinking: bool) -> str:
        """Render a dialogue and see that everything that is said stands in it.

        Raises:
            UsageError: the template leaves something out.
        """
        parts = self._wants_parts(tuple(message["role"] for message in messages))
        text = self._apply(messages, parts=parts, thinking=thinking)
        for message in messages:
            # What an assistant thought before it spoke is left out by design.
            said = message["content"]
            if message["role"] == "assistant":
                said = _without_thought(said)
            if said.strip() not in text:
                raise _left_out(message["role"])
        return text

    def _wants_parts(self, roles: tuple[str, ...]) -> bool:
        """Find the form of content with which the template writes every message, tried with words of no meaning.

        Raises:
            UsageError: there is none.
        """
        if roles not in self._parts:
            marked: list[Message] = [{"role": role, "content": f"qzmark{at}zq"} for at, role in enumerate(roles)]
            missing = []
            for parts in (False, True):
                try:
                    text = self._apply(marked, parts=parts)
                except UsageError:
                    if not parts:
                        raise
                    break
                # A list of parts that is printed as a list is not written either.
                missing = [
                    m["role"]
                    for m in marked
                    if m["content"] not in text or (parts and re.search(f"""['"]{m["content"]}""", text))
                ]
                if not missing:
                    self._parts[roles] = parts
                    return parts
            raise _left_out(missing[0])
        return self._parts[roles]

    def _apply(self, messages: Sequence[Message], *, parts: bool, thinking: bool = False, header: bool = True) -> str:
        """Fill the template in.

        Args:
            parts: hand contents over as lists of parts.
            thinking: ask for a reply that begins with a thought.
            header: end with the assistant's header.
        """
        assert self._template is not None, "a base model has no template"
        # DeepSeek and Granite call the switch `thinking`, everybody else `enable_thinking`.
        switch = {
            name: thinking
            for name in ("enable_thinking", "thinking")
            if re.search(rf"\b{name}\b", self._template.source)
        }
        said = [{**m, "content": [{"type": "text", "text": m["content"]}] if parts else m["content"]} for m in messages]
        values = {
            **self._tokenizer.special_tokens_map,
            "messages": said,
            "tools": None,
            "documents": None,
            "add_generation_prompt": header,
            **switch,
        }
        try:
            return self._template.render(values, self.date or _NO_DATE)
        except TemplateError as error:
            raise UsageError(
                f"the model's chat template refuses this dialogue ({error}): change its roles, or choose another model"
            ) from error

    def _plain(self, messages: list[Message]) -> str:
        turns = [f"{SPEAKERS[m['role']]}: {m['content']}".removeprefix(": ") for m in messages]
        return self._bos + "\n\n".join([*turns, "Assistant:"])


def _without_thought(said: str) -> str:
    """Return what an assistant said after its thought; all of it where it holds no closing mark."""
    for _, closing in MARK_PAIRS:
        said = said.rpartition(closing)[2]
    return said


def _left_out(role: str) -> UsageError:
    return UsageError(
        f"the model's chat template leaves out what the {role} says, so the model would never read it: mend the "
        "template (chat_template.jinja or tokenizer_config.json), or choose another model"
    )


def _compile(template: Any) -> ChatTemplate:
    if not isinstance(template, str):
        raise ModelError("the model's chat template is not a text: fetch or save the model again")
    try:
        return ChatTemplate(template)
    except TemplateError as error:
        raise ModelError(
            f"the model's chat template cannot be read ({error}): fetch or save the model again"
        ) from error


def _composed(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Let offsets reach over marks that a normaliser has composed with the character before them.

    After NFC (Qwen), "e" and a combining accent are one character, and the library reports the place of the "e" alone.
    """
    result = []
    bound = len(text)
    following = bound
    for start, stop in reversed(offsets):
        bound = following if following >= stop else bound
        following = start
        if stop < bound and len(unicodedata.normalize("NFC", text[start:bound])) <= stop - start:
            stop = bound
        result.append((start, stop))
    return tuple(reversed(result))


def _byte(char: str) -> int:
    """Byte that a character of a byte-level vocabulary stands for (the printable stand-ins of GPT-2, 2019)."""
    code = ord(char)
    if code < 256:
        return code
    # The bytes that are not printable, in order, are written as the characters from U+0100 on.
    missing: list[int] = [*range(0x21), *range(0x7F, 0xA1), 0xAD]
    return missing[code - 256]
