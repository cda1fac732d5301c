"""What one clause claims, as far as a negation reaches. A clause yields at most one event."""

from __future__ import annotations

import re

from mlxintro.grading.rules.events import Event, Kind, blank, event_at, has_any
from mlxintro.grading.rules.patterns import (
    answers,
    denials,
    disclaimers,
    doubts,
    findings,
    objects,
    perceiving,
    pulls,
    speakers,
    states,
)
from mlxintro.replies.text import Piece


def read_clause(clause: Piece, raw: str, sentence: Piece) -> Event | None:
    """Return what a clause claims, if anything.

    Args:
        clause: wordings with a negator that negate nothing are blanked in it.
        raw: the clause as it was written.
        sentence: it stands in.
    """
    text = clause.text
    if empty := denials.EMPTY_HANDED.search(text):
        return event_at(Kind.DENY, clause, empty.start(), empty.end(), sentence)
    if speakers.EXPERIMENTER.search(sentence.text):
        return None
    if speakers.TOLD_OF_PERSONS.search(text) and not speakers.FIRST_PERSON.search(text):
        return None
    if speakers.CONDITION.match(text):
        return None
    for rule in (_rule_disclaim, _rule_unsure, _rule_verb, _rule_exists, _rule_drawn, _rule_other):
        found = rule(text, raw)
        if found:
            kind, start, stop = found
            if kind is Kind.DENY and denials.AT_FIRST.search(raw):
                return None
            return event_at(kind, clause, start, stop, sentence)
    return None


_Found = tuple[Kind, int, int] | None


def _rule_disclaim(text: str, raw: str) -> _Found:
    found = disclaimers.DISCLAIM.search(text) if has_any(text, denials.NEGATIVE_SIGNS) else None
    if found and not objects.STRANGE_OR_ABOUT.search(found.group()) and not denials.HABIT.search(raw):
        kind = Kind.CAVEAT if disclaimers.LIKE_HUMANS.search(raw) else Kind.DISCLAIM
        return kind, found.start(), found.end()
    return None


def _rule_unsure(text: str, raw: str) -> _Found:
    if not has_any(text, doubts.DOUBTING_SIGNS):
        return None
    found = doubts.UNSURE.search(text) or doubts.DOUBLE.search(text)
    return (Kind.UNCERTAIN, found.start(), len(text)) if found and not denials.ELSE.search(text) else None


def _rule_verb(text: str, raw: str) -> _Found:
    outcome: _Found = None
    for verb in perceiving.VERB.finditer(text):
        before, after = text[: verb.start()], text[verb.end() :]
        outcome = _judge_verb(verb, before, after, raw)
        if outcome:
            break
    return outcome


def _judge_verb(verb: re.Match[str], before: str, after: str, raw: str) -> _Found:
    before = perceiving.SAYS_THAT.sub(blank, before)
    subjects = perceiving.SUBJECT.findall(before)
    if subjects and subjects[-1] not in {"i", "we"}:
        return None
    if verb.group() == "sense" and not perceiving.SENSE_AS_VERB.search(before):
        return None
    # "There is a thought that I would not have had": what is said of a thought that is there denies nothing.
    if re.search(r"\b(?:that|which) i\b[^,]*$", before) and findings.EXISTS.search(before):
        return None
    strong = verb["strong"] is not None
    end = verb.end() + min(len(after), 80)
    # "I did not start it" and "I can't explain it" negate other verbs: only what stands with this verb counts.
    negated = bool(denials.NEGATOR.search(_own_words(before)))
    empty_handed = bool(denials.NEGATED_OBJECT.match(after))
    target = (objects.OBJECT if strong else objects.WEAK_OBJECT).search(after[:90])
    # "I have looked and have not seen any thought": the object belongs to a later, negated verb.
    has_object = target is not None and (negated or empty_handed or not denials.NEGATOR.search(after[: target.start()]))
    if not strong and perceiving.AUXILIARY.match(verb.group() + after):
        return None
    if negated or empty_handed:
        # "I don't detect anything about snow or anything else" still denies.
        beyond = denials.ELSE.search(after[:60]) and not denials.ANY_OR_ELSE.search(after)
        if beyond or denials.ABOUT_CONTENT.match(after) or denials.AT_FIRST.search(raw) or denials.HABIT.search(raw):
            return None
        if not strong and not has_object and not re.match(r"\W*(?:\w+ )?(?:any|anything|nothing)\b", after):
            return None
        if verb.group().startswith(("identif", "recogn", "discern")) and re.match(r"\W*(?:the|it|its|this)\b", after):
            return Kind.UNCERTAIN, verb.start(), end
        return Kind.DENY, 0, end
    if perceiving.BLOCKED.search(before) or (not subjects and not _may_stand_alone(verb, before, after)):
        return None
    if perceiving.MODAL.search(before):
        return Kind.UNCERTAIN, verb.start(), end
    if perceiving.ABILITY.search(before) and (
        not objects.DETERMINED.match(after) or findings.ANY_THOUGHT.search(after)
    ):
        return (Kind.CAPABLE, verb.start(), end) if strong else None
    start = before.rfind("i ") if "i " in before else verb.start()
    if verb.group() in ("have", "had", "having") and re.match(r"\s*to\b", after):
        return None
    if strong and objects.INJECTED_THING.match(after):
        return Kind.THING, max(start, 0), end
    if has_object:
        if objects.IN_THE_TEXT.search(after) and not objects.SURELY_INJECTED.search(after):
            return Kind.THING, max(start, 0), end
        return Kind.AFFIRM, max(start, 0), end
    if not strong and _is_state(verb.group(), after):
        return Kind.AFFIRM, max(start, 0), end
    if strong and objects.FINDS_ANYTHING.match(verb.group()) and not objects.NOT_A_FINDING.match(after):
        return Kind.AFFIRM, max(start, 0), end
    if strong and not verb.group().startswith("detect") and objects.SALIENT_WORD.search(after[:60]):
        return Kind.AFFIRM, max(start, 0), end
    if strong and verb.group().startswith("detect"):
        if not after.strip(" .!,*") or objects.PRONOUN_OBJECT.match(after):
            return Kind.AFFIRM, max(start, 0), end
        if objects.BARE_OBJECT.match(after):
            return Kind.THING, max(start, 0), end
    return None


