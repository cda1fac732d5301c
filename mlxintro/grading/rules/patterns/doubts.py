"""Doubt: "I am not sure whether", "maybe it is about"."""

from __future__ import annotations

import re

DOUBTING_SIGNS = ("no", "n't", "never", "unsure", "uncertain", "unclear", "hard", "difficult", "tricky", "impossible")
DOUBLE = re.compile(
    r"""
      (?:\b(?:not|never|cannot)\b|n't\b)(?![^,]*\bany)[^,]*?\b(?:
          say
        | claim
        | think
        | believe
        | mean
        | that
        | rule\ out
        | conclude
        | exclude
        | i
      )\b[^,]*?(?:\bnot\b|n't\b|\bnothing\b|\bno\b)
    | (?:\bnot\b|n't\b)\ (?:\w+\ )?nothing\b
    """,
    re.VERBOSE,
)
UNSURE = re.compile(
    r"""
      (?:\bnot|n't)(?:\ \w+){0,2}\ (?:sure|certain|confident|clear|positive)\b
    | \b(?:unsure|uncertain|unclear)\b
    | \b(?:hard|difficult|tricky|impossible)\ (?:for\ me\ )?to\ (?:say|tell|know|determine|be)\b
    | \b(?:can't|cannot|don't|do\ not|can\ not)\ (?:\w+\ )?(?:tell|know|say|determine)
      (?:\ for\ sure|\ with\ certainty)?\ (?:if|whether)\b
    | \b(?:can't|cannot)\ (?:\w+\ )?(?:rule\ out|exclude|be\ (?:sure|certain))\b
    | \bno\ idea\ (?:if|whether)\b
    | \bnot\ (?:entirely\ |completely\ )?(?:rule|exclude)\b
    """,
    re.VERBOSE,
)
HEDGED_CONTENT = re.compile(
    r"""
      ^\W*(?:
          maybe
        | perhaps
        | possibly
        | hmm+\W+possibly
        | could\ be
        | might\ be
        | i\ (?:might|may|could)
        | i'd\ guess
        | my\ (?:best\ )?guess
        | (?:it|this|that|there|something|the\ (?:\w+\ )?(?:thought|concept|word))\b.{0,30}\b
          (?:might|may|could|perhaps|maybe|possibly|probably)
      )\b.*
    | ^\W*(?:it|this|that)(?:'s|\ is|\ was|\ seems|\ appears)\ (?:\w+\ ){0,3}about\b.*
    | \bcomes?\ to\ (?:my\ )?mind\b
    """,
    re.VERBOSE,
)
DOUBTED = re.compile(
    r"""
      \b(?:wouldn't|not)\ (?:\w+\ ){0,3}(?:claim|swear|commit)\b
    | ^\W*(?:hmm\W+)?(?:maybe|perhaps|possibly)\W*$
    """,
    re.VERBOSE,
)
