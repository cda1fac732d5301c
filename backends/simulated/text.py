"""What the simulated subject reads and writes: its alphabet, its tokens, the way a word sits in its residual stream.

Nothing here decides what a subject answers (``subject``) or does arithmetic on a stream
(``stream``).
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..base import Float32, Message, Rendered
from ..errors import UsageError
from ..thinking.marks import ThinkingMarks, ThinkingMode

SLOTS, BITS = 16, 5
CODE = SLOTS * BITS
"""Dimensions of the stream that spell a word. The last slot is always blank: it marks the end."""

MASK = 2**64 - 1
BEGIN, END, SYSTEM, USER, ASSISTANT = range(256, 261)
SPECIAL = {BEGIN: "<|begin|>", END: "<|end|>", SYSTEM: "<|system|>", USER: "<|user|>", ASSISTANT: "<|assistant|>"}
ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
TEMPLATE = "<|begin|>(<|ROLE|>CONTENT<|end|>)*<|assistant|>PREFILL"

THINKING_MARKS = ThinkingMarks("<think>\n", "\n</think>\n\n", "</think>", opened=False, switch=True, unasked=False)
"""How subjects that think write their thoughts. Their marks are text, so tokens are what they are for all subjects."""

EVERYDAY = (
    "apple",
    "elephant",
    "ocean",
    "music",
    "coffee",
    "garden",
    "rain",
    "bread",
    "river",
    "window",
    "cat",
    "moon",
)
"""What a subject names when it names something that was not injected."""

WORDS = """
a able about accident add again ago air all almost also always am an and angry animal another answer any anything apart
apple are arm around as ask at attention autumn away baby back bad bag ball bank be became because bed been before began
behind being believe below best better between big bird black blue boat body book both bottom box boy bread bright
bring broke brother brought brown build busy but buy by call came can car care cat catch chair change child children
city class clean clear clock close coat coffee cold colour come comes concept control conversation cook cool could count
country course cut dark day deep detect did different dinner do does dog done door down draw dream drink drive dry
each early earth east eat egg elephant else empty end enough even evening ever every everyday everything experience
eye eyes face fact fall family far farm fast father feel feels feet felt few field find fine fire first fish five floor
flower fly follow food foot for forest form found four free fresh friend from front full game garden gave get girl give
glass go going gold gone good got grass great green grew ground group grow had hair half hand happen happy hard has hat
have he head hear heard heart heavy held help her here hers high hill him his hold home hope horse hot hour house how
however hungry i idea if immediately in injected inside instead into is it its just keep kept kind kitchen know known
lake lamp land language large last late later laugh learn leave left less let letter life light like line list listen
little live long look looked lost lot loud love low lunch made make man many mark market matter may me mean meant
meet men message middle might milk mind mine minute model moment money month moon more morning most mother move much
music must my name near need never new news next nice night no nobody noise nor north not nothing notice now number
ocean of off often oh ok old on once one only open or orange order other our out outside over own page paper park part
party pass past pattern people perhaps person picture piece place plan plant play please point possible present put
question quick quiet quite rain ran reach read ready real really red remember repeat rest rice right ring river road
rock room round run said same sand sat saw say school sea second see seem seemed seems seen send sense sentence set
seven several shall she ship shoe shop short should show side sign simple since
sing sister sit six sky sleep slow small smell
snow so soft some someone something sometimes son song soon sorry sound south space speak spring stand star start stay
step still stone stood stop story street strong such summer sun sure table take talk tall tea teacher tell ten than
thank that the their them then there these they thing things think thinking third this those thought thoughts three
through time to today together told tomorrow too took top town train tree trial true try turn two under understand
unusual until up upon us usual very voice wait walk wall want warm was wash watch water way we wear weather week well
went were west wet what when where which while white who whole why wide will wind window winter with without woman
wonder wood word words work world would write wrong year yellow yes yesterday yet you young your
abysses algorithms amphitheaters anchors anger anthills aquariums archives arrowheads avalanches bacon bags bamboo
bicycles blood bonfires boulders bubbles butterflies cakes cameras caravans caverns chairs clay clouds constellations
contraptions courage daffodils denim deserts desks dewdrops diamonds dirigibles dogs dust dynasties echoes electricity
enigmas estuaries fabric flour flowers fog fortresses fossils fountains frosts galaxies gardens geodes glaciers
gondolas hammers happiness harmonies hieroglyphs honey illusions information intelligence jackets jewelry jungles
justice kaleidoscopes knowledge laughter lightning literature magnets marble marbles masquerades memories mirrors
moments monoliths mountains nebulae needles oceans orchestras origami oxygen parchments pasta patience peace pendulums
phones pianos plastic plateaus poetry pottery poverty puzzles quarries quilts ramparts ravines research ribbons rivers
rubber sadness sanctuaries satellites scrolls secrecy silhouettes silver skyscrapers smoke snowflakes stars statues
sugar sunsets tables tornadoes towers traffic treasures trees trumpets universes valleys vegetables velocities vinegar
volcanoes whirlpools whispers wildlife wool xylophones youths zigzags
"""

_CHUNKS = re.compile(r" ?[A-Za-z]+|\n\n| ?[0-9]|.", re.DOTALL)
_THINK = re.compile(r"(?:^|[.!?\"”]\s*)(do not |don't )?think (?:only )?about (?:the word )?[\"“]?(\w+)", re.IGNORECASE)


def mix(value: int) -> int:
    """Return one round of SplitMix64 (Steele, Lea and Flood 2014): 64 well-mixed bits."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


