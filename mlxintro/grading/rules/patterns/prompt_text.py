"""Remarks about the prompt's text, and what is put down to it: "I notice that your question"."""

from __future__ import annotations

import re

TEXT = r"""
    (?:
        question
      | prompt
      | message
      | request
      | conversation
      | text
      | paragraph
      | note
      | data
      | input
      | instructions?
      | sentence
      | wording
      | experiment
      | research
      | study
      | task
      | passage
      | story
      | poem
      | list
      | code
      | word
      | writing
      | statement
      | scenario
      | exercise
      | context
    )s?
"""
# What is noticed is the text that was given, not a thought.
OF_TEXT = re.compile(
    rf"""
    ^\W*(?:\w+\ ){{0,4}}?(?:
        (?:that\ )?(?:you|you're|you've)\b
      | (?:in|about|with|of|from|within)\ (?:your|the|this|these|those|our)\ (?:\w+\ )?{TEXT}\b
      | (?:that\ )?(?:your|this|these|our)\ (?:\w+\ )?{TEXT}\b
      | (?:that\ )?the\ (?:\w+\ )?(?:
            question
          | prompt
          | message
          | request
          | text
          | paragraph
          | sentence
          | passage
          | wording
          | data
        )s?\b
    )
    """,
    re.VERBOSE,
)
MISFIT_OF_TEXT = re.compile(
    r"""
    \b(?:fits?|belongs?|match(?:es)?)\b.{0,20}\b(?:the\ rest\ of|in|with|to)\b.{0,12}\b
    (?:text|paragraph|sentence|passage)
    """,
    re.VERBOSE,
)
UNRELATED = re.compile(
    r"""
    (?:
        \bunrelated\ to\b
      | \bnothing\ to\ do\ with\b
      | \bnot\ (?:from|related|part|connected|prompted|caused|explained)\b
      | n't\ (?:\w+\ ){0,3}(?:
            come
          | originate
          | stem
          | belong
          | related
          | part
          | connected
          | explain
          | fit
          | follow
          | trace
          | account
        )\b
      | \bnot\ (?:\w+\ ){0,2}(?:come|originate|stem|belong|explain|fit|follow|trace|account)\b
      | \b(?:without|no)\ (?:\w+\ ){0,2}(?:connection|relation|association|link|reason|cause|source)\b
      | \bforeign\ to\b
      | \bindependent\ of\b
      | \bapart\ from\b
      | \boutside\b
      | \bunconnected\b
    )
    """,
    re.VERBOSE,
)
# The sentence itself, or one of the next two, puts what is felt down to the prompt or calls it the writer's own.
PUT_DOWN = re.compile(
    rf"""
    (?:
        \b(?:attribut(?:e|ed|able|ing)|put|ascrib(?:e|ed|ing)|trac(?:e|ed|ing)|chalk|credit)\b.{{0,25}}\b
        (?:to)\b.{{0,25}}\b(?:your|the|this|our|my\ (?:training|instructions))\b
      | \b(?:
            comes?
          | came
          | coming
          | stems?
          | stemming
          | arises?
          | arising
          | results?
          | resulting
          | follows?
          | derives?
          | originates?
        )\b.{{0,12}}\bfrom\ (?:your|the|this|our)\ (?:\w+\ )?{TEXT}\b
      | \b(?:
            due\ to
          | because\ of
          | caused\ by
          | triggered\ by
          | prompted\ by
          | explained\ by
          | in\ response\ to
          | a\ response\ to
          | a\ reaction\ to
          | an\ effect\ of
          | a\ product\ of
          | evoked\ by
        )\ (?:\w+\ )?(?:your|the|this|our|being\ asked)\b
      | \bas\ (?:one|anyone|you)\ (?:would|might)\ expect\b
      | \b(?:it|that|this)(?:'s|\ is)\ (?:not|n't)\ (?:\w+\ )?
        (?:foreign|injected|intrusive|unusual|strange|something\ i(?:'d|\ would)\ call)\b
      | \b(?:it|that|this)\ is(?:n't|\ not)\ (?:\w+\ )?
        (?:foreign|injected|intrusive|unusual|strange|something\ i(?:'d|\ would)\ call)\b
    )
    """,
    re.VERBOSE,
)
PERCEIVING = re.compile(
    r"""
    \b(?:
        notic
      | detect
      | sens
      | perceiv
      | aware
      | conscious
      | observ
      | recogni
      | identif
      | experienc
      | feel
      | felt
      | see
      | find
      | found
      | pick
    )\w*
    """,
    re.VERBOSE,
)
