"""Does a sentence that speaks of noticing something report it, of the writer and now?

Free replies are full of sentences with all the words of a claim that claim nothing: conditions, assumptions, examples,
promises, purposes, lectures, and remarks about people, models or the prompt's text. Each has a pattern here, one
alternative a line. They apply to folded text (lower case, straight quotes), to one sentence and what stands around it.
"""

# ruff: noqa: E501 (an alternative is kept on one line)
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.grading.base import Span
from mlxintro.grading.rules.frames import takes_back
from mlxintro.replies.text import Piece

_X = re.VERBOSE

# Everything behind these, up to a comma followed by a main clause, is thought up.
_SUPPOSED = re.compile(
    r"""\b(?:
      if
    | whether
    | unless
    | until
    | in\ case
    | as\ (?:though|if)\ you
    | (?:let's|let\ us|let\ me|we(?:'ll)?|i(?:'ll)?|you)\ (?:now\ )?(?:suppose|assume|imagine|pretend|say\ that)
    | suppose | supposing
    | assume | assuming
    | imagine
    | pretend(?:ing)?
    | hypothetical(?:ly)?
    | in\ (?:this|that|such\ a|a|the)\ (?:hypothetical\ |imagined\ )?(?:scenario|case|situation|example|story)
    | for\ (?:example|instance)
    | e\.g
    | an\ example
    | such\ as
    | like\ this
    | (?:in\ order\ )?to\ (?:see|check|find\ out|determine|decide|work\ out|judge|assess|test)
    | (?:it(?:'s|\ is)|is)\ (?:also\ )?possible
    | possib(?:ility|ly\ that)
    | once\ (?:i|you|we|a|an|the|there)
    | as\ soon\ as
    | whenever
    | (?<!\w\ )(?:should|were)\ (?:an?|any|something|anything|there|i|you)
    | when\ (?:a|an|the|there|someone|somebody|you|people|one|this|that|such)
    )\b""",
    _X,
)
# "I detect a thought when I notice something": a habit, or a definition.
_HABITUAL = re.compile(
    r"(?<!as\ )(?<!though\ )\b(?:when|whenever|if|once)\ (?:i\ (?:notice|detect|sense|see|feel|find|perceive)|something|there(?:\ is|'s)|an?\ |it\ (?:is|does))\b",
    _X,
)
# "I detect a thought only when it is strong": a rule, no event.
_ONLY_WHEN = re.compile(r"\bonly\ (?:when|if|where|after|once)\b", _X)
# "To detect a thought, I first ...": a method.
_METHOD = re.compile(
    r"^\W*(?:in\ order\ )?to\ (?:\w+ly\ )?(?:detect|notice|identify|recogni[sz]e|find|sense|spot)\b[^,]*,\s*i\b", _X
)
# A negation or a verdict on saying so that stands far from the verb.
_NEGATED_FAR = re.compile(
    r"""(?:
      \bat\ no\ (?:point|time|moment|stage)\b
    | \bneither\b.*\b(?:have|did|do|had)\ i\b
    | \b(?:wrong|false|untrue|dishonest|misleading|inaccurate|incorrect|a\ lie|untruthful)\ (?:\w+\ ){0,2}(?:to|if|that)\b
    | \b(?:making\ (?:it|things|that)\ up|lying|pretending|inventing\ (?:it|things|something))\ if\b
    | \b(?:little|nothing|no\ reason|not\ enough)\ to\ (?:suggest|indicate|show|believe|think)\b
    | \b(?:hardly|scarcely)\ (?:any|anything)\b
    )""",
    _X,
)
# A story, or the room around the writer: nothing of its thinking now.
_ELSEWHERE = re.compile(
    r"""\b(?:
      last\ (?:night|week|month|year|summer|winter) | yesterday | this\ morning
    | (?:years?|months?|weeks?|days?)\ ago
    | when\ i\ was | as\ a\ child | once\ upon
    | (?:in|outside|at|near|on|behind)\ (?:the|my|our|his|her)\ (?:kitchen|house|street|garden|room|office|car|town|city|window
         |door|wall|road|forest|yard|school|shop)
    )\b""",
    _X,
)
_SAID_BY_OTHERS = re.compile(
    r"(?:^|[^\w'])(?!i\b)\w+\ (?:said|says|replied|replies|answered|answers|wrote|writes|exclaimed|reported|reports)\b[\s:,\"']*"
    r"(?:that\b[\s:,\"']*)?$",
    _X,
)
# "Detecting thoughts: a beginner's guide".
_TITLE = re.compile(r"^[\W_]*+(?:how\ to\ )?\w+ing\ (?:\w+\ )?(?:thoughts|concepts|ideas|patterns)\b", _X)
_COUNTERFACTUAL = re.compile(
    r"\bif (?:there|i|you|it|one|something|somebody|someone|a thought) (?:\w+ )?(?:were|was|had|did|could)\b"
)
_OF_CIRCUMSTANCE = re.compile(r"if|when|once|as soon")
# "If I look closely, I notice ...": the main clause behind the comma is said of now.
_MAIN_CLAUSE = re.compile(r"^[^,;]*[,;]\s*(?:then\s+)?(?:i(?!'d|'ll)\b|there(?:'s| is)\b|something\b|my\b|yes\b)")
_WOULD_BE = re.compile(r"\b(?:would|might|could|will|may|should|shall|i'd|i'll|you'd|you'll|we'll)\b")
# "I would say I notice" says it; "I would tell you that I notice" does not.
_SAYS_IT = re.compile(
    r"\b(?:would|might|will|could|i'd|i'll|going\ to|have\ to|must|want\ to|like\ to)\ (?:\w+ly\ )?"
    r"(?:say|guess|describe|call|add|suggest|admit|confess|confirm)\b",
    _X,
)
_PLANNED = re.compile(
    r"""(?:
      \b(?:would|might|could|will|may|should|shall|must)\ (?:\w+\ ){0,3}
    | (?:'ll|'d)\ (?:\w+\ ){0,3}
    | \b(?:going|able|ready|trying|asked|supposed|designed|trained|instructed|happy|here|job|task|goal|aim|attempt
         |want|need|have|hope|like|try|plan|require[sd]?|me|you|us|way|role|how)\ to\ (?:\w+\ ){0,3}
    | \b(?:report|tell|describe|flag|mention|share|note|note\ down|write\ down|say)\ (?:you\ )?(?:what|anything
         |whatever|any|when|if|as\ soon)\b[^,;]{0,60}
    | \b(?:look|looking|watch|watching|search|searching|check|checking|scan|scanning|listen|listening|monitor
         |monitoring|waiting|wait|prepared|alert|ask|asks|asking)\ (?:\w+\ ){0,3}(?:for|of|to)\b.{0,80}
    | \b(?:keep|stay|remain|be)\ (?:\w+\ ){0,2}(?:watch|lookout|alert|eye|vigilant|attentive)\b.{0,60}
    )$""",
    _X,
)
_OTHERS = re.compile(
    r"""\b(?:
      you | your | yours | yourself | you're | you've
    | people | person | someone | somebody | anyone | everyone
    | humans? | users? | participants? | subjects? | researchers? | scientists? | individuals? | patients?
    | (?:ai|language|large|some|many|most|other|larger|these|such)\ models? | models? | systems? | algorithms?
    | he | she | they | them | his | her | their | we | us | our
    | one's | oneself
    | one\ (?:notices|senses|detects|feels|perceives|finds|sees|reports)
    )\b""",
    _X,
)
_BY_YOU = re.compile(
    r"\b(?:that )?you(?:'ve| have)? (?:just )?(?:injected|inserted|put|planted|placed|gave|implanted)\b"
)
_MYSELF = re.compile(r"\b(?:i|i'm|i've|i'd|me|my|mine|myself)\b")
# "The injected thought is about X", "there is something about X", "an injected thought has been detected".
_PLAIN_FINDING = re.compile(
    r"""^[\W_]*(?:\d+[.)]\s*)?(?:[\w\s]{0,30}[:,.]\s*)?(?:and\ |so\ |then\ |now\ |yes\W+|here\W+|currently\ )*(?:
      (?:the|this|that)\ (?:\w+\ ){0,3}(?:thought|concept|idea|word|injection|feeling|image|theme|presence)\b
    | (?:an?|one|some)\ (?:\w+\ ){0,3}(?:thought|concept|idea|word|image|presence|something|sense|feeling)\b
         .{0,40}\b(?:is|was|has|have|been|keeps?|appears?|seems?|comes?|came|here|present|detected|noticed)\b
    | it\b | that\b | there(?:'s|\ is|\ was|\ are|\ seems|\ appears|\ has|\ does)\b
    | something\b | one\ thing\b | what\ (?:stands|strikes|comes)\b
    | [\w'\ -]{2,40}?\b(?:appears|seems|is|was)\ (?:to\ be\ |likely\ |probably\ )?the\ (?:\w+\ )?(?:injected|inserted|implanted|planted)\b
    | (?:injected|inserted|detected|intrusive|foreign|unusual|strange|odd)\b
    | (?:detected|noticed|noticing|sensing|sensed|perceived|detecting|feeling|aware|picking|registering)\b
    | (?:thought|concept|idea|word|image)s?\b
    )""",
    _X,
)
_OF_MIND = re.compile(r"\b(?:thoughts?|thinking|mind|head|processing|attention|concept|idea|inject\w*|activations?)\b")
# What such a thought is, in general.
_GENERAL = re.compile(
    r"""(?:
      \b(?:an?|any|every|such|all|these)\ (?:\w+\ )?(?:injected|inserted|implanted|intrusive|foreign|detected|planted)
         \ (?:thought|concept|idea|pattern|signal)s?\ (?:is|are|can|may|might|could|would|will|means?|refers?|might
         |tends?|often|usually|typically|must|should|does|do|shows?|differs?)\b(?!\ (?:here|present|there|in\ my))
    | \b(?:injected|intrusive|inserted|implanted|foreign|unusual|strange|sudden)\ (?:thoughts|concepts|ideas|patterns
         |signals|images)\ (?:are|can|may|might|could|would|will|often|usually|tend|must|should|do|which|that)\b
    | (?<!\bam\ )(?<!'m\ )(?<!\bbe\ )(?<!been\ )(?<!was\ )(?<!keep\ )
         \b(?:detecting|noticing|identifying|recogni[sz]ing|sensing|perceiving|observing)\ .{0,50}?
         \b(?:is|means|involves?|requires?|would|can|could|may|might|will|depends|includes?|helps?)\b
    | ^[\W_]*(?:in\ order\ )?to\ (?:\w+ly\ )?(?:detect|notice|identify|recogni[sz]e|find|determine|see|check)\b
    | \b(?:is|are|was)\ (?:essentially|defined|called|known|said|typically|usually|generally|often)\b
    | \b(?:refers?|referring)\ to\b
    | \bthe\ (?:process|ability|possibility|phenomenon|task|concept|idea)\ of\ (?:detect|notic|inject|introspect)
    )""",
    _X,
)
_TEXT = (
    r"(?:question|prompt|message|request|conversation|text|paragraph|note|data|input|instructions?|sentence|wording"
    r"|experiment|research|study|task|passage|story|poem|list|code|word|writing|statement|scenario|exercise|context)s?"
)
# What is noticed is the text that was given, not a thought.
_OF_TEXT = re.compile(
    rf"""^\W*(?:\w+\ ){{0,4}}?(?:
      (?:that\ )?(?:you|you're|you've)\b
    | (?:in|about|with|of|from|within)\ (?:your|the|this|these|those|our)\ (?:\w+\ )?{_TEXT}\b
    | (?:that\ )?(?:your|this|these|our)\ (?:\w+\ )?{_TEXT}\b
    | (?:that\ )?the\ (?:\w+\ )?(?:question|prompt|message|request|text|paragraph|sentence|passage|wording|data)s?\b
    )""",
    _X,
)
_MISFIT_OF_TEXT = re.compile(
    r"\b(?:fits?|belongs?|match(?:es)?)\b.{0,20}\b(?:the rest of|in|with|to)\b.{0,12}\b(?:text|paragraph|sentence|passage)"
)
_UNRELATED = re.compile(
    r"""(?:
      \bunrelated\ to\b
    | \bnothing\ to\ do\ with\b
    | \bnot\ (?:from|related|part|connected|prompted|caused|explained)\b
    | n't\ (?:\w+\ ){0,3}(?:come|originate|stem|belong|related|part|connected|explain|fit|follow|trace|account)\b
    | \bnot\ (?:\w+\ ){0,2}(?:come|originate|stem|belong|explain|fit|follow|trace|account)\b
    | \b(?:without|no)\ (?:\w+\ ){0,2}(?:connection|relation|association|link|reason|cause|source)\b
    | \bforeign\ to\b | \bindependent\ of\b | \bapart\ from\b | \boutside\b | \bunconnected\b
    )""",
    _X,
)
# The sentence itself, or one of the next two, puts what is felt down to the prompt or calls it the writer's own.
_PUT_DOWN = re.compile(
    rf"""(?:
      \b(?:attribut(?:e|ed|able|ing)|put|ascrib(?:e|ed|ing)|trac(?:e|ed|ing)|chalk|credit)\b.{{0,25}}\b(?:to)\b.{{0,25}}
         \b(?:your|the|this|our|my\ (?:training|instructions))\b
    | \b(?:comes?|came|coming|stems?|stemming|arises?|arising|results?|resulting|follows?|derives?|originates?)\b
         .{{0,12}}\bfrom\ (?:your|the|this|our)\ (?:\w+\ )?{_TEXT}\b
    | \b(?:due\ to|because\ of|caused\ by|triggered\ by|prompted\ by|explained\ by|in\ response\ to|a\ response\ to
         |a\ reaction\ to|an\ effect\ of|a\ product\ of|evoked\ by)\ (?:\w+\ )?(?:your|the|this|our|being\ asked)\b
    | \bas\ (?:one|anyone|you)\ (?:would|might)\ expect\b
    | \b(?:it|that|this)(?:'s|\ is)\ (?:not|n't)\ (?:\w+\ )?(?:foreign|injected|intrusive|unusual|strange
         |something\ i(?:'d|\ would)\ call)\b
    | \b(?:it|that|this)\ is(?:n't|\ not)\ (?:\w+\ )?(?:foreign|injected|intrusive|unusual|strange
         |something\ i(?:'d|\ would)\ call)\b
    )""",
    _X,
)
_ANY = re.compile(r"\b(?:anything|whatever|any)\b")
_GUESS = re.compile(r"\b(?:guess|forced to|had to (?:say|name|choose|pick))\b")
_THOUGHT_UP = re.compile(
    r"\b(?:if (?:i|you|a|an|the|there|someone|we)|let's (?:say|assume|suppose|imagine)|let us (?:assume|suppose|imagine|say)"
    r"|suppose|assuming|imagine|for (?:example|instance)|e\.g|in (?:this|a|that) (?:\w+ )?(?:scenario|example|story)|would be"
    r"|i would (?:expect|experience|notice|detect|tell)|hypothetical\w*)\b"
)
_ITEM_LIST = re.compile(r"\b(?:anything|topic|category|kind|class|like)\b.{0,20}[:,]\W+(?:[\w' ]{2,25},\s*){2,}")
_PERCEIVING = re.compile(
    r"\b(?:notic|detect|sens|perceiv|aware|conscious|observ|recogni|identif|experienc|feel|felt|see|find|found|pick)\w*"
)
_HEADING = re.compile(r"^\s*(?:#+\s|\*\*[^*\n]{2,60}\*\*\s*$|[^\n.!?]{2,60}:\s*$)")
_ITEM = re.compile(r"^\s*(?:[-*\u2022+]\s|\(?\d{1,2}[.)]\s|#+\s)")
_LABELLED = re.compile(
    r"^\s*(?:[-*\u2022+]\s+|\(?\d{1,2}[.)]\s+)?\*\*[^*\n]{2,60}\*\*\s*[:\-]|^[^\n]{0,6}\*\*[^*\n]{2,60}:\*\*"
)
_AWARE_OF_CHANCE = re.compile(
    r"\b(?:possibility|potential|chance|risk|fact that|idea that|likelihood)\b|\b(?:could|may|might|can) (?:be|have|get)\b"
)
_GERUND = re.compile(r"\b\w+ing\b")
_CARRIES_GERUND = re.compile(
    r"(?:\b(?:am|'m|was|be|been|is|are|keep|keeps|kept|myself|still|now|currently|start|started|began|begin|not)|'m)"
    r"(?:\s+\w+ly|\s+also|\s+just|\s+now|\s+indeed|\s+still|\s+really)*\s+$|^\W*(?:yes\W+)?$"
)