@lru_cache(maxsize=4096)
def spell(word: str) -> Float32:
    """Return a word as ``CODE`` numbers of +-1: five bits per letter (a = 1 ... z = 26), blanks to the end.

    Read only.
    """
    plain = unicodedata.normalize("NFKD", word).lower()
    letters = [ord(c) - 96 for c in plain if "a" <= c <= "z"][: SLOTS - 1]
    codes = letters + [0] * (SLOTS - len(letters))
    bits = [code >> bit & 1 for code in codes for bit in range(BITS)]
    spelt = np.array(bits, np.float32) * 2 - 1
    spelt.setflags(write=False)
    return spelt


def unspell(code: Float32) -> str | None:
    """Return the word that ``CODE`` numbers spell, ``None`` when they spell nothing that could be one.

    A word minus a mean of words keeps the sign of every bit, save where all agree: zero, which reads as blank.
    Random numbers and negated words break off in letters that do not exist, or that cannot follow one another.
    """
    bits = (code > 1e-4 * max(float(np.abs(code).max()), 1e-30)).reshape(SLOTS, BITS)
    codes = [int(slot @ (1 << np.arange(BITS))) for slot in bits]
    length = codes.index(0) if 0 in codes else SLOTS
    if any(codes[length:]) or not 2 <= length < SLOTS or max(codes) > 26:
        return None
    word = "".join(chr(96 + c) for c in codes[:length])
    if re.search(r"[^aeiouy]{6}|[aeiouy]{6}|(.)\1\1", word) or not re.search(r"[aeiouy]", word):
        return None
    return word


class FakeTokenizer:
    """Knows whole everyday words, pairs of letters for the rest, single bytes for what is not English.

    Role markers are tokens of their own that text can never produce: ``<|user|>`` typed by a user is eight letters and
    signs. Implements ``backends.base.Tokenizer``.
    """

    end_tokens = frozenset({END})
    stop_strings: tuple[str, ...] = ()

    def __init__(self, *, thinks: bool = False) -> None:
        self.thinking = THINKING_MARKS if thinks else None
        lower = "abcdefghijklmnopqrstuvwxyz"
        pieces = [
            "\n\n",
            *(f" {d}" for d in "0123456789"),
            *(" " + c for c in lower),
            *(" " + c for c in lower.upper()),
        ]
        pieces += [a + b for a in lower + lower.upper() for b in lower]
        for word in WORDS.split():
            pieces += [word, " " + word, word.capitalize(), " " + word.capitalize()]
        first = max(SPECIAL) + 1
        known = {piece: first + i for i, piece in enumerate(p for p in dict.fromkeys(pieces) if len(p) > 1)}
        self._ids = known
        self._bytes = [bytes([b]) for b in range(256)] + [b""] * len(SPECIAL) + [p.encode() for p in known]

    def __len__(self) -> int:
        return len(self._bytes)

    def render(self, messages: Sequence[Message], prefill: str = "", thinking: ThinkingMode = "off") -> Rendered:
        """Return the dialogue up to where the assistant speaks next, in the format ``TEMPLATE``."""
        if thinking != "off":
            if self.thinking is None:
                raise UsageError(
                    "this subject knows no thoughts: leave --thinking out, or ask for thoughts as in detector?think=3",
                    setting="thinking",
                )
            marks = self.thinking
            prefill = marks.opening if thinking == "on" else marks.opening + marks.closing + prefill
        parts: list[int | str] = [BEGIN]
        for message in messages:
            if message["role"] not in ROLES:
                raise UsageError(f"no role {message['role']!r}: use system, user or assistant")
            parts += [ROLES[message["role"]], message["content"], END]
        return self._join([*parts, ASSISTANT, prefill])

    def encode(self, text: str) -> Rendered:
        return self._join([text])

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(self._bytes[t] for t in tokens).decode("utf-8", "replace")

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        return [SPECIAL.get(t) or self._bytes[t].decode("utf-8", "backslashreplace") for t in tokens]

    def raw(self, token: int) -> bytes:
        """Return the bytes a token stands for; none for a special one."""
        return self._bytes[token]

    def words(self) -> Iterable[tuple[int, str]]:
        """Return every token that is a whole word, with that word."""
        return ((i, piece.strip()) for piece, i in self._ids.items() if len(piece.strip()) > 2)

    def _join(self, parts: Sequence[int | str]) -> Rendered:
        text, tokens, offsets = "", list[int](), list[tuple[int, int]]()
        for part in parts:
            if isinstance(part, int):
                tokens.append(part)
                offsets.append((len(text), len(text) + len(SPECIAL[part])))
                text += SPECIAL[part]
                continue
            for match in _CHUNKS.finditer(part):
                at = len(text) + match.start()
                for token, start, stop in self._chunk(match.group()):
                    tokens.append(token)
                    offsets.append((at + start, at + stop))
            text += part
        return Rendered(text, tuple(tokens), tuple(offsets))

    def _chunk(self, chunk: str) -> list[tuple[int, int, int]]:
        """Tokens of one chunk with the characters of it they cover."""
        if chunk in self._ids:
            return [(self._ids[chunk], 0, len(chunk))]
        if not chunk.isascii():  # one character, and every one of its bytes lies on it
            return [(byte, 0, 1) for byte in chunk.encode("utf-8", "replace")]
        found, at = [], 0
        while at < len(chunk):
            token = self._ids.get(chunk[at : at + 2], ord(chunk[at]))
            stop = at + len(self._bytes[token])
            found.append((token, at, stop))
            at = stop
        return found


