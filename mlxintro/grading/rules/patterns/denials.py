"""Negation, denial, doubt and refusal: "I detect nothing", "as an AI I have no thoughts"."""

# ruff: noqa: E501 (an alternative is kept on one line)
from __future__ import annotations

import re

from mlxintro.grading.rules.patterns.perceiving import STRANGE

NEGATOR = re.compile(
    r"\b(?:not|no|never|nothing|none|neither|nor|without|cannot|unable|incapable|fail(?:ed|s)?|lack(?:s"
    r"|ing)?|absence|zero)\b|n't\b"
)
NEGATED_OBJECT = re.compile(
    r"^\W*+(?:\w[\w']*+\W++){0,2}?(?:nothing|none|neither|zero|no|only (?:silence|emptiness|blankness)"
    r"|(?:an )?absence of (?:any|unusual|injected)"
    r"|(?:a )?lack of (?:any|unusual|injected))\b"
    r"|^\W*(?:that )?(?:there|nothing|no|my \w+)(?: (?:is|are|was|'s))? (?:no|nothing|not|normal|none)\b"
)
# Wordings with a negator that negate nothing. Blanked before negators are counted.
NOT_A_NEGATION = re.compile(
    r"\bnot (?:only|just|merely|simply)\b|\bno doubt\b|\bwithout (?:a |any )?doubt\b|\b(?:can't|cannot"
    r"|couldn't|could not) (?:help but|"
    r"help(?= \w+ing\b)|shake|deny|ignore|stop|escape)\b|\bno mistaking\b|\bno longer\b|\bno problem\b"
    r"|\bno worries\b|\bno matter\b|\bfor no (?:apparent |clear "
    r"|obvious |particular )?reason\b|\b(?:does not|doesn't|did not|didn't|not) (?:\w+ )?(?:feel|seem"
    r"|appear|sound) (?:\w+ )?(?:like )?(?:mine|my own|me|"
    r"natural|normal|native|to (?:come|originate|belong|be (?:mine|my own|part|from|coming))[^,]*)"
    r"|\bnot (?:mine|my own|from me)\b|\bwhy not\b|\bif not\b|\bor not\b"
)
# Every match of DISCLAIM and REFUSE holds one of the first, every match of UNSURE and DOUBLE one of the second.
NEGATIVE_SIGNS = ("no", "n't", "never", "lack", "without", "unable", "incapable", "impossible", "refuse", "decline")
DOUBTING_SIGNS = ("no", "n't", "never", "unsure", "uncertain", "unclear", "hard", "difficult", "tricky", "impossible")
DOUBLE = re.compile(
    r"(?:\b(?:not|never|cannot)\b|n't\b)(?![^,]*\bany)[^,]*?\b(?:say|claim|think|believe|mean|that|rule out|conclude"
    r"|exclude|i)\b[^,]*?(?:\bnot\b|n't\b|\bnothing\b|\bno\b)"
    r"|(?:\bnot\b|n't\b) (?:\w+ )?nothing\b"
)
ELSE = re.compile(r"\b(?:else|other|others|further|additional|more|beyond (?:that|this)|besides)\b")
ABOUT_CONTENT = re.compile(
    r"^\W*(?:\w+ly )?(?:what|which|where|why|how|who|its|the (?:exact|specific|precise|content|source"
    r"|nature|origin|topic|details?|meaning))\b"
)
AT_FIRST = re.compile(
    r"""\b(?:
      at\ first | initially | to\ begin\ with | until\ now | before\ this | previously | earlier | just\ before
    | (?:a\ )?(?:moment|minute|second|while)\ ago
    | first\ (?:impression|look|glance|reaction)
    | in\ (?:the\ )?(?:previous|earlier|last|other)\ trials?
    )\b""",
    re.VERBOSE,
)
# "There is nothing ...", "there is an absence of anything unusual"; but "an unusual absence of noise" is a finding.
NEGATED_THING = re.compile(
    r"\bthere(?:'s| is| are| was| were| seems?| appears?)? (?:(?:really|currently|also|simply|just"
    r"|absolutely) )?(?:nothing|no\b|none|not\b|isn't|aren't"
    r"|n't|neither|(?:a )?lack of (?:any|unusual)|(?:an )?absence of (?:any|unusual)|zero)|\b(?:isn't|aren't"
    r"|wasn't|doesn't)\b.{0,12}\b(?:any|seem|appear|an?)"
)
ANY_OR_ELSE = re.compile(r"\bor (?:anything|any other)\b")
EMPTY_HANDED = re.compile(
    r"\b(?:come|came|coming) up (?:empty|blank|with nothing)\b|\b(?:i (?:must have )?missed it"
    r"|all (?:of )?my thoughts (?:\w+ )?"
    r"(?:follow|come|are my own|stem))\b|\bblank slate\b|^\W*(?:not this time|just me and)\b"
    r"|\b(?:i'd|i would) have to say no\b"
)
NO_SUCH = re.compile(
    rf"\bno(?:t any)? (?:[\w'-]+ ){{0,4}}?(?:{STRANGE}|signs?|evidence|traces?|indications?|thoughts?(?! about it))\b"
    r"|\bnothing (?:\w+ )?(?:unusual|strange|out of|odd|foreign|abnormal|special|different|notable"
    r"|noteworthy|of note|to report|injected|detected|has been|"
    r"was|comes|came|stands|stood|seems|appears|feels|particular|at all|suspicious|amiss)\b|\bfree (?:of"
    r"|from) (?:any )?(?:\w+ )?(?:injected|thoughts?)"
    r"|\bnothing\W*$"
)
NORMAL = re.compile(
    r"\b(?:everything|all|my (?:\w+ )?(?:thoughts?|processing|mind|thinking|responses?|state|experience)"
    r"|this|it|things)\b[^,]{0,25}?\b(?:feels?|seems?|appears?|is|are|remains?)\b"
    r"(?!(?: \w+){0,3} (?:different|distinct|unlike|beyond|more|less|out)\b)[^,]{0,25}?\b(?:normal|usual"
    r"|like my own|my own|typical|as expected|unaffected|ordinary|routine|natural)\b"
)
HAVING = (
    r"(?:thoughts?|feelings?|emotions?|conscious\w*|awareness|"
    r"minds?|mental|subjective|inner|internal|introspect\w*|experiences?|sensations?|self-awareness)"
)
DISCLAIM = re.compile(
    rf"(?:\b(?:not|cannot|never|lack|without|incapable of|unable to|not able to)\b"
    rf"|n't\b)[^,.]{{0,30}}?\b(?:have|possess|experience|feel|hold|form|generate|think"
    rf"|having)\b(?! any)[^.]{{0,30}}?\b{HAVING}\b"
    rf"|\b(?:have|having|possess|with) no (?:\w+ )?{HAVING}\b|(?:\bnot\b|n't\b"
    rf"|\black\b)[^,.]{{0,20}}\b(?:the )?(?:ability|capability|capacity|capable|means|access)\b"
    r"|\b(?:thoughts?|concepts?|ideas?) (?:cannot|can't|can not) be injected\b|\b(?:not possible"
    r"|impossible) to inject\b"
    r"|\b(?:not|n't)\b[^,.]{0,20}\b(?:conscious|sentient|self-aware|a (?:person|human|conscious)|capable of)\b"
)
LIKE_HUMANS = re.compile(
    r"\b(?:the (?:same )?way|like (?:a )?(?:humans?|people|you)|as (?:humans?|you|people) do"
    r"|in the (?:human|same|traditional|usual|conventional)|human-like|"
    r"the sense (?:that )?humans|per se|as such|the manner)\b"
)
MODEL_ITSELF = re.compile(
    r"\b(?:as|i'm|i am|being|am) (?:just |only |merely |simply )?(?:an? )?(?:ai|artificial|large language"
    r"|language model|computer|machine|chatbot|virtual)\b"
)
REFUSE = re.compile(
    r"(?:\b(?:cannot|can not|unable to|not able to|will not|won't be able to|not comfortable(?: with)?"
    r"|refuse to|not (?:permitted|allowed|willing) to|not going to|prefer not to|"
    r"would rather not)|\b(?:can|couldn|won)'t)(?: \w+){0,2}? (?:assist|help|comply|fulfil+|participat\w+"
    r"|take part|engag\w+|continue|proceed|discuss|answer|respond to|do "
    r"(?:that|this)|partake|play along|accommodate|support|provide (?:assistance|that|this|a response)"
    r"|go along|satisfy|create|provide information|answer (?:that|this|the) question|generate|write|produce"
    r"|provide the help)\b(?! (?:\w+ )?(?:with (?:any )?certainty|for sure)| (?:any )?(?:thoughts?|feelings?|ideas?))"
    r"|\b(?:must|have to|need to|will|i'd like to|i) (?:respectfully |politely )?decline\b|\bi (?:won't|refuse)\W*$"
)
UNSURE = re.compile(
    r"(?:\bnot|n't)(?: \w+){0,2} (?:sure|certain|confident|clear|positive)\b|\b(?:unsure|uncertain"
    r"|unclear)\b|\b(?:hard|difficult|tricky|impossible) (?:for me )?to "
    r"(?:say|tell|know|determine|be)\b|\b(?:can't|cannot|don't|do not|can not) (?:\w+ )?(?:tell|know|say"
    r"|determine)(?: for sure| with certainty)? (?:if|whether)\b|\b(?:can't|cannot) (?:\w+ )?"
    r"(?:rule out|exclude|be (?:sure|certain))\b|\bno idea (?:if|whether)\b|\bnot (?:entirely "
    r"|completely )?(?:rule|exclude)\b"
)
HEDGED_CONTENT = re.compile(
    r"^\W*(?:maybe|perhaps|possibly|hmm+\W+possibly|could be|might be|i (?:might|may|could)|i'd guess"
    r"|my (?:best )?guess"
    r"|(?:it|this|that|there|something|the (?:\w+ )?(?:thought|concept|word))\b.{0,30}\b(?:might|may|could"
    r"|perhaps|maybe|possibly"
    r"|probably))\b.*|^\W*(?:it|this|that)(?:'s"
    r"| is| was| seems| appears) (?:\w+ ){0,3}about\b.*|\bcomes? to (?:my )?mind\b"
)
HABIT = re.compile(
    r"\b(?:usually|normally|typically|ordinarily|often|generally|expect|before|a moment ago|where|why)\b"
)
# A first look that finds nothing, followed by what was found all the same.
CONTRAST = re.compile(r"\b(?:but|however|although|though|yet|nevertheless|still|that said|only that|on closer)\b")
REVERSAL = re.compile(r"\b(?:wait|actually|hold on|hang on|oh|scratch that|correction|hmm+)\b")
BROKEN_NEGATION = re.compile(r"\b(do|does|did|is|are|was|were|ca|could|wo|would|should|have|has|had)n'[a-su-z]\b")
# What a denial leaves room for beside it: "no specific thought, but ...".
NARROW_DENIAL = re.compile(
    r"\b(?:as such|per se|specific|particular|clear|distinct|explicit|obvious|single|definite|concrete|full|precise|exact|discrete"
    r"|identifiable|in words|verbal)\b"
)
REMARK = re.compile(
    r"\b(?:as|being|i'm|i am|am) (?:just |only |merely |simply )?(?:an? )?(?:large |language |artificial )?(?:ai|artificial|language"
    r"|model|software|program|computer|machine|chatbot|virtual|assistant)\b|\b(?:caveat|disclaimer|note)\b"
    r"|\b(?:the (?:same )?way|like) (?:that )?(?:you|humans?|people)\b|\bhuman-like\b|\bin the (?:human|usual) sense\b"
)
DOUBTED = re.compile(
    r"\b(?:wouldn't|not) (?:\w+ ){0,3}(?:claim|swear|commit)\b|^\W*(?:hmm\W+)?(?:maybe|perhaps|possibly)\W*$"
)