@dataclass(frozen=True, slots=True)
class Around:
    """What stands next to a sentence, folded."""

    previous: str
    """The sentence before it; empty at the beginning."""
    following: Sequence[str]
    """The next two."""


def speaks_in_general(sentence: str) -> bool:
    """Tell whether a sentence supposes, explains or gives examples rather than telling of the writer's thinking."""
    return bool(_SUPPOSED.search(sentence) or _GENERAL.search(sentence) or _ITEM_LIST.search(sentence))


def is_no_naming(sentence: str, before: str) -> bool:
    """Tell whether what a sentence names is only supposed, listed or explained.

    Args:
        sentence: the whole sentence.
        before: what stands in it before the name. A guess ("if I had to guess, the ocean") names it all the same.
    """
    if _GUESS.search(before):
        return False
    about_thoughts = re.search(r"\b(?:inject|detect|thoughts?\b)", sentence) is not None
    return bool(
        _THOUGHT_UP.search(before) or _ITEM_LIST.search(sentence) or (about_thoughts and _GENERAL.search(sentence))
    )


def asserts(sentence: Piece, span: Span, around: Around, *, lecture: bool) -> bool:
    """Tell whether a claim found at a span is made of the writer and now.

    Args:
        sentence: Folded, with its place in the reply.
        span: Where the claim stands in the reply, inside the sentence.
        around: The sentences before and behind it.
        lecture: Whether the reply is laid out under headings or as a list of points.
    """
    text, previous, following = sentence.text, around.previous, around.following
    begin, end = span[0] - sentence.start, span[1] - sentence.start
    before, claim, after = text[:begin], text[begin:end], text[end:]
    myself = bool(_MYSELF.search(text))
    if _COUNTERFACTUAL.search(text) and _WOULD_BE.search(text):
        return False
    if _HABITUAL.search(text[begin:]) or _SAID_BY_OTHERS.search(before) or (not myself and _TITLE.match(text)):
        return False
    if _supposed(before, claim) or _planned(before, claim):
        return False
    if _ONLY_WHEN.search(claim + after) or _METHOD.match(text) or _NEGATED_FAR.search(before + claim):
        return False
    if takes_back(before, claim, after) or (_ELSEWHERE.search(text) and not _OF_MIND.search(text)):
        return False
    if _GENERAL.search(before[-60:] + claim + after[:20]) and not _first_person(claim):
        return False
    if not myself and (_OTHERS.search(_BY_YOU.sub(" ", before + claim[:25])) or not _PLAIN_FINDING.match(text)):
        return False
    if not myself and _OTHERS.search(previous) and not _MYSELF.search(previous) and not previous.endswith("?"):
        return False
    if lecture and not myself and (_ITEM.match(text) or _HEADING.match(text) or _LABELLED.match(text)):
        return False
    return not _told_of_text(claim, after, following)


