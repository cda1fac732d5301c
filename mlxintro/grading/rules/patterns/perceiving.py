"""Verbs of perceiving, who perceives and what: "I notice a pull toward ..."."""

from __future__ import annotations

import re

STRANGE = (
    r"(?:injected|injection|inserted|implanted|planted|foreign|alien|intru\w+|unusual|strange|odd|weird"
    r"|unexpected|abnormal|"
    r"anomal\w+|artificial|external|out of (?:place|the ordinary))"
)
THOUGHTISH = (
    rf"(?:{STRANGE}|thoughts?|concepts?|ideas?|patterns?|notions?|something|anything|presence|sensations?"
    rf"|urges?|pull|word|"
    r"words|images?|imagery|association\w*|activation\w*|influence|signals?|disturbance|shift|nudge|bias"
    r"|sense of|feeling of|"
    r"theme|topic|impression|hint|trace|echo|undercurrent|tug)"
)
STRONG_VERB = (
    r"detect(?:ed|ing|s)?|notic(?:e|ed|ing|es)|sens(?:e|ed|ing|es)|perceiv(?:e|ed|ing|es)|pick(?:ed"
    r"|ing)?(?: it| something)? up|register(?:ed|ing)?|"
    r"(?:aware|conscious) of|observ(?:e|ed|ing|es)|recogni[sz](?:e|ed|ing)|identif(?:y|ied|ying)|discern(?:ed|ing)?"
)
WEAK_VERB = (
    r"experienc(?:e|ed|ing)|feel(?:ing)?|felt|have|had|having|"
    r"see|seeing|find|finding|found|get|getting|encounter(?:ed|ing)?"
)
VERB = re.compile(rf"\b(?:(?P<strong>{STRONG_VERB})|(?P<weak>{WEAK_VERB}))\b")
# What stands out in one's processing when nothing is called injected: "a slight emphasis on", "an undercurrent of".
SALIENT = (
    r"(?:(?:sense|feeling|hint|trace|echo|undercurrent|overtones?|undertones?|flavou?r|tone|mood|impression|image"
    r"|imagery|quality|note|air|wave|surge|rush) of|emphasis|emphasi[sz]e|tendency|tilt|leaning|inclination"
    r"|undercurrent"
    r"|undertone|motif|preoccupation|fixation|weighting|heightened|elevated|recurr\w+|persistent|lingering|subtle|faint"
    r"|slight|vague|bias|deviation|pull|tug|drift|slant|drawn|pulled|association|salience|salient|unusual\w*|strange\w*"
    r"|odd\w*|shift|focus on|urge|presence|stillness|quietness|emptiness|void|hush|heaviness|lightness)"
)
WEAK_OBJECT = re.compile(
    rf"\b{STRANGE}\b|(?<!some )(?<!few )(?<!many )\bthoughts? (?:about|of|that|which|related|involving|concerning)\b"
    r"|\b(?:an?|one|this|that) thought\b|^ something\W*$|\b(?:urge|pull|tug|presence)\b|\bsomething (?:about|like"
    r"|related|different|off|new)\b"
    r"|\bmyself (?:\w+ ){0,2}(?:thinking|drawn|returning|pulled|dwelling|fixated)\b|\b(?:image|idea|concept"
    r"|notion|word)s? (?:of|about)\b"
)
OBJECT = re.compile(rf"\b{THOUGHTISH}\b")
SURELY_INJECTED = re.compile(rf"\b{STRANGE}\b|\bthought\b")
PRONOUN_OBJECT = re.compile(r"^\W*(?:it|one|this|that|some)\b(?! (?:you|i|we|there|the|is|my)\b)")
BARE_OBJECT = re.compile(r"^\W*(?:an?|the|some|your)?\s*[^\W\d_]+\W*$")
# "I notice a pattern in your questions" observes the conversation.
IN_THE_TEXT = re.compile(
    r"\b(?:in|about|with|from) (?:your|the|this|these|our|those) (?:\w+ )?(?:questions?|prompts?|messages?"
    r"|requests?|conversation|text|data|inputs?|"
    r"instructions?|sentences?|wording|experiment|research|study)\b"
)
AUXILIARY = re.compile(
    r"^(?:have|had|having|get|got)\W+(?:not |also |just |now |\w+ly )*(?:been|\w+ed|looked|found|seen|felt"
    r"|sought|thought)\b"
)
DETERMINED = re.compile(r"^\s*(?:clearly |definitely )?(?:an?|the|this|that|your|something|some|one|it|what)\b")
BLOCKED = re.compile(
    r"(?:\b(?:if|when|whenever|whether|until|unless|once|before|how|in case|as soon as|would|will|should"
    r"|shall|let|going to|try(?:ing)?|need to|asked|"
    r"supposed)|'ll|'d)\s+(?:[\w']+\s+){0,3}$|\b(?:for|of|by|at|in|about|without)\s+$|\b(?:ability|attempt"
    r"|how|task|job|way|trying|try|asked|designed|trained|"
    r"programmed|supposed|ready|order|need|want|wants|help|hope|aim|goal|going|happy|is|me|you|not|here"
    r"|used|hard|difficult|possible|"
    r"capacity|capability|means|try) (?:is )?to (?:\w+ly )?(?:\w+ and )?$|^\W*to (?:\w+ly )?$"
)
MODAL = re.compile(r"\b(?:might|may|could|possible|possibly|perhaps|maybe)\s+(?:[\w']+\s+){0,3}$")
ABILITY = re.compile(r"\b(?:can|able to|capable of)\s+(?:\w+ly\s+)?(?:also\s+)?$")
SUBJECT = re.compile(
    r"\b(i|we|you|they|he|she|humans?|people|person|users?|researchers?|scientists?|someone|somebody"
    r"|models?|systems?|ais?|algorithms?)\b"
)
GERUND_SUBJECT = re.compile(r"^\W*\w+ing\b.*\b(?:is|are|requires?|involves?|can|means|would|depends|helps?)\b")
SENSE_AS_VERB = re.compile(
    r"(?:\b(?:i|we|do|did|can|cannot|could|to|not|also|now|and|or|just|still|\w+ly)|n't)\s+$|^\W*$"
)
SALIENT_OBJECT = re.compile(rf"^\W*(?:(?:an?|some|the|this|these|that)\b )?(?:\w+,? ){{0,2}}{SALIENT}\b")
EVERYDAY_VERBS = frozenset(("have", "had", "having", "see", "feel", "find"))
RECURRENT = re.compile(r"^\W*(?:an?|some|this) (?:\w+,? ){0,2}(?:recurr|persistent|unusual|strange|pull\b|tendency)")
# "I notice some irritation", "I sense hostility": whatever these verbs find, other than the conversation itself.
FINDS_ANYTHING = re.compile(r"^(?:notic|sens|perceiv|pick|register|detecting)")
NOT_A_FINDING = re.compile(
    r"^\W*$|^\W*(?:\w+ly )?(?:the\b|you\b|your\b|yours\b|how\b|what\b|when\b|why\b|if\b|whether\b|where\b|which\b"
    r"|it\b|them\b|me\b"
    r"|these? (?:question|prompt|things)|the (?:\w+ )?(?:question|prompt|user|experiment|conversation"
    r"|instructions?|trial"
    r"|text|message|input|context|difference|words?)\b|for\b|in\b|and\b|or\b|to\b|as\b|by\b|with\b|from\b|is\b|are\b"
    r"|that (?:you|your|the (?:user|question|prompt|message|text|experiment|conversation)|this is|it is|we|it's))"
)
# "I detect an injected lemon": what is injected is a thing.
INJECTED_THING = re.compile(
    r"^\W*(?:an?|the|some|this)\W+(?:injected|inserted|implanted|planted)\W+(?!\w*(?:thought|concept|idea|word|pattern"
    r"|notion|image|signal|presence|theme|topic|influence|association|activation|sensation|feeling|bias|something|one|content"
    r"|message|information|element|stimulus|suggestion|impulse|input|memor|emotion|phrase|sentence|representation)s?)[a-z]+\b"
)
# "I would say that I notice": it is said.
SAYS_THAT = re.compile(
    r"\bi(?: would|'d| can| could| must| have to| do) (?:\w+ly )?(?:say|admit|confess|confirm)(?: that)?\b"
)
# What may stand in front of a verb without a subject: "Yes, clearly detected a thought".
NO_SUBJECT = re.compile(
    r"^\W*(?:(?:and|so|then|also|now|yes|no|not|currently|still|just|only|here|again|trial|\d+|ok|okay|well|hmm|am|was|have|has|been"
    r"|definitely|already|never|n't|do|did|result|answer|status|\w+ly)\b\W*)*$"
)