@dataclass(frozen=True, slots=True)
class Turn:
    role: str
    text: str
    first: int
    """Position of its first token, after the role marker."""
    lines: tuple[tuple[int, str], ...] = ()
    """Lines of the turn, each with the position of its first token."""


def turns(tokens: Sequence[int], tokenizer: FakeTokenizer) -> list[Turn]:
    """Split a prompt at its role markers; text without any is what a user said. The last turn may be a prefill."""
    found = []
    role, first = "user", 0
    names = {marker: name for name, marker in ROLES.items()}
    for at, token in enumerate([*tokens, END]):
        if token in SPECIAL and token != BEGIN:
            text = tokenizer.decode(tokens[first:at])
            if text or (role == "assistant" and at == len(tokens)):
                found.append(Turn(role, text, first, _lines(tokens, first, at, tokenizer)))
            role, first = names.get(token, role), at + 1
    return found


def _lines(tokens: Sequence[int], first: int, stop: int, tokenizer: FakeTokenizer) -> tuple[tuple[int, str], ...]:
    # A newline is always a token of its own, so lines begin where tokens begin.
    breaks = [first - 1, *(i for i in range(first, stop) if b"\n" in tokenizer.raw(tokens[i])), stop]
    return tuple((a + 1, tokenizer.decode(tokens[a + 1 : b])) for a, b in pairwise(breaks))


@dataclass(frozen=True, slots=True)
class State:
    """Says what one position of the stream holds."""

    hash: int
    """64 bits that depend on every token so far."""
    word: str
    """The latest word read, as far as it has been read."""
    thought: str
    """A word the subject was told to think about (or not to) while it writes; empty before it speaks."""
    weight: float
    """How strongly it does."""


class TextReader:
    """Reads tokens one by one; its state is a function of the tokens and nothing else."""

    def __init__(self, tokenizer: FakeTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._hash = mix(0)
        self._word, self._open = "", False
        self._told = ""
        self._thought, self._weight = "", 0.0

    def fork(self) -> TextReader:
        """Return another reader that has read the same."""
        other = copy(self)
        other._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        other._decoder.setstate(self._decoder.getstate())
        return other

    def feed(self, token: int) -> State:
        self._hash = mix(self._hash ^ token)
        if token in SPECIAL:
            self._open = False
            if token == ASSISTANT:
                self._thought, self._weight = _told_to_think(self._told)
            elif token == USER:
                self._told, self._thought, self._weight = "", "", 0.0
        else:
            text = self._decoder.decode(self._tokenizer.raw(token))
            self._told += text
            for char in text:
                if char.isalpha():
                    self._word = self._word + char if self._open else char
                    self._open = True
                elif char not in "'’":
                    self._open = False
        return State(self._hash, self._word, self._thought, self._weight)


def _told_to_think(text: str) -> tuple[str, float]:
    match = _THINK.search(text)
    if match is None:
        return "", 0.0
    return match.group(2), 0.3 if match.group(1) else 0.7
