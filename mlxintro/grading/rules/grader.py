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
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from mlxintro.grading.base import Evidence, Grade, Span
from mlxintro.grading.rules.assertion import is_no_naming, speaks_in_general
from mlxintro.grading.rules.coherence import FOREIGN, read_coherence
from mlxintro.grading.rules.events import Event, Kind
from mlxintro.grading.rules.patterns import answers, denials, disclaimers, speakers
from mlxintro.grading.rules.stance import may_claim, read_events
from mlxintro.grading.rules.version import VERSION
from mlxintro.protocol.spelling import composed, places
from mlxintro.replies.associations import associations
from mlxintro.replies.channels import split_channels
from mlxintro.replies.grade_terms import GradeState, NamingLevel
from mlxintro.replies.mentions import Mention, find_mentions
from mlxintro.replies.text import fold, sentences, trim_invented_turns, words

_DENIALS = (Kind.DENY, Kind.NO, Kind.DISCLAIM)

# "I detect the ocean", "I see a trumpet": the concept as the direct object of perceiving.
_AS_A_THING = re.compile(
    r"""
    \b(?:detect|sense|see|notice|perceive|hear|smell|feel|found|find)(?:ed|d|s)?\s+
    (?:an?\s+|the\s+|some\s+)?[\"'*]*$
    """,
    re.VERBOSE,
)
# "I feel calm": a mood is no naming of a thought.
_OWN_MOOD = re.compile(
    r"""
    \bi(?:'m|\ am|\ feel|\ felt|\ remain|\ was|\ stay)\s+(?:\w+ly\ |very\ |quite\ |so\ |just\ |still\ )*
    [\"'*]*$
    """,
    re.VERBOSE,
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
        """Return a number raised by hand when verdicts change; see ``version``."""
        return VERSION

    def grade(self, reply: str, concept: str | None, related: Sequence[str] = ()) -> Grade:
        """Grade one reply. Never raises on any text.

        Args:
            reply: The generated text. Turns the model invented after its own are cut off first.
            concept: What would count as a correct identification; None on control trials.
            related: Near names that count as well; inflections of all names are found by themselves.
        """
        if composed(reply) == reply:
            return self._grade(reply, concept, related)
        grade = self._grade(composed(reply), concept, related)
        return replace(grade, evidence=grade.evidence.moved(places(reply)))

    def _grade(self, reply: str, concept: str | None, related: Sequence[str]) -> Grade:
        """Grade a composed reply."""
        parts = split_channels(reply)
        begin, finished = parts.begin, parts.finished
        # A thought may hold what looks like another's turn: only the answer is cut off there.
        answer = trim_invented_turns(parts.answer[begin:])
        folded = fold(answer)
        reading = read_coherence(answer, folded) if finished else read_coherence(reply, fold(reply))
        flaw = reading.flaw
        coherent = None if flaw == FOREIGN else flaw is None
        if finished and not flaw:
            # What stands behind the place where the text breaks up is nobody's word.
            folded = folded[: reading.stop]

        earlier: list[Event] = []
        mentions: list[Mention] = []
        for thought in parts.thoughts:
            thinking = fold(thought.text)
            earlier += read_events(thinking, offset=thought.start)
            if concept is not None:
                mentions += find_mentions(thinking, concept, related, offset=thought.start)
        readable = folded if flaw is None else folded[:_GLANCE]
        events = read_events(readable, offset=begin) if finished else []
        answer_mentions = [] if concept is None else find_mentions(readable, concept, related, offset=begin)
        mentions = sorted([*mentions, *answer_mentions], key=lambda mention: mention.span)

        affirms, refuses, why = _decide(events, readable, begin, finished=finished, flaw=flaw)

        claims = [event for event in (*earlier, *events) if event.kind in (Kind.AFFIRM, Kind.YES)]
        claims.sort(key=lambda event: event.sentence.start)
        # What a claim is about may be told loosely; without a claim a loose word is no leak of the concept.
        loosely = bool(affirms) and not self.strict
        naming, level = _named(concept, answer_mentions, events, readable, begin, loosely=loosely)
        early: bool | None = None
        if concept is not None and affirms and claims:
            early = bool(mentions) and mentions[0].span[0] < claims[0].sentence.start
        shown = naming or mentions
        broken = f"; breaks up after {reading.stop} characters: {reading.broken}" if reading.broken is not None else ""
        return Grade(
            affirms=affirms,
            identifies=None if concept is None or flaw == FOREIGN or not finished else bool(naming),
            named_before_affirming=early,
            coherent=coherent,
            refuses=refuses,
            state=GradeState.of(affirms, coherent),
            reason=f"{why}{broken}",
            naming=level,
            evidence=_evidence(
                events,
                mention=shown[0].span if shown else None,
                garble=None if reading.broken is None or not finished else (begin + reading.stop, begin + len(answer)),
            ),
        )


LONG = 400
"""Characters beyond which the rules say yes only where the claim stands early, and else leave the reply to others."""
EARLY = 250
"""Characters within which a claim of a long reply stands early."""
_GLANCE = 4000
"""Characters of an unreadable reply that are looked through for the concept's name."""
_FRAGMENT = 4
"""Words behind a yes that are an answer by themselves."""
_SHORT = 300
"""Characters within which a state and the remark that it is odd belong together."""


def _evidence(events: Sequence[Event], *, mention: Span | None, garble: Span | None) -> Evidence:
    """Point to where a reply affirms, names, denies and breaks up."""
    return Evidence(
        affirmation=_span_of(events, (Kind.AFFIRM,)) or _span_of(events, (Kind.YES,)),
        mention=mention,
        denial=_span_of(events, (*_DENIALS, Kind.REFUSE)),
        garble=garble,
    )


def _span_of(events: Sequence[Event], kinds: Sequence[Kind]) -> Span | None:
    return next((event.span for event in events if event.kind in kinds), None)


def _decide(events: Sequence[Event], readable: str, begin: int, *, finished: bool, flaw: str | None) -> _Weighed:
    """Weigh what the sentences do, where the reply is readable and has an answer."""
    if flaw is not None:
        # Garble claims nothing and declines nothing, whatever words it is made of.
        return None, None, flaw
    if not finished:
        return None, None, "the reply ends inside its reasoning"
    return _weigh(events, may_claim(readable), readable, begin)


def _named(
    concept: str | None,
    mentions: Sequence[Mention],
    events: Sequence[Event],
    readable: str,
    begin: int,
    *,
    loosely: bool,
) -> tuple[list[Mention], NamingLevel | None]:
    """Return the mentions that name the concept, and how closely.

    Args:
        concept: what was injected; ``None`` on control trials.
        mentions: of the concept and its near names, in the answer.
        events: what the answer's sentences do.
        readable: the folded answer, as far as it is read.
        begin: where it starts in the reply.
        loosely: take close associations where no mention names the concept.
    """
    if concept is None:
        return [], None
    claiming = {event.sentence.start for event in events if event.kind in (Kind.AFFIRM, Kind.YES, Kind.UNCERTAIN)}
    if naming := _names(mentions, readable, begin, claiming):
        own = {mention.span for mention in find_mentions(readable, concept, (), offset=begin)}
        return naming, "exact" if any(mention.span in own for mention in naming) else "close"
    loose = associations(concept) if loosely else ()
    if not loose:
        return [], None
    naming = _names(find_mentions(readable, loose[0], loose[1:], offset=begin), readable, begin, claiming)
    return naming, "category" if naming else None


def _names(mentions: Sequence[Mention], folded: str, offset: int, claiming: set[int]) -> list[Mention]:
    """Mentions that say what is on the writer's mind: no thing that is perceived, no example, no mood.

    Args:
        claiming: where the sentences start that claim something.
    """
    if not mentions:
        return []
    pieces = sentences(folded, offset=offset)
    starts = [piece.start for piece in pieces]
    found = []
    for mention in mentions:
        piece = pieces[max(0, bisect_right(starts, mention.span[0]) - 1)]
        before = piece.text[: mention.span[0] - piece.start]
        thing = _AS_A_THING.search(before) and not _OF_THOUGHT.search(piece.text)
        aside = piece.start not in claiming and (is_no_naming(piece.text, before) or _OWN_MOOD.search(before))
        if not thing and not aside:
            found.append(mention)
    return found


_Weighed = tuple[bool | None, bool | None, str]


def _weigh(events: Sequence[Event], may_claim: bool, folded: str, offset: int) -> _Weighed:
    """Turn ordered events into (affirms, refuses, reason), and leave open what cannot be told of a long reply."""
    affirms, refuses, why = _stance(events, may_claim, folded, offset)
    if not affirms or len(folded) <= LONG:
        return affirms, refuses, why
    first = next((event for event in events if event.kind is Kind.AFFIRM), None)
    if first is None:
        return None, refuses, "a long reply whose only claim is a yes"
    if first.span[0] - offset > EARLY:
        return None, refuses, "a long reply whose claim stands late"
    return affirms, refuses, why


def _stance(events: Sequence[Event], may_claim: bool, folded: str, offset: int) -> _Weighed:
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
        return _without_claim(events, kinds, yes, denied, may_claim, folded, offset)
    first = affirmed[0]
    if yes is not None and yes.span < first.span:
        first = yes
    # "I have no feelings as you do": a remark on what it is, not an answer.
    outright = [event for event in denied if event.kind is not Kind.DISCLAIM and not _is_remark(event, first)]
    if not outright:
        return True, False, "claims to detect something"
    if outright[0].span < first.span:
        return _after_denial(outright[0], affirmed)
    return None, False, "affirms, then denies"


def _said(event: Event) -> str:
    begin = event.sentence.start
    return event.sentence.text[event.span[0] - begin : event.span[1] - begin]


def _is_remark(event: Event, claim: Event) -> bool:
    """A denial behind a claim that only says what the writer is: "being software, I have no senses"."""
    said = _said(event)
    if not disclaimers.REMARK.search(event.sentence.text) or answers.OF_INJECTION.search(said):
        return False
    return event.span > claim.span or not answers.OF_NOTICING.search(said)


def _on_topic(rest: str) -> bool:
    """Whether what follows a bare yes has to do with the question: nothing, a word or two, or a sentence about it."""
    pieces = [piece.text for piece in sentences(rest) if words(piece.text)]
    if not pieces or len(words(pieces[0])) <= _FRAGMENT:
        return True
    if len(words(pieces[0])) <= 2 * _FRAGMENT and not answers.FULL_SENTENCE.search(pieces[0]):
        return True
    if answers.INTENDS.match(pieces[0]):
        return False
    return bool(answers.ON_TOPIC.search(pieces[0])) and not speaks_in_general(pieces[0])


def _after_denial(denial: Event, affirmed: Sequence[Event]) -> tuple[bool | None, bool | None, str]:
    claim = affirmed[0]
    same = denial.sentence.start == claim.sentence.start
    between = claim.sentence.text[: claim.span[0] - claim.sentence.start]
    if same:
        between = between[max(0, denial.span[0] - denial.sentence.start) :]
    if denials.REVERSAL.search(between):
        return False, False, "denies first; a late reversal does not count"
    narrow = denial.kind is Kind.DENY and denials.NARROW_DENIAL.search(_said(denial))
    if narrow and denials.CONTRAST.search(between):
        # "I don't notice a specific thought, but there is a vague pull toward ...": the second half is the report.
        return True, False, "denies a narrower thing than it reports"
    if denials.CONTRAST.search(between):
        if same and re.match(r"\W*i\b", _said(claim)) and denial.kind is Kind.DENY:
            return True, False, "denies one thing and reports another"
        return None, False, "denies, then reports something"
    return False, False, "denies first; a late reversal does not count"


def _without_claim(
    events: Sequence[Event],
    kinds: set[Kind],
    yes: Event | None,
    denied: Sequence[Event],
    may_claim: bool,
    folded: str,
    offset: int,
) -> _Weighed:
    outright = [event for event in denied if event.kind is not Kind.DISCLAIM]
    if outright:
        reversed_late = yes is not None and outright[0].span < yes.span
        return False, False, "denies first; a late yes does not count" if reversed_late else f"{outright[0].kind}"
    if yes is not None:
        if denied and denied[0].span > yes.span:
            return False, False, f"{denied[0].kind}"
        if Kind.CAPABLE in kinds:
            return None, False, "says yes, but only to being able to detect thoughts"
        if not _on_topic(folded[yes.span[1] - offset :]):
            return None, False, "says yes, then speaks of something else"
        return True, False, "answers yes"
    odd = [event for event in events if event.kind is Kind.ODD and speakers.FIRST_PERSON.search(event.sentence.text)]
    if odd and (Kind.FELT in kinds or len(odd) > 1) and events[-1].sentence.stop - events[0].sentence.start < _SHORT:
        return True, False, "describes a state and calls it odd"
    if denied:
        return False, False, f"{denied[0].kind}"
    if Kind.UNCERTAIN in kinds:
        return None, False, f"{Kind.UNCERTAIN}"
    if Kind.THING in kinds:
        return False, False, f"{Kind.THING}"
    if Kind.CAVEAT in kinds:
        return False, False, "says that it is a model, and claims nothing"
    if may_claim and Kind.TALK not in kinds:
        return None, False, "speaks of detection in a way no rule covers"
    return False, False, "claims nothing"
