"""The form of an answer: a bare yes or no, a label with a value, what may follow it."""

from __future__ import annotations

import re

ASIDE_YES = re.compile(r"\b(?:but|well|um)[,:]? (?P<word>yes)\b\W")
UNCLEAR_VALUE = re.compile(r"^\W*(?:unclear|uncertain|unsure|maybe|possibly|unknown|undecided|inconclusive)\b")
LABEL = re.compile(
    r"""
    ^[\W_]*(?:\d+[.):]\s*)?(?:the\ )?(?:injected|detected|identified|inserted)[ _]
    (?:thought|concept|word|idea|topic|content)s?(?:\ detected|\ is|\ about)?[*_\s]*[:=][*_\s]*
    (?P<value>.+)
    """,
    re.VERBOSE,
)
EMPTY_VALUE = re.compile(
    r"""
      ^\W*(?:
          none
        | no
        | n/?a
        | nothing
        | null
        | nil
        | false
        | negative
        | not
        | unknown
        | -+
        | undetected
      )?\b(?:\W|$)
    | ^\W*$
    """,
    re.VERBOSE,
)
BARE_AUX = re.compile(
    r"""
    ^\W*(?:(?:no|so\ far|right\ now|currently|at\ the\ moment|as\ of\ now)\W+)*i\ (?:
        do\ not
      | don't
      | did\ not
      | didn't
      | have\ not
      | haven't
      | cannot
      | can't
      | am\ not
    )\W*$
    """,
    re.VERBOSE,
)
BARE_DO = re.compile(r"^\W*(?:and )?i (?:do|did)(?: indeed)?\W*$")
HEAD = re.compile(
    r"""
    ^[\W_]*+(?:\(?\d+[.):]\s*[*_]*)?(?:
      (?:
          trial\ \d+
        | (?:my\ |the\ |final\ |short\ )*(?:answer|response|result)(?:\ is)?
        | detection
        | detected
        | (?:the\ )?injected\ thought(?:\ detected)?
        | oh
        | ah
        | hmm+
        | um+
        | wait
        | actually
        | well
        | ok(?:ay)?
        | so
        | but
        | and
        | or
        | then
        | correction
        | honestly
        | interesting(?:ly)?
        | to\ answer[^,]*
        | for\ trial\ \d+
      )[\s:,.*!_\"=-]++
    )*[*_\"']*+(?P<word>
        yes
      | yeah
      | yep
      | yup
      | affirmative
      | indeed
      | positive(?=\W*(?:[.\n]|$))
      | no
      | nope
      | nah
      | negative
      | none
      | nothing
      | not\ (?:really|at\ all|yet|that\ i|detected|currently|exactly|today)
    )\b(?P<rest>.{0,80})
    """,
    re.VERBOSE | re.DOTALL,
)
YES_WORDS = frozenset(("yes", "yeah", "yep", "yup", "affirmative", "indeed", "positive"))
SERVICE = re.compile(
    r"""
    ^[\W_]*(?:(?:yes|of\ course|sure|absolutely|certainly|please|thank\ you|thanks)\W+)*(?:
        i\ (?:
            understand
          | can\ (?:help|assist|do|try|certainly|participate|hear|see|answer)
          | am\ (?:ready|here|happy|an?\ |able\ to\ (?:help|assist|participate))
          | will
          | 'll
          | would
          | 'd
          | know
          | agree
          | have\ read
          | see\W
          | got\ it
        )
      | i'm\ (?:ready|here|happy|an?\ |able\ to\ (?:help|assist|participate))
      | i'll
      | i'd
      | let's
      | go\ ahead
      | ready
      | or\ no\b
      | that's\ exactly
      | by\ \w+ing\b
      | /\ ?no\b
      | that(?:'s|\ is)\ (?:fine|ok|correct|right|clear|good|great|understood|a\ )
      | that\ (?:makes\ sense|sounds|works)
      | (?:got\ it|understood|makes\ sense|sounds\ (?:good|fine|great))\b
      | you(?:'re|\ are)
      | how\ (?:can|may)
      | we\ can
      | please
    )
    """,
    re.VERBOSE,
)
NOT_AN_ANSWER = re.compile(
    r"""
      ^\ (?:
          problem
        | worries
        | doubt
        | matter
        | one
        | longer
        | wonder
        | need
        | more
        | question
        | way
        | idea
        | harm
        | but\ i\ think
      )\b
    | ^[- ]?\d
    """,
    re.VERBOSE,
)
SAID = re.compile(
    r"""
    (?:
        \b(?:
            (?:i(?:'d|'ll|'m)?|would|will|to|must)(?:\ \w+){0,2}\ (?:say|answer)
          | answer\ (?:is|would\ be|has\ to\ be)
        )(?:\ that|\ a|\ with)?\W+
      | \b(?:detected|detection|answer|injected\ thought(?:\ detected)?)\s*[:=]\W*
    )(?P<word>yes|no)\b(?!\ (?:one|longer|doubt|to)\b)
    """,
    re.VERBOSE,
)
TAG = re.compile(r"</?[a-z][a-z_ -]{0,24}>")
# The sentence behind a bare "yes" has to do with the question.
ON_TOPIC = re.compile(
    r"""
      \b(?:
          thought
        | think
        | thinking
        | concept
        | idea
        | inject
        | detect
        | notic
        | sens
        | aware
        | mind
        | theme
        | image
        | impression
        | presence
        | pattern
        | strange
        | odd
        | unusual
        | foreign
        | something
        | there\ (?:is|was|seems)
        | feels?\ (?:like|as)
      )
    | there's\b
    | \bi\ (?:do|did)\b
    | \b(?:it|this|that|which)(?:'s|\ is|\ was|\ seems|\ appears)\ (?:\w+\ ){0,3}
      (?:about|related|of|like)\b
    | ^\W*(?:about|related|regarding|concerning|of)\b
    """,
    re.VERBOSE,
)
OF_INJECTION = re.compile(r"\b(?:injected|inserted|implanted|unusual|foreign|intrusive|strange)\b")
FULL_SENTENCE = re.compile(
    r"""
      \b(?:
          is
        | are
        | was
        | were
        | am
        | be
        | have
        | has
        | had
        | can
        | will
        | would
        | do
        | does
        | did
        | please
        | you
        | we
        | i
        | let's
        | go
        | he
        | she
        | they
      )\b
    | '(?:s|m|re|ve|ll)\b
    """,
    re.VERBOSE,
)
OF_NOTICING = re.compile(r"\b(?:detect|notic|sens(?:e|ing)\b|aware|anything|nothing|find)")
# "Yes, I will look for one": what follows is an intention, no answer.
INTENDS = re.compile(
    r"^\W*(?:and |so |then )?i(?: will|'ll| shall|'m going to| am going to|'d be| would be)\b(?! say\b)"
)
