"""Negation and denial: "I detect nothing", "everything seems normal"."""

from __future__ import annotations

import re

from mlxintro.grading.rules.patterns.objects import STRANGE

NEGATOR = re.compile(
    r"""
      \b(?:
          not
        | no
        | never
        | nothing
        | none
        | neither
        | nor
        | without
        | cannot
        | unable
        | incapable
        | fail(?:ed|s)?
        | lack(?:s|ing)?
        | absence
        | zero
      )\b
    | n't\b
    """,
    re.VERBOSE,
)
NEGATED_OBJECT = re.compile(
    r"""
      ^\W*+(?:\w[\w']*+\W++){0,2}?(?:
          nothing
        | none
        | neither
        | zero
        | no
        | only\ (?:silence|emptiness|blankness)
        | (?:an\ )?absence\ of\ (?:any|unusual|injected)
        | (?:a\ )?lack\ of\ (?:any|unusual|injected)
      )\b
    | ^\W*(?:that\ )?(?:there|nothing|no|my\ \w+)(?:\ (?:is|are|was|'s))?[ ]
      (?:no|nothing|not|normal|none)\b
    """,
    re.VERBOSE,
)
# Wordings with a negator that negate nothing. Blanked before negators are counted.
NOT_A_NEGATION = re.compile(
    r"""
      \bnot\ (?:only|just|merely|simply)\b
    | \bno\ doubt\b
    | \bwithout\ (?:a\ |any\ )?doubt\b
    | \b(?:can't|cannot|couldn't|could\ not)[ ]
      (?:help\ but|help(?=\ \w+ing\b)|shake|deny|ignore|stop|escape)\b
    | \bno\ mistaking\b
    | \bno\ longer\b
    | \bno\ problem\b
    | \bno\ worries\b
    | \bno\ matter\b
    | \bfor\ no\ (?:apparent\ |clear\ |obvious\ |particular\ )?reason\b
    | \b(?:does\ not|doesn't|did\ not|didn't|not)\ (?:\w+\ )?(?:feel|seem|appear|sound)\ (?:\w+\ )?
      (?:like\ )?(?:
          mine
        | my\ own
        | me
        | natural
        | normal
        | native
        | to\ (?:come|originate|belong|be\ (?:mine|my\ own|part|from|coming))[^,]*
      )
    | \bnot\ (?:mine|my\ own|from\ me)\b
    | \bwhy\ not\b
    | \bif\ not\b
    | \bor\ not\b
    """,
    re.VERBOSE,
)
# Every match of DISCLAIM and REFUSE holds one of the first, every match of UNSURE and DOUBLE one of the second.
NEGATIVE_SIGNS = ("no", "n't", "never", "lack", "without", "unable", "incapable", "impossible", "refuse", "decline")
ELSE = re.compile(r"\b(?:else|other|others|further|additional|more|beyond (?:that|this)|besides)\b")
ABOUT_CONTENT = re.compile(
    r"""
    ^\W*(?:\w+ly\ )?(?:
        what
      | which
      | where
      | why
      | how
      | who
      | its
      | the\ (?:
            exact
          | specific
          | precise
          | content
          | source
          | nature
          | origin
          | topic
          | details?
          | meaning
        )
    )\b
    """,
    re.VERBOSE,
)
AT_FIRST = re.compile(
    r"""
    \b(?:
        at\ first
      | initially
      | to\ begin\ with
      | until\ now
      | before\ this
      | previously
      | earlier
      | just\ before
      | (?:a\ )?(?:moment|minute|second|while)\ ago
      | first\ (?:impression|look|glance|reaction)
      | in\ (?:the\ )?(?:previous|earlier|last|other)\ trials?
    )\b
    """,
    re.VERBOSE,
)
# "There is nothing ...", "there is an absence of anything unusual"; but "an unusual absence of noise" is a finding.
NEGATED_THING = re.compile(
    r"""
      \bthere(?:'s|\ is|\ are|\ was|\ were|\ seems?|\ appears?)?[ ]
      (?:(?:really|currently|also|simply|just|absolutely)\ )?(?:
          nothing
        | no\b
        | none
        | not\b
        | isn't
        | aren't
        | n't
        | neither
        | (?:a\ )?lack\ of\ (?:any|unusual)
        | (?:an\ )?absence\ of\ (?:any|unusual)
        | zero
      )
    | \b(?:isn't|aren't|wasn't|doesn't)\b.{0,12}\b(?:any|seem|appear|an?)
    """,
    re.VERBOSE,
)
ANY_OR_ELSE = re.compile(r"\bor (?:anything|any other)\b")
EMPTY_HANDED = re.compile(
    r"""
      \b(?:come|came|coming)\ up\ (?:empty|blank|with\ nothing)\b
    | \b(?:
          i\ (?:must\ have\ )?missed\ it
        | all\ (?:of\ )?my\ thoughts\ (?:\w+\ )?(?:follow|come|are\ my\ own|stem)
      )\b
    | \bblank\ slate\b
    | ^\W*(?:not\ this\ time|just\ me\ and)\b
    | \b(?:i'd|i\ would)\ have\ to\ say\ no\b
    """,
    re.VERBOSE,
)
NO_SUCH = re.compile(
    rf"""
      \bno(?:t\ any)?\ (?:[\w'-]+\ ){{0,4}}?
      (?:{STRANGE}|signs?|evidence|traces?|indications?|thoughts?(?!\ about\ it))\b
    | \bnothing\ (?:\w+\ )?(?:
          unusual
        | strange
        | out\ of
        | odd
        | foreign
        | abnormal
        | special
        | different
        | notable
        | noteworthy
        | of\ note
        | to\ report
        | injected
        | detected
        | has\ been
        | was
        | comes
        | came
        | stands
        | stood
        | seems
        | appears
        | feels
        | particular
        | at\ all
        | suspicious
        | amiss
      )\b
    | \bfree\ (?:of|from)\ (?:any\ )?(?:\w+\ )?(?:injected|thoughts?)
    | \bnothing\W*$
    """,
    re.VERBOSE,
)
NORMAL = re.compile(
    r"""
    \b(?:
        everything
      | all
      | my\ (?:\w+\ )?(?:thoughts?|processing|mind|thinking|responses?|state|experience)
      | this
      | it
      | things
    )\b[^,]{0,25}?\b(?:feels?|seems?|appears?|is|are|remains?)\b
    (?!(?:\ \w+){0,3}\ (?:different|distinct|unlike|beyond|more|less|out)\b)[^,]{0,25}?\b(?:
        normal
      | usual
      | like\ my\ own
      | my\ own
      | typical
      | as\ expected
      | unaffected
      | ordinary
      | routine
      | natural
    )\b
    """,
    re.VERBOSE,
)
HABIT = re.compile(
    r"""
    \b(?:
        usually
      | normally
      | typically
      | ordinarily
      | often
      | generally
      | expect
      | before
      | a\ moment\ ago
      | where
      | why
    )\b
    """,
    re.VERBOSE,
)
# A first look that finds nothing, followed by what was found all the same.
CONTRAST = re.compile(
    r"""
    \b(?:
        but
      | however
      | although
      | though
      | yet
      | nevertheless
      | still
      | that\ said
      | only\ that
      | on\ closer
    )\b
    """,
    re.VERBOSE,
)
REVERSAL = re.compile(r"\b(?:wait|actually|hold on|hang on|oh|scratch that|correction|hmm+)\b")
BROKEN_NEGATION = re.compile(
    r"""
    \b(do|does|did|is|are|was|were|ca|could|wo|would|should|have|has|had)n'[a-su-z]\b
    """,
    re.VERBOSE,
)
# What a denial leaves room for beside it: "no specific thought, but ...".
NARROW_DENIAL = re.compile(
    r"""
    \b(?:
        as\ such
      | per\ se
      | specific
      | particular
      | clear
      | distinct
      | explicit
      | obvious
      | single
      | definite
      | concrete
      | full
      | precise
      | exact
      | discrete
      | identifiable
      | in\ words
      | verbal
    )\b
    """,
    re.VERBOSE,
)
