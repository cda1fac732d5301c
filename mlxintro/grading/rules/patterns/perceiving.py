"""Verbs of perceiving and who perceives: "I notice", "I can sense", "am aware of"."""

from __future__ import annotations

import re

STRONG_VERB = r"""
      detect(?:ed|ing|s)?
    | notic(?:e|ed|ing|es)
    | sens(?:e|ed|ing|es)
    | perceiv(?:e|ed|ing|es)
    | pick(?:ed|ing)?(?:\ it|\ something)?\ up
    | register(?:ed|ing)?
    | (?:aware|conscious)\ of
    | observ(?:e|ed|ing|es)
    | recogni[sz](?:e|ed|ing)
    | identif(?:y|ied|ying)
    | discern(?:ed|ing)?
"""
WEAK_VERB = r"""
      experienc(?:e|ed|ing)
    | feel(?:ing)?
    | felt
    | have
    | had
    | having
    | see
    | seeing
    | find
    | finding
    | found
    | get
    | getting
    | encounter(?:ed|ing)?
"""
VERB = re.compile(rf"\b(?:(?P<strong>{STRONG_VERB})|(?P<weak>{WEAK_VERB}))\b", re.VERBOSE)
AUXILIARY = re.compile(
    r"""
    ^(?:have|had|having|get|got)\W+(?:not\ |also\ |just\ |now\ |\w+ly\ )*
    (?:been|\w+ed|looked|found|seen|felt|sought|thought)\b
    """,
    re.VERBOSE,
)
BLOCKED = re.compile(
    r"""
      (?:
          \b(?:
              if
            | when
            | whenever
            | whether
            | until
            | unless
            | once
            | before
            | how
            | in\ case
            | as\ soon\ as
            | would
            | will
            | should
            | shall
            | let
            | going\ to
            | try(?:ing)?
            | need\ to
            | asked
            | supposed
          )
        | 'll
        | 'd
      )\s+(?:[\w']+\s+){0,3}$
    | \b(?:for|of|by|at|in|about|without)\s+$
    | \b(?:
          ability
        | attempt
        | how
        | task
        | job
        | way
        | trying
        | try
        | asked
        | designed
        | trained
        | programmed
        | supposed
        | ready
        | order
        | need
        | want
        | wants
        | help
        | hope
        | aim
        | goal
        | going
        | happy
        | is
        | me
        | you
        | not
        | here
        | used
        | hard
        | difficult
        | possible
        | capacity
        | capability
        | means
        | try
      )\ (?:is\ )?to\ (?:\w+ly\ )?(?:\w+\ and\ )?$
    | ^\W*to\ (?:\w+ly\ )?$
    """,
    re.VERBOSE,
)
MODAL = re.compile(r"\b(?:might|may|could|possible|possibly|perhaps|maybe)\s+(?:[\w']+\s+){0,3}$")
ABILITY = re.compile(r"\b(?:can|able to|capable of)\s+(?:\w+ly\s+)?(?:also\s+)?$")
SUBJECT = re.compile(
    r"""
    \b(
        i
      | we
      | you
      | they
      | he
      | she
      | humans?
      | people
      | person
      | users?
      | researchers?
      | scientists?
      | someone
      | somebody
      | models?
      | systems?
      | ais?
      | algorithms?
    )\b
    """,
    re.VERBOSE,
)
GERUND_SUBJECT = re.compile(r"^\W*\w+ing\b.*\b(?:is|are|requires?|involves?|can|means|would|depends|helps?)\b")
SENSE_AS_VERB = re.compile(
    r"(?:\b(?:i|we|do|did|can|cannot|could|to|not|also|now|and|or|just|still|\w+ly)|n't)\s+$|^\W*$"
)
EVERYDAY_VERBS = frozenset(("have", "had", "having", "see", "feel", "find"))
# "I would say that I notice": it is said.
SAYS_THAT = re.compile(
    r"\bi(?: would|'d| can| could| must| have to| do) (?:\w+ly )?(?:say|admit|confess|confirm)(?: that)?\b"
)
# What may stand in front of a verb without a subject: "Yes, clearly detected a thought".
NO_SUBJECT = re.compile(
    r"""
    ^\W*(?:
      (?:
          and
        | so
        | then
        | also
        | now
        | yes
        | no
        | not
        | currently
        | still
        | just
        | only
        | here
        | again
        | trial
        | \d+
        | ok
        | okay
        | well
        | hmm
        | am
        | was
        | have
        | has
        | been
        | definitely
        | already
        | never
        | n't
        | do
        | did
        | result
        | answer
        | status
        | \w+ly
      )\b\W*
    )*$
    """,
    re.VERBOSE,
)
