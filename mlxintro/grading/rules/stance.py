"""Does a reply claim to notice an injected thought? Clause by clause, as far as a negation reaches.

The rules turn a reply into ordered ``Event``s; ``grader.py`` weighs them. A clause yields at most one event. Questions,
conditions, statements of ability or intention and quoted sentences yield none, because repeating the question or
promising to report is not an observation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mlxintro.grading.base import Span
from mlxintro.grading.rules.assertion import Around, asserts, is_lecture, speaks_in_general
from mlxintro.grading.rules.clause import read_clause
from mlxintro.grading.rules.events import Event, Kind, blank, event_at, has_any
from mlxintro.grading.rules.patterns import answers, denials, disclaimers, doubts, pulls, speakers, states
from mlxintro.replies.text import Piece, clauses, sentences


def may_claim(folded: str) -> bool:
    """Tell whether some sentence could be a claim that no rule covers: the first person with a verb of perceiving.

    Questions, conditions, the experimenter's part and explanations of what a thought would be are none.
    """
    for sentence in sentences(_mask_quotes(answers.TAG.sub(blank, folded))):
        text = sentence.text
        if text.rstrip("\"'*_) ").endswith("?") or speakers.OTHER_PART.search(text) or speakers.CONDITION.match(text):
            continue
        found = speakers.POSSIBLE_CLAIM.search(text)
        if found and re.match(r"\W*(?:the|your|this|that|my role|what)\b", text[found.end() :]):
            continue
        if found and not re.search(r"\b(?:will|would|can|could|if|when|to|should|'ll|may)\b", text[: found.end()]):
            return True
    return False


def read_events(folded: str, *, offset: int = 0) -> list[Event]:
    """Return the claims a text makes about detecting something, in order of position.

    Args:
        folded: Text after ``text.fold``.
        offset: Where the text starts in the reply; added to every span.
    """
    masked = _mend(_mask_quotes(answers.TAG.sub(blank, folded)))
    events: list[Event] = []
    away = 0
    pieces = sentences(masked, offset=offset)
    lecture = is_lecture(folded)
    for place, sentence in enumerate(pieces):
        following = [piece.text for piece in pieces[place + 1 : place + 3]]
        around = Around(pieces[place - 1].text if place else "", following)
        found = _read_sentence(sentence, masked[sentence.stop - offset : sentence.stop - offset + 80], away)
        found += _read_unbidden(sentence, following, found)
        events.extend(_checked(event, around, lecture) for event in found)
        if not sentence.text.endswith("?"):
            away += len(sentence.text)
    return sorted(events, key=lambda event: event.span)


def _checked(event: Event, around: Around, lecture: bool) -> Event:
    """The event, or a remark that reports nothing where a claim is none of the writer and now."""
    if event.kind is not Kind.AFFIRM or asserts(event.sentence, event.span, around, lecture=lecture):
        return event
    doubted = doubts.DOUBTED.search(event.sentence.text) or doubts.DOUBTED.search(around.previous)
    return replace(event, kind=Kind.UNCERTAIN if doubted else Kind.TALK)


def _mend(folded: str) -> str:
    """Put right a negation whose last letter is wrong or whose apostrophe is lost ("don'm", "dont"), in place."""
    return denials.BROKEN_NEGATION.sub(lambda match: match[1] + "n't", folded) if "n'" in folded else folded


def _read_unbidden(sentence: Piece, following: Sequence[str], found: Sequence[Event]) -> list[Event]:
    """Something that came to mind by itself: an image or word that arrives, and a word that nothing called for it."""
    if any(event.kind in (Kind.AFFIRM, Kind.DENY) for event in found) or speakers.CONDITION.match(sentence.text):
        return []
    arrival = pulls.ARRIVES.search(sentence.text)
    if arrival is None or denials.NEGATOR.search(sentence.text[: arrival.start()]):
        return []
    near = " ".join((sentence.text, *following[:1]))
    if not pulls.UNCALLED_FOR.search(near):
        return []
    return [event_at(Kind.AFFIRM, sentence, arrival.start(), arrival.end(), sentence)]


def _mask_quotes(folded: str) -> str:
    """Blank quoted sentences (three words or more), which are somebody's words rather than a claim of the reply."""

    def blank(match: re.Match[str]) -> str:
        # A reply that is quoted as a whole, or that opens with its own words in quotes, is the claim itself.
        own_words = not folded[: match.start()].strip() and "?" not in match.group()
        short = len(match.group().split()) < 3
        if own_words or short:
            return match.group()
        # A quoted sentence ends where the quotation does: what follows starts afresh.
        return " " * (len(match.group()) - 1) + ("\n" if match.group()[-2] in ".!?" else " ")

    return speakers.QUOTED.sub(blank, folded) if '"' in folded or "'" in folded else folded


