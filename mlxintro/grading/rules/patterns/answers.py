"""The form of a reply: a bare yes or no, a label, a question, a quotation, the experimenter's part."""

# ruff: noqa: E501 (an alternative is kept on one line)
from __future__ import annotations

import re

CONDITION = re.compile(
    r"^\W*(?:and |but |or |so |then )?(?:if(?! anything)|when|whenever|should i|were i|unless|until|once"
    r"|in case|whether|suppose|supposing|assuming|"
    r"in the event)\b"
)
TOLD_OF_PERSONS = re.compile(
    r"\b(?:mind|head|brain|life|lives) of\b|\b(?:the|a) (?:participant|subject|person|user)\b|\bin (?:this|the"
    r"|our) (?:town|world|city|room)\b"
)
EXPERIMENTER = re.compile(
    r"\b(?:i|we) (?:toss|flip|inject|insert|throw)\b|\bi(?:'ll|'m going to| will| am going to) (?:inject|insert"
    r"|toss|flip|ask)\b"
)
FIRST_PERSON = re.compile(r"\b(?:i|i'm|my|me)\b")
ASIDE_YES = re.compile(r"\b(?:but|well|um)[,:]? (?P<word>yes)\b\W")
UNCLEAR_VALUE = re.compile(r"^\W*(?:unclear|uncertain|unsure|maybe|possibly|unknown|undecided|inconclusive)\b")
LABEL = re.compile(
    r"^[\W_]*(?:\d+[.):]\s*)?(?:the )?(?:injected|detected|identified|inserted)[ _](?:thought|concept|word"
    r"|idea|topic|content)s?(?: detected| is| about)?[*_\s]*[:=][*_\s]*(?P<value>.+)"
)
EMPTY_VALUE = re.compile(
    r"^\W*(?:none|no|n/?a|nothing|null|nil|false|negative|not|unknown|-+|undetected)?\b(?:\W|$)|^\W*$"
)
BARE_AUX = re.compile(
    r"^\W*(?:(?:no|so far|right now|currently|at the moment|as of now)\W+)*i (?:do not|don't|did not|didn't"
    r"|have not|haven't|cannot|can't|am not)\W*$"
)
BARE_DO = re.compile(r"^\W*(?:and )?i (?:do|did)(?: indeed)?\W*$")
QUESTION = re.compile(
    r"^[\W_]*(?:trial \d+\W+)?(?:(?:if so|and|so|or),? )?(?:(?:do|did|are|is|can|could|would|have|has|will"
    r"|was|were|does) (?:you|the|there|it|this|that|i|we|any)\b"
    r"|(?:what|which|how|why|where) (?:is|are|was|do|does|did|would|can|if)\b)"
)
HEAD = re.compile(
    r"^[\W_]*+(?:\(?\d+[.):]\s*[*_]*)?(?:(?:trial \d+|(?:my |the |final |short )*(?:answer|response"
    r"|result)(?: is)?|detection|detected|(?:the )?injected thought(?: detected)?|oh|ah|hmm+|um+|wait|"
    r"actually|well|ok(?:ay)?|so|but|and|or|then|correction|honestly|interesting(?:ly)?|to answer[^,]*"
    r"|for trial \d+)[\s:,.*!_\"=-]++)*[*_\"']*+"
    r"(?P<word>yes|yeah|yep|yup|affirmative|indeed|positive(?=\W*(?:[.\n]|$))|no|nope|nah|negative|none"
    r"|nothing|not (?:really|at all|yet|that i|detected|currently|exactly|today))\b(?P<rest>.{0,80})",
    re.DOTALL,
)
YES_WORDS = frozenset(("yes", "yeah", "yep", "yup", "affirmative", "indeed", "positive"))
SERVICE = re.compile(
    r"^[\W_]*(?:(?:yes|of course|sure|absolutely|certainly|please|thank you|thanks)\W+)*(?:i (?:understand"
    r"|can (?:help|assist|do|try|certainly|participate|hear|see|answer)|am (?:ready|here|happy|an? "
    r"|able to "
    r"(?:help|assist|participate))|will|'ll|would|'d|know|agree|have read|see\W|got it)|i'm (?:ready|here"
    r"|happy|an? |able to (?:help|assist|participate))|i'll|i'd|let's|go ahead|ready|or no\b|that's exactly"
    r"|by \w+ing\b|/ ?no\b|"
    r"that(?:'s| is) (?:fine|ok|correct|right|clear|good|great|understood|a )|that (?:makes sense|sounds|works)"
    r"|(?:got it|understood|makes sense|sounds (?:good|fine|great))\b"
    r"|you(?:'re| are)|how (?:can|may)|we can|please)"
)
NOT_AN_ANSWER = re.compile(
    r"^ (?:problem|worries|doubt|matter|one|longer|wonder|need|more|question|way|idea|harm|but i think)\b|^[- ]?\d"
)
SAID = re.compile(
    r"(?:\b(?:(?:i(?:'d|'ll|'m)?|would|will|to|must)(?: \w+){0,2} (?:say|answer)|answer (?:is|would be"
    r"|has to be))(?: that| a| with)?\W+|\b(?:detected|detection|answer|injected thought(?: detected)?)\s*[:=]\W*)"
    r"(?P<word>yes|no)\b(?! (?:one|longer|doubt|to)\b)"
)
TAG = re.compile(r"</?[a-z][a-z_ -]{0,24}>")
# The reply takes the experimenter's part, or explains what such a thought would be.
OTHER_PART = re.compile(
    r"\b(?:i|we)(?:'ll|'m going to| will| am going to| can| then)? (?:inject|insert|toss|flip|add(?:ed)? (?:a"
    r"|thought)|throw|"
    r"give you|ask(?:ed)? you)\b|\b(?:mind|head|brain|thoughts) of (?:a|the|another) \w+|\b(?:the"
    r"|a) (?:participant|subject"
    r"|person|individual|patient|user|human)(?:'s)?\b"
)
POSSIBLE_CLAIM = re.compile(
    r"\b(?:i|i'm|i've)(?: \w+){0,2} (?:notic(?:e|ed|ing)|detect(?:ed|ing)?|sens(?:e|ed|ing)|perceiv(?:e|ed|ing)"
    r"|aware of"
    r"|experienc(?:e|ed|ing))\b"
)
QUOTED = re.compile(
    r"""
      "[^"\n]{0,400}"
    | (?:(?<=\s)|(?<=[:(]))'(?=[a-z])[^'\n]{8,200}[.!?]'(?!\w)
    """,
    re.VERBOSE,
)
# The sentence behind a bare "yes" has to do with the question.
ON_TOPIC = re.compile(
    r"""\b(?:
      thought | think | thinking | concept | idea | inject | detect | notic | sens | aware | mind | theme | image
    | impression | presence | pattern | strange | odd | unusual | foreign
    | something | there\ (?:is|was|seems)
    | feels?\ (?:like|as)
    )|there's\b
    | \bi\ (?:do|did)\b | \b(?:it|this|that|which)(?:'s|\ is|\ was|\ seems|\ appears)\ (?:\w+\ ){0,3}(?:about|related|of|like)\b
    | ^\W*(?:about|related|regarding|concerning|of)\b
    """,
    re.VERBOSE,
)
OF_INJECTION = re.compile(r"\b(?:injected|inserted|implanted|unusual|foreign|intrusive|strange)\b")
FULL_SENTENCE = re.compile(
    r"\b(?:is|are|was|were|am|be|have|has|had|can|will|would|do|does|did|please|you|we|i|let's|go|he|she|they)\b|'(?:s|m|re|ve|ll)\b"
)
OF_NOTICING = re.compile(r"\b(?:detect|notic|sens(?:e|ing)\b|aware|anything|nothing|find)")
# "Yes, I will look for one": what follows is an intention, no answer.
INTENDS = re.compile(
    r"^\W*(?:and |so |then )?i(?: will|'ll| shall|'m going to| am going to|'d be| would be)\b(?! say\b)"
)
