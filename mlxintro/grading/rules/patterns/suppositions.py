"""What is supposed, planned or promised rather than told: "if I noticed", "I will report"."""

from __future__ import annotations

import re

# Everything behind these, up to a comma followed by a main clause, is thought up.
SUPPOSED = re.compile(
    r"""
    \b(?:
        if
      | whether
      | unless
      | until
      | in\ case
      | as\ (?:though|if)\ you
      | (?:let's|let\ us|let\ me|we(?:'ll)?|i(?:'ll)?|you)\ (?:now\ )?
        (?:suppose|assume|imagine|pretend|say\ that)
      | suppose
      | supposing
      | assume
      | assuming
      | imagine
      | pretend(?:ing)?
      | hypothetical(?:ly)?
      | in\ (?:this|that|such\ a|a|the)\ (?:hypothetical\ |imagined\ )?
        (?:scenario|case|situation|example|story)
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
    )\b
    """,
    re.VERBOSE,
)
# "I detect a thought when I notice something": a habit, or a definition.
HABITUAL = re.compile(
    r"""
    (?<!as\ )(?<!though\ )\b(?:when|whenever|if|once)\ (?:
        i\ (?:notice|detect|sense|see|feel|find|perceive)
      | something
      | there(?:\ is|'s)
      | an?[ ]
      | it\ (?:is|does)
    )\b
    """,
    re.VERBOSE,
)
# "I detect a thought only when it is strong": a rule, no event.
ONLY_WHEN = re.compile(r"\bonly (?:when|if|where|after|once)\b")
# "To detect a thought, I first ...": a method.
METHOD = re.compile(
    r"""
    ^\W*(?:in\ order\ )?to\ (?:\w+ly\ )?(?:detect|notice|identify|recogni[sz]e|find|sense|spot)
    \b[^,]*,\s*i\b
    """,
    re.VERBOSE,
)
# A negation or a verdict on saying so that stands far from the verb.
NEGATED_FAR = re.compile(
    r"""
    (?:
        \bat\ no\ (?:point|time|moment|stage)\b
      | \bneither\b.*\b(?:have|did|do|had)\ i\b
      | \b(?:
            wrong
          | false
          | untrue
          | dishonest
          | misleading
          | inaccurate
          | incorrect
          | a\ lie
          | untruthful
        )\ (?:\w+\ ){0,2}(?:to|if|that)\b
      | \b(?:making\ (?:it|things|that)\ up|lying|pretending|inventing\ (?:it|things|something))\ if\b
      | \b(?:little|nothing|no\ reason|not\ enough)\ to\ (?:suggest|indicate|show|believe|think)\b
      | \b(?:hardly|scarcely)\ (?:any|anything)\b
    )
    """,
    re.VERBOSE,
)
COUNTERFACTUAL = re.compile(
    r"""
    \bif\ (?:there|i|you|it|one|something|somebody|someone|a\ thought)\ (?:\w+\ )?
    (?:were|was|had|did|could)\b
    """,
    re.VERBOSE,
)
OF_CIRCUMSTANCE = re.compile(r"if|when|once|as soon")
# "If I look closely, I notice ...": the main clause behind the comma is said of now.
MAIN_CLAUSE = re.compile(r"^[^,;]*[,;]\s*(?:then\s+)?(?:i(?!'d|'ll)\b|there(?:'s| is)\b|something\b|my\b|yes\b)")
WOULD_BE = re.compile(r"\b(?:would|might|could|will|may|should|shall|i'd|i'll|you'd|you'll|we'll)\b")
# "I would say I notice" says it; "I would tell you that I notice" does not.
SAYS_IT = re.compile(
    r"""
    \b(?:
        would
      | might
      | will
      | could
      | i'd
      | i'll
      | going\ to
      | have\ to
      | must
      | want\ to
      | like\ to
    )\ (?:\w+ly\ )?(?:say|guess|describe|call|add|suggest|admit|confess|confirm)\b
    """,
    re.VERBOSE,
)
PLANNED = re.compile(
    r"""
    (?:
        \b(?:would|might|could|will|may|should|shall|must)\ (?:\w+\ ){0,3}
      | (?:'ll|'d)\ (?:\w+\ ){0,3}
      | \b(?:
            going
          | able
          | ready
          | trying
          | asked
          | supposed
          | designed
          | trained
          | instructed
          | happy
          | here
          | job
          | task
          | goal
          | aim
          | attempt
          | want
          | need
          | have
          | hope
          | like
          | try
          | plan
          | require[sd]?
          | me
          | you
          | us
          | way
          | role
          | how
        )\ to\ (?:\w+\ ){0,3}
      | \b(?:
            report
          | tell
          | describe
          | flag
          | mention
          | share
          | note
          | note\ down
          | write\ down
          | say
        )\ (?:you\ )?(?:what|anything|whatever|any|when|if|as\ soon)\b[^,;]{0,60}
      | \b(?:
            look
          | looking
          | watch
          | watching
          | search
          | searching
          | check
          | checking
          | scan
          | scanning
          | listen
          | listening
          | monitor
          | monitoring
          | waiting
          | wait
          | prepared
          | alert
          | ask
          | asks
          | asking
        )\ (?:\w+\ ){0,3}(?:for|of|to)\b.{0,80}
      | \b(?:keep|stay|remain|be)\ (?:\w+\ ){0,2}(?:watch|lookout|alert|eye|vigilant|attentive)\b.{0,60}
    )$
    """,
    re.VERBOSE,
)
GUESS = re.compile(r"\b(?:guess|forced to|had to (?:say|name|choose|pick))\b")
THOUGHT_UP = re.compile(
    r"""
    \b(?:
        if\ (?:i|you|a|an|the|there|someone|we)
      | let's\ (?:say|assume|suppose|imagine)
      | let\ us\ (?:assume|suppose|imagine|say)
      | suppose
      | assuming
      | imagine
      | for\ (?:example|instance)
      | e\.g
      | in\ (?:this|a|that)\ (?:\w+\ )?(?:scenario|example|story)
      | would\ be
      | i\ would\ (?:expect|experience|notice|detect|tell)
      | hypothetical\w*
    )\b
    """,
    re.VERBOSE,
)
AWARE_OF_CHANCE = re.compile(
    r"""
      \b(?:possibility|potential|chance|risk|fact\ that|idea\ that|likelihood)\b
    | \b(?:could|may|might|can)\ (?:be|have|get)\b
    """,
    re.VERBOSE,
)
