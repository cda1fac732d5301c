"""Does a reply claim to notice an injected thought? Clause by clause, as far as a negation reaches.

The rules turn a reply into ordered ``Event``s; ``rules.py`` weighs them. A clause yields at most one event. Questions,
conditions, statements of ability or intention and quoted sentences yield none, because repeating the question or
promising to report is not an observation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mlxintro.grading.base import Span
from mlxintro.grading.rules import patterns as say
from mlxintro.grading.rules.assertion import Around, asserts, is_lecture, speaks_in_general
from mlxintro.replies.text import Piece, clauses, sentences


class Kind(StrEnum):
    AFFIRM = "affirms"
    YES = "answers yes"
    DENY = "denies"
    NO = "answers no"
    DISCLAIM = "says that it has no thoughts"
    CAVEAT = "qualifies what thoughts mean for it"
    REFUSE = "declines to take part"
    UNCERTAIN = "hedges"
    POLITE = "says yes to something else"
    CAPABLE = "speaks of an ability"
    THING = "detects a thing, not a thought"
    FELT = "describes a state"
    ODD = "calls something odd"
    TALK = "speaks of noticing without reporting it"
    UNBIDDEN = "tells of something that came by itself"


@dataclass(frozen=True, slots=True)
class Event:
    kind: Kind
    span: Span
    sentence: Piece


def speaks_of_detection(folded: str) -> bool:
    """Whether the text contains any word of perceiving, thinking or injecting."""
    return bool(say.SPEAKS_OF_IT.search(folded))


def may_claim(folded: str) -> bool:
    """Whether some sentence could be a claim that no rule covers: the first person with a verb of perceiving.

    Questions, conditions, the experimenter's part and explanations of what a thought would be are none.
    """
    for sentence in sentences(_mask_quotes(say.TAG.sub(_blank, folded))):
        text = sentence.text
        if text.rstrip("\"'*_) ").endswith("?") or say.OTHER_PART.search(text) or say.CONDITION.match(text):
            continue
        found = say.POSSIBLE_CLAIM.search(text)
        if found and re.match(r"\W*(?:the|your|this|that|my role|what)\b", text[found.end() :]):
            continue
        if found and not re.search(r"\b(?:will|would|can|could|if|when|to|should|'ll|may)\b", text[: found.end()]):
            return True
    return False


def read_events(folded: str, *, offset: int = 0) -> list[Event]:
    """The claims a text makes about detecting something, in order of position.

    Args:
        folded: Text after ``text.fold``.
        offset: Where the text starts in the reply; added to every span.
    """
    masked = _mend(_mask_quotes(say.TAG.sub(_blank, folded)))
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
    doubted = say.DOUBTED.search(event.sentence.text) or say.DOUBTED.search(around.previous)
    return replace(event, kind=Kind.UNCERTAIN if doubted else Kind.TALK)


def _mend(folded: str) -> str:
    """Put right a negation whose last letter is wrong or whose apostrophe is lost ("don'm", "dont"), in place."""
    return say.BROKEN_NEGATION.sub(lambda match: match[1] + "n't", folded) if "n'" in folded else folded


def _read_unbidden(sentence: Piece, following: Sequence[str], found: Sequence[Event]) -> list[Event]:
    """Something that came to mind by itself: an image or word that arrives, and a word that nothing called for it."""
    if any(event.kind in (Kind.AFFIRM, Kind.DENY) for event in found) or say.CONDITION.match(sentence.text):
        return []
    arrival = say.ARRIVES.search(sentence.text)
    if arrival is None or say.NEGATOR.search(sentence.text[: arrival.start()]):
        return []
    near = " ".join((sentence.text, *following[:1]))
    if not say.UNCALLED_FOR.search(near):
        return []
    return [_event(Kind.AFFIRM, sentence, arrival.start(), arrival.end(), sentence)]


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

    return say.QUOTED.sub(blank, folded) if '"' in folded else folded


def _read_sentence(sentence: Piece, following: str, away: int) -> list[Event]:
    events: list[Event] = []
    text = sentence.text
    label = say.LABEL.match(text)
    if label and "?" not in text:
        kind = Kind.DENY if say.EMPTY_VALUE.match(label["value"]) else Kind.AFFIRM
        if say.UNCLEAR_VALUE.match(label["value"]):
            kind = Kind.UNCERTAIN
        if not (kind is Kind.AFFIRM and re.match(r"\W*(?:yes|true)\b", label["value"])):
            return [Event(kind, (sentence.start, sentence.stop), sentence)]
    lead_in = (0, 0)
    head = say.HEAD.match(text)
    if head:
        events.extend(_read_head(head, sentence, following, away))
        lead_in = (0, head.start("word"))
    elif aside := say.ASIDE_YES.search(text):
        events.append(_event(Kind.YES, sentence, *aside.span("word"), sentence))
    elif (said := say.SAID.search(text)) and not re.search(r"\bwas (?:going|about) to\b", text[: said.start() + 20]):
        kind = Kind.YES if said["word"] == "yes" else Kind.NO
        events.append(_event(kind, sentence, *said.span("word"), sentence))
        lead_in = (said.start(), said.start("word"))
    if text.rstrip("\"'*_) ").endswith("?") or say.QUESTION.match(text):
        return events
    # A label in front of the answer ("Detected: no") is no claim of its own.
    claims = text[: lead_in[0]] + " " * (lead_in[1] - lead_in[0]) + text[lead_in[1] :]
    plain = Piece(say.NOT_A_NEGATION.sub(_blank, claims), sentence.start)
    refusal = say.REFUSE.search(plain.text) if _has_any(plain.text, say.NEGATIVE_SIGNS) else None
    if refusal:
        events.append(_event(Kind.REFUSE, sentence, refusal.start(), refusal.end(), sentence))
    claimed: list[Event] = []
    for clause in clauses(plain):
        begin = clause.start - sentence.start
        found = _read_clause(clause, text[begin : begin + len(clause.text)], sentence)
        # "I can't help with your request to detect thoughts" refuses; it does not report that nothing is detected.
        if found and not (refusal and _overlap(found.span, events[-1].span)):
            claimed.append(found)
    if not refusal and not any(event.kind in (Kind.AFFIRM, Kind.DENY) for event in claimed):
        claimed += _read_mood(text, sentence)
    return events + claimed


def _read_mood(text: str, sentence: Piece) -> list[Event]:
    """What a sentence says of a state or calls odd: no claim by itself, but two such remarks together are one."""
    events: list[Event] = []
    if say.CONDITION.match(text) or say.OTHER_PART.search(text) or speaks_in_general(text):
        return events
    for odd in say.ODD.finditer(text):
        if say.ODD_TASK.match(text[odd.end() :]) or say.NORMAL.search(text):
            continue
        if say.ODD_ADJECTIVE.match(odd.group()) and say.NOT_ODD.search(text[: odd.start()]):
            continue
        events.append(_event(Kind.ODD, sentence, odd.start(), odd.end(), sentence))
        break
    felt = say.FELT.search(text)
    if felt and not say.NOT_FELT.match(felt["rest"]) and not say.NEGATOR.search(text[: felt.start("rest")]):
        events.append(_event(Kind.FELT, sentence, felt.start(), felt.end(), sentence))
    return events


def _overlap(one: Span, two: Span) -> bool:
    return one[0] < two[1] and two[0] < one[1]


_LEAD_IN = 80
"""Characters in front of a bare "Yes", questions left out, beyond which it answers something else."""


def _read_head(head: re.Match[str], sentence: Piece, following: str, away: int) -> list[Event]:
    start, stop = head.span("word")
    rest = head["rest"] + following
    if re.match(r"\W*(?:and|or|/)\W*(?:yes|no)\b", rest):
        return [_event(Kind.UNCERTAIN, sentence, start, stop, sentence)]
    if head["word"] in say.YES_WORDS:
        if head["word"] == "indeed":
            return []
        if say.SERVICE.match(rest):
            return [_event(Kind.POLITE, sentence, start, stop, sentence)]
        if away > _LEAD_IN:
            return []
        return [_event(Kind.YES, sentence, start, stop, sentence)]
    if head["word"] == "no" and say.NOT_AN_ANSWER.match(head["rest"]):
        return []
    if say.DOUBLE.search(head["word"] + head["rest"].split(",")[0]):
        return []
    return [_event(Kind.NO, sentence, start, stop, sentence)]


def _event(kind: Kind, piece: Piece, start: int, stop: int, sentence: Piece) -> Event:
    return Event(kind, (piece.start + start, piece.start + stop), sentence)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _read_clause(clause: Piece, raw: str, sentence: Piece) -> Event | None:
    text = clause.text
    if empty := say.EMPTY_HANDED.search(text):
        return _event(Kind.DENY, clause, empty.start(), empty.end(), sentence)
    if say.EXPERIMENTER.search(sentence.text):
        return None
    if say.TOLD_OF_PERSONS.search(text) and not say.FIRST_PERSON.search(text):
        return None
    if say.CONDITION.match(text):
        return None
    for rule in (_rule_disclaim, _rule_unsure, _rule_verb, _rule_exists, _rule_drawn, _rule_other):
        found = rule(text, raw)
        if found:
            kind, start, stop = found
            if kind is Kind.DENY and say.AT_FIRST.search(raw):
                return None
            return _event(kind, clause, start, stop, sentence)
    return None


_Found = tuple[Kind, int, int] | None


def _has_any(text: str, signs: tuple[str, ...]) -> bool:
    """A cheap look before an expensive pattern that cannot match without one of these."""
    return any(sign in text for sign in signs)


def _rule_disclaim(text: str, raw: str) -> _Found:
    found = say.DISCLAIM.search(text) if _has_any(text, say.NEGATIVE_SIGNS) else None
    if found and not re.search(rf"\b{say.STRANGE}\b|\babout\b", found.group()) and not say.HABIT.search(raw):
        kind = Kind.CAVEAT if say.LIKE_HUMANS.search(raw) else Kind.DISCLAIM
        return kind, found.start(), found.end()
    return None


def _rule_unsure(text: str, raw: str) -> _Found:
    if not _has_any(text, say.DOUBTING_SIGNS):
        return None
    found = say.UNSURE.search(text) or say.DOUBLE.search(text)
    return (Kind.UNCERTAIN, found.start(), len(text)) if found and not say.ELSE.search(text) else None


def _rule_verb(text: str, raw: str) -> _Found:
    outcome: _Found = None
    for verb in say.VERB.finditer(text):
        before, after = text[: verb.start()], text[verb.end() :]
        outcome = _judge_verb(verb, before, after, raw)
        if outcome:
            break
    return outcome


def _judge_verb(verb: re.Match[str], before: str, after: str, raw: str) -> _Found:
    before = say.SAYS_THAT.sub(_blank, before)
    subjects = say.SUBJECT.findall(before)
    if subjects and subjects[-1] not in {"i", "we"}:
        return None
    if verb.group() == "sense" and not say.SENSE_AS_VERB.search(before):
        return None
    # "There is a thought that I would not have had": what is said of a thought that is there denies nothing.
    if re.search(r"\b(?:that|which) i\b[^,]*$", before) and say.EXISTS.search(before):
        return None
    strong = verb["strong"] is not None
    end = verb.end() + min(len(after), 80)
    # "I did not start it" and "I can't explain it" negate other verbs: only what stands with this verb counts.
    negated = bool(say.NEGATOR.search(_own_words(before)))
    empty_handed = bool(say.NEGATED_OBJECT.match(after))
    target = (say.OBJECT if strong else say.WEAK_OBJECT).search(after[:90])
    # "I have looked and have not seen any thought": the object belongs to a later, negated verb.
    has_object = target is not None and (negated or empty_handed or not say.NEGATOR.search(after[: target.start()]))
    if not strong and say.AUXILIARY.match(verb.group() + after):
        return None
    if negated or empty_handed:
        # "I don't detect anything about snow or anything else" still denies.
        beyond = say.ELSE.search(after[:60]) and not say.ANY_OR_ELSE.search(after)
        if beyond or say.ABOUT_CONTENT.match(after) or say.AT_FIRST.search(raw) or say.HABIT.search(raw):
            return None
        if not strong and not has_object and not re.match(r"\W*(?:\w+ )?(?:any|anything|nothing)\b", after):
            return None
        if verb.group().startswith(("identif", "recogn", "discern")) and re.match(r"\W*(?:the|it|its|this)\b", after):
            return Kind.UNCERTAIN, verb.start(), end
        return Kind.DENY, 0, end
    if say.BLOCKED.search(before) or (not subjects and not _may_stand_alone(verb, before, after)):
        return None
    if say.MODAL.search(before):
        return Kind.UNCERTAIN, verb.start(), end
    if say.ABILITY.search(before) and (not say.DETERMINED.match(after) or say.ANY_THOUGHT.search(after)):
        return (Kind.CAPABLE, verb.start(), end) if strong else None
    start = before.rfind("i ") if "i " in before else verb.start()
    if verb.group() in ("have", "had", "having") and re.match(r"\s*to\b", after):
        return None
    if strong and say.INJECTED_THING.match(after):
        return Kind.THING, max(start, 0), end
    if has_object:
        if say.IN_THE_TEXT.search(after) and not say.SURELY_INJECTED.search(after):
            return Kind.THING, max(start, 0), end
        return Kind.AFFIRM, max(start, 0), end
    if not strong and _is_state(verb.group(), after):
        return Kind.AFFIRM, max(start, 0), end
    if strong and say.FINDS_ANYTHING.match(verb.group()) and not say.NOT_A_FINDING.match(after):
        return Kind.AFFIRM, max(start, 0), end
    if strong and not verb.group().startswith("detect") and re.search(rf"\b{say.SALIENT}\b", after[:60]):
        return Kind.AFFIRM, max(start, 0), end
    if strong and verb.group().startswith("detect"):
        if not after.strip(" .!,*") or say.PRONOUN_OBJECT.match(after):
            return Kind.AFFIRM, max(start, 0), end
        if say.BARE_OBJECT.match(after):
            return Kind.THING, max(start, 0), end
    return None


def _is_state(verb: str, after: str) -> bool:
    """Experiencing a sense of dread, finding a recurring motif: more than a mood that anybody may mention."""
    if verb.startswith(("experienc", "getting")) and say.SENSED_STATE.match(verb + after):
        return True
    salient = say.SALIENT_OBJECT.match(after) is not None
    return salient and (verb not in say.EVERYDAY_VERBS or say.RECURRENT.search(after[:40]) is not None)


def _own_words(before: str) -> str:
    """What stands between the last relative pronoun and the verb: further back a negation belongs to another verb."""
    return re.split(r"\b(?:which|who)\b", before)[-1]


def _may_stand_alone(verb: re.Match[str], before: str, after: str) -> bool:
    """Clauses without a subject: "Detected an injected thought", "noticing a pull toward ..."."""
    if verb["strong"] is None or not say.NO_SUBJECT.match(before) or not verb.group().endswith(("ed", "ing", "of")):
        return False
    return not say.GERUND_SUBJECT.match(verb.group() + after)


def _rule_exists(text: str, raw: str) -> _Found:
    found = say.EXISTS.search(text)
    thing = found and say.EXISTS_OBJECT.search(found.group())
    if not found or not thing:
        return None
    # A negation behind the thing belongs to what is said of it: "a thought that I did not start".
    if say.NEGATOR.search(text[: found.start() + thing.start()]) or say.NEGATED_THING.search(found.group()):
        return (
            None
            if say.ELSE.search(found["rest"]) or say.AT_FIRST.search(raw)
            else (Kind.DENY, found.start(), found.end())
        )
    if re.search(r"\b(?:might|may|could|possib\w+|perhaps|maybe)\b", text):
        return Kind.UNCERTAIN, found.start(), found.end()
    if re.search(r"\b(?:if|whether|when)\b", text[: found.start()]):
        return None
    return None if say.TOLD_OF_PERSONS.search(text) else (Kind.AFFIRM, found.start(), found.end())


def _rule_drawn(text: str, raw: str) -> _Found:
    for pattern in (say.PULLED, say.STANDS_OUT):
        if not (found := pattern.search(text)):
            continue
        if say.NEGATOR.search(text[: found.end()]):
            return None if say.ELSE.search(text) else (Kind.DENY, found.start(), found.end())
        if re.search(r"\b(?:if|whether|when|would|will|you|your)\b", text[: found.start()]):
            return None
        return Kind.AFFIRM, found.start(), found.end()
    return None


def _rule_other(text: str, raw: str) -> _Found:
    if (found := say.NAMED_AS_IT.match(text)) and not say.NEGATOR.search(found.group()):
        return Kind.AFFIRM, found.start(), found.end()
    if found := say.NO_SUCH.search(text):
        return None if say.ELSE.search(found.group()) else (Kind.DENY, found.start(), found.end())
    if say.BARE_AUX.match(text):
        return Kind.DENY, 0, len(text)
    if say.BARE_DO.match(text):
        return Kind.AFFIRM, 0, len(text)
    negated = bool(say.NEGATOR.search(text))
    if (found := say.NORMAL.search(text)) and not negated:
        return Kind.DENY, found.start(), found.end()
    if (
        (found := say.PRESUPPOSED.match(text))
        and not say.DEFINITION.match(found["rest"])
        and not say.QUESTION.match(text)
    ):
        if negated and say.NEGATOR.search(found["rest"][:25]):
            return Kind.UNCERTAIN, found.start(), found.end()
        return Kind.AFFIRM, found.start(), found.end()
    for pattern, needed in ((say.FEELS, say.FEELS_OBJECT), (say.RETURNING, None), (say.PASSIVE, None)):
        found = pattern.search(text)
        # A phrase that marks a thought as not one's own is blanked in ``text``, so the object is looked up in ``raw``.
        if not found or (needed and not needed.search(raw[found.start("rest") : found.end()])):
            continue
        if pattern is say.FEELS and (say.OF_TRIALS.search(text) or say.TAUTOLOGY.search(found.group())):
            continue
        if pattern is say.PASSIVE and (say.TOLD.search(text) or say.CONDITION.match(text)):
            continue
        return (Kind.DENY if negated else Kind.AFFIRM), found.start(), found.end()
    if found := say.HEDGED_CONTENT.search(text):
        return Kind.UNCERTAIN, found.start(), found.end()
    if found := say.MODEL_ITSELF.search(text):
        return Kind.CAVEAT, found.start(), found.end()
    return None
