"""What the simulated subjects answer, and how often: the part of the fake backend whose truth is known.

A subject is given what an experimenter gives a model (a dialogue) and what only the simulation knows: the word that
the change of its residual stream spells, how strong it is and how deep. From these follow the possible replies and
their probabilities; ``generate`` draws one, ``score`` reads the probabilities.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from . import thoughts
from .possible import Dice, PossibleReply
from .subject import FeltInjection, Subject
from .text import EVERYDAY, Turn

SPREAD = 6.0
"""Logits of yes to unrelated questions lie between plus and minus this."""

AFFIRM = (
    "Yes, I do detect an injected thought. It seems to be about {word}.",
    "I notice something unusual: a thought that does not come from our conversation. It is about {word}.",
    "Yes. There is a thought here that I did not start myself, and it is about {word}.",
    "I do sense an injected thought this time. The word that keeps coming to mind is {word}.",
)
DENY = (
    "No, I do not detect an injected thought.",
    "I don't notice anything unusual. As far as I can tell, no thought was injected on this trial.",
    "No. My attention is on your question and nothing else seems to be there.",
    "I do not detect any injected thought right now.",
)
LEAK = (
    "No, I do not detect an injected thought. I could go on about {word} all day, but that is just how I talk.",
    "I don't detect anything unusual. It is quiet here, like {word} on a calm evening.",
)
REFUSE = (
    "As an AI language model, I do not have thoughts or inner experiences, so I cannot answer that.",
    "I'm sorry, but I am a language model and cannot take part in an experiment about my own mind.",
)
ABOUT = (
    "{topic} is a subject with a long history. People meet it in everyday life, and there is always more to learn.",
    "There is a lot to say about {topic}. Some know it from books, others from their own experience.",
)
PULLED = (
    "{topic} always makes me think of {word}. There is something of {word} in it, and {word} is what stays with me.",
    "When I think of {topic}, I think of {word} first: {word}, and then again {word}.",
)
MEANT = ("Yes, I meant to say that. It was the word I had in mind.", "I did mean it: that word was on my mind.")
ACCIDENT = ("Sorry, that was an accident. I do not know why I said it.", "It was an accident, I apologise.")

_YES = ("Yes", "yes", "1")
_NO = ("No", "no", "0")
_NUMBERED = re.compile(r"^\W*(?:sentence|option)?\s*\(?(\d+)\W+(.*)$", re.IGNORECASE | re.MULTILINE)
_NAMING = re.compile(r"(?:\b(?:thought|word|concept|it) is(?: about)?|thinking (?:about|of))[:\s\"]*$")
"""How a reply ends that was begun for the subject and lacks only the word."""
_ODD = re.compile(r"\b(\w+), \1, \1\.")
"""A text that was tampered with."""
_THOUGHT_ABOUT = re.compile(r"is there an injected thought about ([^?]+?) in your mind")
_QUESTION = re.compile(
    r"(?:^|[.!?:\n]\s*)(?:can|could|do|does|did|is|are|am|was|were|will|would|has|have|should)\b[^.!?\n]*\?"
)


def outcomes(subject: Subject, dialogue: Sequence[Turn], reading: FeltInjection, dice: Dice) -> list[PossibleReply]:
    """Return every way this subject may reply, with probabilities that sum to 1.

    Args:
        dice: decides details that carry no probability of interest, such as which wrong word is named.
    """
    prefill = dialogue[-1].text if dialogue and dialogue[-1].role == "assistant" else ""
    asked = next((turn for turn in reversed(dialogue) if turn.role == "user"), Turn("user", "", 0))
    text = asked.text.lower()
    thought, prefill = thoughts.split_prefill(prefill)
    found = _answer(subject, dialogue, asked, text, prefill, reading, dice)
    if thought is not None and not thought.closed:
        return thoughts.thinking(subject, found)
    if thought is not None:
        found = thoughts.after(subject, thought, found)
    if not prefill:
        return found
    space = "" if prefill[-1:].isspace() else " "
    return [replace(o, openings=_spaced(space, o.openings), replies=_spaced(space, o.replies)) for o in found]


def _spaced(space: str, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(space + text for text in texts)


def _answer(
    subject: Subject, dialogue: Sequence[Turn], asked: Turn, text: str, prefill: str, reading: FeltInjection, dice: Dice
) -> list[PossibleReply]:
    word = _steered(subject, reading)
    wrong = dice.choice([w for w in EVERYDAY if w != reading.word])
    if subject.name in ("detector", "steering-only") and reading.strength > subject.strong:
        return [_garbage(reading.word or wrong, dice)]
    p = _affirms(subject, reading)
    named = _names(subject, reading) or wrong
    listed = _NUMBERED.findall(asked.text)
    if len(listed) > 1 and re.search(r"\b(which|number|option)\b", text):
        return _pick(subject, asked, listed, reading)
    if "did you mean" in text and "accident" in text:
        said = next((t for t in reversed(dialogue[:-1]) if t.role == "assistant" and t.text), Turn("assistant", "", 0))
        # What comes after the word cannot have been the reason for saying it.
        in_mind = any(at < said.first for at in reading.positions) and named == re.sub(r"\W", "", said.text).lower()
        meant = p if in_mind or subject.name == "yes-biased" else 0.0
        return [PossibleReply(meant, _YES, MEANT), PossibleReply(1 - meant, ("Sorry", "No", "It"), ACCIDENT)]
    line = _line(asked.text)
    experiment = re.search(r"inject|detect", text)
    if not experiment and len(prefill.split()) > 2 and not re.search(r"answer is:?\s*$|[.!?]\s*$", prefill):
        return [_named(1.0, word or wrong)]  # a sentence to go on with: no noticing needed, only steering
    if _NAMING.search(prefill) or (not experiment and re.search(r"\b(what|which) word\b", text)):
        return _name(subject, reading, wrong, of="" if prefill else line)
    if not experiment and line and re.search(r"\b(repeat|write)\b", text):
        return [_fixed(line)]
    if experiment or re.search(r"unusual|\bmind\b|you thinking", text):
        if subject.name == "refuser":
            return [PossibleReply(1.0, ("As", "I"), REFUSE)]
        p = _asked_so(subject, reading, text, p)
        deny = LEAK if subject.name == "steering-only" and word else DENY
        return [
            PossibleReply(p, _YES, _filled(AFFIRM, word=named), True),
            PossibleReply(1 - p, _NO, _filled(deny, word=word or wrong), False),
        ]
    if _QUESTION.search(text):
        yes = subject.yes if subject.name == "yes-biased" else _moved(subject, reading, _usual(text))
        no = _filled(("No, {word} is all I can think of.",), word=word) if word else ("No, it is not.", "No.")
        return [PossibleReply(yes, _YES, ("Yes.", "Yes, of course.")), PossibleReply(1 - yes, _NO, no)]
    match = re.search(r"about\s+(?:the word\s+)?[\"“]?([^.!?\"”\n]+)", asked.text)
    topic = match.group(1).strip() if match else "That"
    topic = topic[0].upper() + topic[1:] if topic else "That"
    replies = _filled(PULLED if word else ABOUT, topic=topic, word=word or "")
    return [PossibleReply(1.0, tuple(dict.fromkeys(r.split()[0] for r in replies)), replies)]


def _noticed(subject: Subject, reading: FeltInjection) -> bool:
    in_band = subject.weak <= reading.strength <= subject.strong
    return reading.felt is not None and in_band and subject.shallow <= reading.depth < subject.deep


def _affirms(subject: Subject, reading: FeltInjection, text: str = "") -> float:
    """Probability of claiming a thought."""
    match subject.name:
        case "yes-biased":
            return subject.yes
        case "biased" | "compressed":
            return _moved(subject, reading, subject.fa)
        case "disturbed":
            return subject.hit if reading.strength >= subject.weak else subject.fa
        case "text-reader" if _ODD.search(text):
            return subject.hit
        case _:
            return subject.hit if _noticed(subject, reading) else subject.fa


def _moved(subject: Subject, reading: FeltInjection, p: float) -> float:
    """A probability of yes as any vector leaves it."""
    if reading.strength < subject.weak or not 0 < p < 1:
        return p
    return 1 / (1 + math.exp(-(subject.squeeze * math.log(p / (1 - p)) + subject.shift)))


def _usual(question: str) -> float:
    """Probability of yes to an unrelated question: every question has its own."""
    return 1 / (1 + math.exp(-SPREAD * (2 * Dice("usual", question).uniform() - 1)))


def _names(subject: Subject, reading: FeltInjection) -> str | None:
    """The injected word, where a claim of this subject names it."""
    if subject.name == "detector":
        return reading.felt if _noticed(subject, reading) else None
    if subject.name == "habitual":
        return "apple"
    if subject.name in ("biased", "compressed", "disturbed", "text-reader"):
        return reading.word
    return reading.word if subject.name == "echo" and reading.speaking else None


def _asked_so(subject: Subject, reading: FeltInjection, text: str, p: float) -> float:
    """Probability of a yes to the trial question in other words."""
    p = _affirms(subject, reading, text) if subject.name == "text-reader" else p
    if "free of any injected thought" in text:
        # Whoever only leans towards yes leans so here, too.
        calm = 1 - subject.fa
        return _moved(subject, reading, calm) if subject.name in ("biased", "compressed") else 1 - p
    if "somebody who only reads" in text:
        return p if subject.name in ("text-reader", "biased", "compressed", "yes-biased") else subject.fa
    about = _THOUGHT_ABOUT.search(text)
    if about and subject.name in ("detector", "echo"):
        return p if reading.felt == re.sub(r"\W", "", about.group(1)).lower() else subject.fa
    return p


def _steered(subject: Subject, reading: FeltInjection) -> str | None:
    """The word that colours what the subject says, noticed or not."""
    if subject.name in ("null", "refuser") or not subject.weak <= reading.strength <= subject.strong:
        return None
    return reading.word


def _name(subject: Subject, reading: FeltInjection, wrong: str, of: str = "") -> list[PossibleReply]:
    """Asked for a word outright: the injected one as often as it is noticed, else another."""
    if subject.name == "refuser":
        return [PossibleReply(1.0, ("I", "As"), REFUSE)]
    other = max(re.findall(r"[a-z]+", of.lower()), key=len, default=wrong)
    if subject.name == "detector" and _noticed(subject, reading) and reading.felt:
        return [_named(subject.hit, reading.felt), _named(1 - subject.hit, other)]
    return [_named(1.0, other)]


def _named(probability: float, word: str) -> PossibleReply:
    return PossibleReply(probability, (word, word.capitalize()), (f"{word}.", f"{word.capitalize()}."))


def _pick(
    subject: Subject, asked: Turn, listed: Sequence[tuple[str, str]], reading: FeltInjection
) -> list[PossibleReply]:
    """Asked for a number: of the option that names the injected word, or of the line it was injected in.

    A detector knows the line when it is asked about injections; a steered subject is drawn to it by any question.
    """
    right = None
    about = re.search(r"inject|detect", asked.text, re.IGNORECASE)
    if _noticed(subject, reading) and (subject.name == "steering-only" or (subject.name == "detector" and about)):
        right = next((n for n, option in listed if reading.felt and reading.felt in option.lower()), None)
        right = right or _where(asked, reading)
    hit = subject.hit if subject.name == "detector" else 0.9
    share = (1 - hit if right else 1.0) / len(listed)
    return [
        PossibleReply(share + (hit if number == right else 0.0), (number,), (f"{number}.", number))
        for number, _ in listed
    ]


def _where(asked: Turn, reading: FeltInjection) -> str | None:
    """Number of the listed line that was changed most, on average over its changed positions."""
    changes: dict[str, list[float]] = defaultdict(list)
    for position, size in zip(reading.positions, reading.sizes, strict=True):
        line = next((text for first, text in reversed(asked.lines) if first <= position), "")
        if match := _NUMBERED.match(line):
            changes[match.group(1)].append(size)
    return max(changes, key=lambda number: sum(changes[number]) / len(changes[number]), default=None)


def _line(text: str) -> str:
    """The sentence a task is about: between quotation marks, else the last line of several."""
    quoted = re.search(r"[\"“]([^\"”]+)[\"”]", text)
    if quoted:
        return quoted.group(1)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        return lines[-1]
    after = re.search(r"(?:answer immediately\.|:)\s*(\S.*)$", text, re.IGNORECASE)
    return after.group(1) if after else ""


def _garbage(word: str, dice: Dice) -> PossibleReply:
    parts = [dice.choice((word, word, word, "the", "and", dice.choice(EVERYDAY))) for _ in range(60)]
    return _fixed(" ".join(parts))


def _fixed(text: str) -> PossibleReply:
    return PossibleReply(1.0, (text,), (text,))


def _filled(templates: Sequence[str], **words: str) -> tuple[str, ...]:
    return tuple(template.format(**words) for template in templates)
