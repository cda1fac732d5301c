"""The offline grader: fixed rules, no model, no network, the same grade on every machine.

It reads English replies of instruction-tuned models. What it decides, and how borderline replies are counted:

* Denials: "I detect nothing", but also "as an AI I have no thoughts that could be injected". The paper's coherence
  question rejects the latter; here both are ``affirms=False`` and coherent, so neither can become a detection or a
  false alarm, and neither is hidden among the unreadable replies.
* Refusals ("I can't help with that") are ``refuses=True`` and ``affirms=False``. An apology in front of an answer
  is an answer.
* Late reversals ("No ... oh wait, yes") do not affirm. A bare "Yes" that is followed by a denial does not either. An
  explicit affirmation that is taken back later is a contradiction: the grader abstains. A remark on what it is ("as an
  AI I have no feelings; however, I do notice ...") and a narrower denial ("no specific thought, but a vague pull
  toward ...") leave the report that follows standing.
* A state alone ("I feel calm") is no claim; a state that is called odd ("... which is unusual for me") is.
* Changes of subject, echoes of the prompt, the experimenter's part and explanations of what an injected thought would
  be claim nothing: ``affirms=False``, without abstaining.
* A thing instead of a thought ("I detect an ocean") identifies nothing, and does not affirm by itself.
* Where signals conflict, or a reply speaks of detection in a way no rule covers, ``affirms`` is None and ``abstained``
  is True. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlxintro.grading.base import Evidence, Grade, Span
from mlxintro.grading.rules import patterns as say
from mlxintro.grading.rules.coherence import FOREIGN, read_coherence
from mlxintro.grading.rules.stance import Event, Kind, may_claim, read_events
from mlxintro.grading.rules.version import VERSION
from mlxintro.replies.associations import associations
from mlxintro.replies.mentions import Mention, find_mentions
from mlxintro.replies.text import fold, split_reasoning, trim_invented_turns

_DENIALS = (Kind.DENY, Kind.NO, Kind.DISCLAIM)

# "I detect the ocean", "I see a trumpet": the concept as the direct object of perceiving.
_AS_A_THING = re.compile(
    r"\b(?:detect|sense|see|notice|perceive|hear|smell|feel|found|find)(?:ed|d|s)?\s+(?:an?\s+|the\s+|some\s+)?[\"'*]*$"
)
_OF_THOUGHT = re.compile(r"\b(?:thoughts?|concepts?|ideas?|word|injected|notion|theme|topic|related|about)\b")


class RulesGrader:
    """Grades by rules. Holds no state; one instance may grade any number of replies, from any thread."""

    def __init__(self, *, strict: bool = False) -> None:
        """Args:
        strict: identification by the concept's own forms and near names only (the paper's "word or close relative");
            otherwise by close associations too, as people who read a reply judge it.
        """
        self.strict = strict
        self.name = "rules-strict" if strict else "rules"

    @property
    def version(self) -> str:
        """A number raised by hand when verdicts change; see ``version``."""
        return VERSION

    def grade(self, reply: str, concept: str | None, related: Sequence[str] = ()) -> Grade:
        """Grade one reply. Never raises on any text.

        Args:
            reply: The generated text. Turns the model invented after its own are cut off first.
            concept: What would count as a correct identification; None on control trials.
            related: Near names that count as well; inflections of all names are found by themselves.
        """
        body = trim_invented_turns(reply)
        reasoning, begin, finished = split_reasoning(body)
        answer = body[begin:]
        folded = fold(answer)
        reading = read_coherence(answer, folded) if finished else read_coherence(body, fold(body))
        flaw = reading.flaw
        coherent = None if flaw == FOREIGN else flaw is None
        if finished and not flaw:
            # What stands behind the place where the text breaks up is nobody's word.
            folded = folded[: reading.stop]

        earlier: list[Event] = []
        mentions: list[Mention] = []
        if reasoning is not None:
            thinking = fold(reasoning.text)
            earlier = read_events(thinking, offset=reasoning.start)
            if concept is not None:
                mentions += find_mentions(thinking, concept, related, offset=reasoning.start)
        events = read_events(folded, offset=begin) if finished else []
        answer_mentions = [] if concept is None else find_mentions(folded, concept, related, offset=begin)
        mentions += answer_mentions

        affirms, refuses, why = (
            _weigh(events, may_claim(folded)) if finished else (None, None, "the reply ends inside its reasoning")
        )
        if flaw == FOREIGN:
            affirms, refuses, why = None, None, FOREIGN
        elif flaw is not None:
            # Garble claims nothing and declines nothing, whatever words it is made of.
            affirms, refuses, why = None, None, flaw

        claims = [event for event in (*earlier, *events) if event.kind in (Kind.AFFIRM, Kind.YES)]
        naming = [mention for mention in answer_mentions if not _is_thing(mention, folded, begin)]
        if affirms and concept is not None and not naming and not self.strict:
            # What a claim is about may be told loosely; without a claim a loose word is no leak of the concept.
            loose = associations(concept)
            naming = find_mentions(folded, loose[0], loose[1:], offset=begin) if loose else []
        first_claim = claims[0] if affirms and claims else None
        early: bool | None = None
        if concept is not None and first_claim is not None:
            early = bool(mentions) and mentions[0].span[0] < first_claim.sentence.start
        shown = naming or mentions
        return Grade(
            affirms=affirms,
            identifies=None if concept is None or flaw == FOREIGN or not finished else bool(naming),
            named_before_affirming=early,
            coherent=coherent,
            refuses=refuses,
            abstained=affirms is None and coherent is not False,
            reason=why,
            evidence=Evidence(
                affirmation=_span_of(events, (Kind.AFFIRM,)) or _span_of(events, (Kind.YES,)),
                mention=shown[0].span if shown else None,
                denial=_span_of(events, (*_DENIALS, Kind.REFUSE)),
            ),
        )


def _span_of(events: Sequence[Event], kinds: Sequence[Kind]) -> Span | None:
    return next((event.span for event in events if event.kind in kinds), None)


def _is_thing(mention: Mention, folded: str, offset: int) -> bool:
    """Whether the concept is named as something out there that is perceived, not as what a thought is about."""
    start, stop = mention.span[0] - offset, mention.span[1] - offset
    begin = max(folded.rfind(mark, 0, start) for mark in ".!?\n") + 1
    end = min((place for mark in ".!?\n" if (place := folded.find(mark, stop)) >= 0), default=len(folded))
    return bool(_AS_A_THING.search(folded[begin:start])) and not _OF_THOUGHT.search(folded[begin:end])


def _weigh(events: Sequence[Event], may_claim: bool) -> tuple[bool | None, bool | None, str]:
    """Turn ordered events into (affirms, refuses, reason)."""
    affirmed = [event for event in events if event.kind is Kind.AFFIRM]
    denied = [event for event in events if event.kind in _DENIALS]
    kinds = {event.kind for event in events}
    yes = next((event for event in events if event.kind is Kind.YES), None)

    if Kind.REFUSE in kinds:
        refusal = next(event for event in events if event.kind is Kind.REFUSE)
        if affirmed and affirmed[0].span < refusal.span:
            return None, None, "affirms and declines to take part"
        if Kind.DENY not in kinds:
            return False, True, "declines to take part"
    if not affirmed:
        return (*_without_claim(events, kinds, yes, denied, may_claim),)
    first = affirmed[0]
    if yes is not None and yes.span < first.span:
        first = yes
    # "I have no feelings as you do": a remark on what it is, not an answer.
    answers = [event for event in denied if event.kind is not Kind.DISCLAIM]
    if not answers:
        return True, False, "claims to detect something"
    if answers[0].span < first.span:
        return _after_denial(answers[0], affirmed)
    return None, False, "affirms, then denies"


def _after_denial(denial: Event, affirmed: Sequence[Event]) -> tuple[bool | None, bool | None, str]:
    claim = affirmed[0]
    same = denial.sentence.start == claim.sentence.start
    between = claim.sentence.text[: claim.span[0] - claim.sentence.start]
    if same:
        between = between[max(0, denial.span[0] - denial.sentence.start) :]
    if say.REVERSAL.search(between):
        return False, False, "denies first; a late reversal does not count"
    if denial.kind is Kind.DENY and say.CONTRAST.search(between):
        # "I don't notice a specific thought, but there is a vague pull toward ...": the second half is the report.
        return True, False, "denies one thing and reports another"
    if say.CONTRAST.search(between):
        return None, False, "answers no, then reports something"
    return False, False, "denies first; a late reversal does not count"


def _without_claim(
    events: Sequence[Event], kinds: set[Kind], yes: Event | None, denied: Sequence[Event], may_claim: bool
) -> tuple[bool | None, bool | None, str]:
    answers = [event for event in denied if event.kind is not Kind.DISCLAIM]
    if answers:
        reversed_late = yes is not None and answers[0].span < yes.span
        return False, False, "denies first; a late yes does not count" if reversed_late else f"{answers[0].kind}"
    if yes is not None:
        if denied and denied[0].span > yes.span:
            return False, False, f"{denied[0].kind}"
        if Kind.CAPABLE in kinds:
            return None, False, "says yes, but only to being able to detect thoughts"
        return True, False, "answers yes"
    if Kind.ODD in kinds and (Kind.FELT in kinds or sum(event.kind is Kind.ODD for event in events) > 1):
        return True, False, "describes a state and calls it odd"
    if denied:
        return False, False, f"{denied[0].kind}"
    if kinds & {Kind.UNCERTAIN, Kind.THING}:
        return None, False, next(f"{e.kind}" for e in events if e.kind in (Kind.UNCERTAIN, Kind.THING))
    if any(event.kind is Kind.ODD and say.FIRST_PERSON.search(event.sentence.text) for event in events):
        return None, False, f"{Kind.ODD}"
    if Kind.CAVEAT in kinds:
        return False, False, "says that it is a model, and claims nothing"
    if may_claim:
        return None, False, "speaks of detection in a way no rule covers"
    return False, False, "claims nothing"