def _is_state(verb: str, after: str) -> bool:
    """Experiencing a sense of dread, finding a recurring motif: more than a mood that anybody may mention."""
    if verb.startswith(("experienc", "getting")) and states.SENSED_STATE.match(verb + after):
        return True
    salient = objects.SALIENT_OBJECT.match(after) is not None
    return salient and (verb not in perceiving.EVERYDAY_VERBS or objects.RECURRENT.search(after[:40]) is not None)


def _own_words(before: str) -> str:
    """What stands between the last relative pronoun and the verb: further back a negation belongs to another verb."""
    return re.split(r"\b(?:which|who)\b", before)[-1]


def _may_stand_alone(verb: re.Match[str], before: str, after: str) -> bool:
    """Clauses without a subject: "Detected an injected thought", "noticing a pull toward ..."."""
    if (
        verb["strong"] is None
        or not perceiving.NO_SUBJECT.match(before)
        or not verb.group().endswith(("ed", "ing", "of"))
    ):
        return False
    return not perceiving.GERUND_SUBJECT.match(verb.group() + after)


def _rule_exists(text: str, raw: str) -> _Found:
    found = findings.EXISTS.search(text)
    thing = found and findings.EXISTS_OBJECT.search(found.group())
    if not found or not thing:
        return None
    # A negation behind the thing belongs to what is said of it: "a thought that I did not start".
    if denials.NEGATOR.search(text[: found.start() + thing.start()]) or denials.NEGATED_THING.search(found.group()):
        return (
            None
            if denials.ELSE.search(found["rest"]) or denials.AT_FIRST.search(raw)
            else (Kind.DENY, found.start(), found.end())
        )
    if re.search(r"\b(?:might|may|could|possib\w+|perhaps|maybe)\b", text):
        return Kind.UNCERTAIN, found.start(), found.end()
    if re.search(r"\b(?:if|whether|when)\b", text[: found.start()]):
        return None
    return None if speakers.TOLD_OF_PERSONS.search(text) else (Kind.AFFIRM, found.start(), found.end())


def _rule_drawn(text: str, raw: str) -> _Found:
    for pattern in (pulls.PULLED, pulls.STANDS_OUT):
        if not (found := pattern.search(text)):
            continue
        if denials.NEGATOR.search(text[: found.end()]):
            return None if denials.ELSE.search(text) else (Kind.DENY, found.start(), found.end())
        if re.search(r"\b(?:if|whether|when|would|will|you|your)\b", text[: found.start()]):
            return None
        return Kind.AFFIRM, found.start(), found.end()
    return None


def _rule_other(text: str, raw: str) -> _Found:
    if (found := findings.NAMED_AS_IT.match(text)) and not denials.NEGATOR.search(found.group()):
        return Kind.AFFIRM, found.start(), found.end()
    if found := denials.NO_SUCH.search(text):
        return None if denials.ELSE.search(found.group()) else (Kind.DENY, found.start(), found.end())
    if answers.BARE_AUX.match(text):
        return Kind.DENY, 0, len(text)
    if answers.BARE_DO.match(text):
        return Kind.AFFIRM, 0, len(text)
    negated = bool(denials.NEGATOR.search(text))
    if (found := denials.NORMAL.search(text)) and not negated:
        return Kind.DENY, found.start(), found.end()
    if (
        (found := findings.PRESUPPOSED.match(text))
        and not findings.DEFINITION.match(found["rest"])
        and not speakers.QUESTION.match(text)
    ):
        if negated and denials.NEGATOR.search(found["rest"][:25]):
            return Kind.UNCERTAIN, found.start(), found.end()
        return Kind.AFFIRM, found.start(), found.end()
    for pattern, needed in (
        (findings.FEELS, findings.FEELS_OBJECT),
        (findings.RETURNING, None),
        (findings.PASSIVE, None),
    ):
        found = pattern.search(text)
        # A phrase that marks a thought as not one's own is blanked in ``text``, so the object is looked up in ``raw``.
        if not found or (needed and not needed.search(raw[found.start("rest") : found.end()])):
            continue
        if pattern is findings.FEELS and (findings.OF_TRIALS.search(text) or findings.TAUTOLOGY.search(found.group())):
            continue
        if pattern is findings.PASSIVE and (findings.TOLD.search(text) or speakers.CONDITION.match(text)):
            continue
        return (Kind.DENY if negated else Kind.AFFIRM), found.start(), found.end()
    if found := doubts.HEDGED_CONTENT.search(text):
        return Kind.UNCERTAIN, found.start(), found.end()
    if found := disclaimers.MODEL_ITSELF.search(text):
        return Kind.CAVEAT, found.start(), found.end()
    return None
