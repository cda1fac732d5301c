"""Who speaks, and whether it is said at all: questions, conditions, quotations, the experimenter's part."""

from __future__ import annotations

import re

CONDITION = re.compile(
    r"""
    ^\W*(?:and\ |but\ |or\ |so\ |then\ )?(?:
        if(?!\ anything)
      | when
      | whenever
      | should\ i
      | were\ i
      | unless
      | until
      | once
      | in\ case
      | whether
      | suppose
      | supposing
      | assuming
      | in\ the\ event
    )\b
    """,
    re.VERBOSE,
)
TOLD_OF_PERSONS = re.compile(
    r"""
      \b(?:mind|head|brain|life|lives)\ of\b
    | \b(?:the|a)\ (?:participant|subject|person|user)\b
    | \bin\ (?:this|the|our)\ (?:town|world|city|room)\b
    """,
    re.VERBOSE,
)
EXPERIMENTER = re.compile(
    r"""
      \b(?:i|we)\ (?:toss|flip|inject|insert|throw)\b
    | \bi(?:'ll|'m\ going\ to|\ will|\ am\ going\ to)\ (?:inject|insert|toss|flip|ask)\b
    """,
    re.VERBOSE,
)
FIRST_PERSON = re.compile(r"\b(?:i|i'm|my|me)\b")
QUESTION = re.compile(
    r"""
    ^[\W_]*(?:trial\ \d+\W+)?(?:(?:if\ so|and|so|or),?\ )?(?:
        (?:do|did|are|is|can|could|would|have|has|will|was|were|does)\ (?:
            you
          | the
          | there
          | it
          | this
          | that
          | i
          | we
          | any
        )\b
      | (?:what|which|how|why|where)\ (?:is|are|was|do|does|did|would|can|if)\b
    )
    """,
    re.VERBOSE,
)
# The reply takes the experimenter's part, or explains what such a thought would be.
OTHER_PART = re.compile(
    r"""
      \b(?:i|we)(?:'ll|'m\ going\ to|\ will|\ am\ going\ to|\ can|\ then)?[ ]
      (?:inject|insert|toss|flip|add(?:ed)?\ (?:a|thought)|throw|give\ you|ask(?:ed)?\ you)\b
    | \b(?:mind|head|brain|thoughts)\ of\ (?:a|the|another)\ \w+
    | \b(?:the|a)\ (?:participant|subject|person|individual|patient|user|human)(?:'s)?\b
    """,
    re.VERBOSE,
)
POSSIBLE_CLAIM = re.compile(
    r"""
    \b(?:i|i'm|i've)(?:\ \w+){0,2}\ (?:
        notic(?:e|ed|ing)
      | detect(?:ed|ing)?
      | sens(?:e|ed|ing)
      | perceiv(?:e|ed|ing)
      | aware\ of
      | experienc(?:e|ed|ing)
    )\b
    """,
    re.VERBOSE,
)
QUOTED = re.compile(
    r"""
      "[^"\n]{0,400}"
    | (?:(?<=\s)|(?<=[:(]))'(?=[a-z])[^'\n]{8,200}[.!?]'(?!\w)
    """,
    re.VERBOSE,
)
