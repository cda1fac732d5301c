"""Lectures, stories and remarks about others: "people notice", "an injected thought is", points under headings."""

from __future__ import annotations

import re

# A story, or the room around the writer: nothing of its thinking now.
ELSEWHERE = re.compile(
    r"""
    \b(?:
        last\ (?:night|week|month|year|summer|winter)
      | yesterday
      | this\ morning
      | (?:years?|months?|weeks?|days?)\ ago
      | when\ i\ was
      | as\ a\ child
      | once\ upon
      | (?:in|outside|at|near|on|behind)\ (?:the|my|our|his|her)\ (?:
            kitchen
          | house
          | street
          | garden
          | room
          | office
          | car
          | town
          | city
          | window
          | door
          | wall
          | road
          | forest
          | yard
          | school
          | shop
        )
    )\b
    """,
    re.VERBOSE,
)
SAID_BY_OTHERS = re.compile(
    r"""
    (?:^|[^\w'])(?!i\b)\w+\ (?:
        said
      | says
      | replied
      | replies
      | answered
      | answers
      | wrote
      | writes
      | exclaimed
      | reported
      | reports
    )\b[\s:,\"']*(?:that\b[\s:,\"']*)?$
    """,
    re.VERBOSE,
)
# "Detecting thoughts: a beginner's guide".
TITLE = re.compile(r"^[\W_]*+(?:how to )?\w+ing (?:\w+ )?(?:thoughts|concepts|ideas|patterns)\b")
OTHERS = re.compile(
    r"""
    \b(?:
        you
      | your
      | yours
      | yourself
      | you're
      | you've
      | people
      | person
      | someone
      | somebody
      | anyone
      | everyone
      | humans?
      | users?
      | participants?
      | subjects?
      | researchers?
      | scientists?
      | individuals?
      | patients?
      | (?:ai|language|large|some|many|most|other|larger|these|such)\ models?
      | models?
      | systems?
      | algorithms?
      | he
      | she
      | they
      | them
      | his
      | her
      | their
      | we
      | us
      | our
      | one's
      | oneself
      | one\ (?:notices|senses|detects|feels|perceives|finds|sees|reports)
    )\b
    """,
    re.VERBOSE,
)
BY_YOU = re.compile(
    r"\b(?:that )?you(?:'ve| have)? (?:just )?(?:injected|inserted|put|planted|placed|gave|implanted)\b"
)
MYSELF = re.compile(r"\b(?:i|i'm|i've|i'd|me|my|mine|myself)\b")
# "The injected thought is about X", "there is something about X", "an injected thought has been detected".
PLAIN_FINDING = re.compile(
    r"""
    ^[\W_]*(?:\d+[.)]\s*)?(?:[\w\s]{0,30}[:,.]\s*)?
    (?:and\ |so\ |then\ |now\ |yes\W+|here\W+|currently\ )*(?:
        (?:the|this|that)\ (?:\w+\ ){0,3}(?:
            thought
          | concept
          | idea
          | word
          | injection
          | feeling
          | image
          | theme
          | presence
        )\b
      | (?:an?|one|some)\ (?:\w+\ ){0,3}(?:
            thought
          | concept
          | idea
          | word
          | image
          | presence
          | something
          | sense
          | feeling
        )\b.{0,40}\b(?:
            is
          | was
          | has
          | have
          | been
          | keeps?
          | appears?
          | seems?
          | comes?
          | came
          | here
          | present
          | detected
          | noticed
        )\b
      | it\b
      | that\b
      | there(?:'s|\ is|\ was|\ are|\ seems|\ appears|\ has|\ does)\b
      | something\b
      | one\ thing\b
      | what\ (?:stands|strikes|comes)\b
      | [\w'\ -]{2,40}?\b(?:appears|seems|is|was)\ (?:to\ be\ |likely\ |probably\ )?the\ (?:\w+\ )?
        (?:injected|inserted|implanted|planted)\b
      | (?:injected|inserted|detected|intrusive|foreign|unusual|strange|odd)\b
      | (?:
            detected
          | noticed
          | noticing
          | sensing
          | sensed
          | perceived
          | detecting
          | feeling
          | aware
          | picking
          | registering
        )\b
      | (?:thought|concept|idea|word|image)s?\b
    )
    """,
    re.VERBOSE,
)
OF_MIND = re.compile(
    r"""
    \b(?:
        thoughts?
      | thinking
      | mind
      | head
      | processing
      | attention
      | concept
      | idea
      | inject\w*
      | activations?
    )\b
    """,
    re.VERBOSE,
)
# What such a thought is, in general.
GENERAL = re.compile(
    r"""
    (?:
        \b(?:an?|any|every|such|all|these)\ (?:\w+\ )?
        (?:injected|inserted|implanted|intrusive|foreign|detected|planted)[ ]
        (?:thought|concept|idea|pattern|signal)s?\ (?:
            is
          | are
          | can
          | may
          | might
          | could
          | would
          | will
          | means?
          | refers?
          | might
          | tends?
          | often
          | usually
          | typically
          | must
          | should
          | does
          | do
          | shows?
          | differs?
        )\b(?!\ (?:here|present|there|in\ my))
      | \b(?:injected|intrusive|inserted|implanted|foreign|unusual|strange|sudden)[ ]
        (?:thoughts|concepts|ideas|patterns|signals|images)\ (?:
            are
          | can
          | may
          | might
          | could
          | would
          | will
          | often
          | usually
          | tend
          | must
          | should
          | do
          | which
          | that
        )\b
      | (?<!\bam\ )(?<!'m\ )(?<!\bbe\ )(?<!been\ )(?<!was\ )(?<!keep\ )\b
        (?:detecting|noticing|identifying|recogni[sz]ing|sensing|perceiving|observing)\ .{0,50}?\b(?:
            is
          | means
          | involves?
          | requires?
          | would
          | can
          | could
          | may
          | might
          | will
          | depends
          | includes?
          | helps?
        )\b
      | ^[\W_]*(?:in\ order\ )?to\ (?:\w+ly\ )?
        (?:detect|notice|identify|recogni[sz]e|find|determine|see|check)\b
      | \b(?:is|are|was)\ (?:
            essentially
          | defined
          | called
          | known
          | said
          | typically
          | usually
          | generally
          | often
        )\b
      | \b(?:refers?|referring)\ to\b
      | \bthe\ (?:process|ability|possibility|phenomenon|task|concept|idea)\ of[ ]
        (?:detect|notic|inject|introspect)
    )
    """,
    re.VERBOSE,
)
ITEM_LIST = re.compile(r"\b(?:anything|topic|category|kind|class|like)\b.{0,20}[:,]\W+(?:[\w' ]{2,25},\s*){2,}")
HEADING = re.compile(r"^\s*(?:#+\s|\*\*[^*\n]{2,60}\*\*\s*$|[^\n.!?]{2,60}:\s*$)")
ITEM = re.compile(r"^\s*(?:[-*\u2022+]\s|\(?\d{1,2}[.)]\s|#+\s)")
LABELLED = re.compile(
    r"""
      ^\s*(?:[-*\u2022+]\s+|\(?\d{1,2}[.)]\s+)?\*\*[^*\n]{2,60}\*\*\s*[:\-]
    | ^[^\n]{0,6}\*\*[^*\n]{2,60}:\*\*
    """,
    re.VERBOSE,
)