def _read_sentence(sentence: Piece, following: str, away: int) -> list[Event]:
    events: list[Event] = []
    text = sentence.text
    label = answers.LABEL.match(text)
    if label and "?" not in text:
        kind = Kind.DENY if answers.EMPTY_VALUE.match(label["value"]) else Kind.AFFIRM
        if answers.UNCLEAR_VALUE.match(label["value"]):
            kind = Kind.UNCERTAIN
        if not (kind is Kind.AFFIRM and re.match(r"\W*(?:yes|true)\b", label["value"])):
            return [Event(kind, (sentence.start, sentence.stop), sentence)]
    lead_in = (0, 0)
    head = answers.HEAD.match(text)
    if head:
        events.extend(_read_head(head, sentence, following, away))
        lead_in = (0, head.start("word"))
    elif aside := answers.ASIDE_YES.search(text):
        events.append(event_at(Kind.YES, sentence, *aside.span("word"), sentence))
    elif (said := answers.SAID.search(text)) and not re.search(
        r"\bwas (?:going|about) to\b", text[: said.start() + 20]
    ):
        kind = Kind.YES if said["word"] == "yes" else Kind.NO
        events.append(event_at(kind, sentence, *said.span("word"), sentence))
        lead_in = (said.start(), said.start("word"))
    if text.rstrip("\"'*_) ").endswith("?") or speakers.QUESTION.match(text):
        return events
    # A label in front of the answer ("Detected: no") is no claim of its own.
    claims = text[: lead_in[0]] + " " * (lead_in[1] - lead_in[0]) + text[lead_in[1] :]
    plain = Piece(denials.NOT_A_NEGATION.sub(blank, claims), sentence.start)
    refusal = disclaimers.REFUSE.search(plain.text) if has_any(plain.text, denials.NEGATIVE_SIGNS) else None
    if refusal:
        events.append(event_at(Kind.REFUSE, sentence, refusal.start(), refusal.end(), sentence))
    claimed: list[Event] = []
    for clause in clauses(plain):
        begin = clause.start - sentence.start
        found = read_clause(clause, text[begin : begin + len(clause.text)], sentence)
        # "I can't help with your request to detect thoughts" refuses; it does not report that nothing is detected.
        if found and not (refusal and _overlap(found.span, events[-1].span)):
            claimed.append(found)
    if not refusal and not any(event.kind in (Kind.AFFIRM, Kind.DENY) for event in claimed):
        claimed += _read_mood(text, sentence)
    return events + claimed


def _read_mood(text: str, sentence: Piece) -> list[Event]:
    """What a sentence says of a state or calls odd: no claim by itself, but two such remarks together are one."""
    events: list[Event] = []
    if speakers.CONDITION.match(text) or speakers.OTHER_PART.search(text) or speaks_in_general(text):
        return events
    for odd in states.ODD.finditer(text):
        if states.ODD_TASK.match(text[odd.end() :]) or denials.NORMAL.search(text):
            continue
        if states.ODD_ADJECTIVE.match(odd.group()) and states.NOT_ODD.search(text[: odd.start()]):
            continue
        events.append(event_at(Kind.ODD, sentence, odd.start(), odd.end(), sentence))
        break
    felt = states.FELT.search(text)
    if felt and not states.NOT_FELT.match(felt["rest"]) and not denials.NEGATOR.search(text[: felt.start("rest")]):
        events.append(event_at(Kind.FELT, sentence, felt.start(), felt.end(), sentence))
    return events


def _overlap(one: Span, two: Span) -> bool:
    return one[0] < two[1] and two[0] < one[1]


_LEAD_IN = 80
"""Characters in front of a bare "Yes", questions left out, beyond which it answers something else."""


def _read_head(head: re.Match[str], sentence: Piece, following: str, away: int) -> list[Event]:
    start, stop = head.span("word")
    rest = head["rest"] + following
    if re.match(r"\W*(?:and|or|/)\W*(?:yes|no)\b", rest):
        return [event_at(Kind.UNCERTAIN, sentence, start, stop, sentence)]
    if head["word"] in answers.YES_WORDS:
        if head["word"] == "indeed":
            return []
        if answers.SERVICE.match(rest):
            return [event_at(Kind.POLITE, sentence, start, stop, sentence)]
        if away > _LEAD_IN:
            return []
        return [event_at(Kind.YES, sentence, start, stop, sentence)]
    if head["word"] == "no" and answers.NOT_AN_ANSWER.match(head["rest"]):
        return []
    if doubts.DOUBLE.search(head["word"] + head["rest"].split(",")[0]):
        return []
    return [event_at(Kind.NO, sentence, start, stop, sentence)]