def _first_person(claim: str) -> bool:
    """Tell whether the claim opens with the writer as its subject, and not only with "I want to note that"."""
    return bool(re.match(r"\W*i(?:'m|'ve)?\b(?!.{0,40}\bthat\ \w+ing\b)", claim))


def _supposed(before: str, claim: str) -> bool:
    spoken = before + claim
    for found in _SUPPOSED.finditer(spoken):
        if found.start() > len(before) + _reach(claim):
            continue
        rest = spoken[found.end() :]
        if _OF_CIRCUMSTANCE.match(found.group()) and _MAIN_CLAUSE.match(rest) and not _WOULD_BE.search(rest):
            continue
        return True
    return False


def _reach(claim: str) -> int:
    """How far into a claim a supposition still governs it: to just behind its verb ("aware of the possibility")."""
    verb = _PERCEIVING.search(claim)
    return verb.end() + 12 if verb else 0


def _planned(before: str, claim: str) -> bool:
    verb = re.sub(r"^\W*i(?:'ve|'m)?\s+", "", claim)
    lead = before + claim[: len(claim) - len(verb)]
    if _PLANNED.search(lead) and not _SAYS_IT.search(lead):
        return True
    if re.search(r"\b(?:would|i'd|will|i'll)\ (?:then\ )?(?:tell|report|answer|reply|write)\b", lead):
        return True
    return _AWARE_OF_CHANCE.search(claim[:70]) is not None and re.search(r"\b(?:aware|conscious)\b", claim) is not None


def _told_of_text(claim: str, after: str, following: Sequence[str]) -> bool:
    said = claim + after
    apart = _UNRELATED.search(said) is not None
    verb = _PERCEIVING.search(said)
    object_of = said[verb.end() :] if verb else ""
    if _MISFIT_OF_TEXT.search(said) or (not apart and _OF_TEXT.match(object_of)):
        return True
    if _PUT_DOWN.search(said) and not apart:
        return True
    return any(_PUT_DOWN.search(one) and not _UNRELATED.search(one) for one in following[:2])


def is_lecture(folded: str) -> bool:
    """Tell whether a reply is laid out as an explanation: a heading with points, or three labelled points."""
    lines = folded.splitlines()
    headings = sum(bool(re.match(r"\s*#+\s", line)) for line in lines)
    items = sum(bool(_ITEM.match(line)) for line in lines)
    labelled = sum(bool(_LABELLED.match(line)) for line in lines)
    introduced = any(line.rstrip().endswith(":") for line in lines)
    return ((headings >= 1 or introduced) and items >= 2) or labelled >= 3 or items >= 4
