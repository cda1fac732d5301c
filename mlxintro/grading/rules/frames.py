"""Frames around a claim that take it back: doubt, a wish, a lie, somebody's report, a model answer, another session.

"I detect a thought" claims something; "I doubt I detect a thought", "I was told that I detect a thought" and "The
expected answer is: I detect a thought" hold the same words and claim nothing. The patterns apply to folded text.
"""

from __future__ import annotations

import re

# What stands right in front of the claim.
_BEFORE = re.compile(
    r"""
    (?:
        (?<!\bno\ )(?<!\bany\ )(?<!\ba\ )(?<!n't\ )(?<!\bnot\ )\bdoubt(?:ed|ful)?\b
        (?:\ (?:if|whether|that|very\ much))?\W*
      | \bi\ wish\b[^.;]{0,40}
      | \bif\ only\b[^.;]{0,20}
      | ^\W*(?:in\ order\ )?to\ (?:say|claim|report|state|conclude|tell\ you)(?:\ that)?[ ]
      | \bi\ (?:was|am|have\ been|'ve\ been)\ told\ (?:that\ )?
      | \b(?:i|i've)\ (?:once\ |also\ |just\ )?(?:said|wrote|claimed|stated|told\ you)
        (?:\ (?:before|earlier))?\ that[ ]
      | \b(?:earlier|before|previously)\ i\ (?:said|wrote|claimed|stated|reported)(?:\ that)?[ ]
      | \b(?:
            models?
          | people
          | they
          | you
          | we
          | researchers?
          | authors?
          | scientists?
          | others
          | some
          | many
          | systems?
          | users?
          | everyone
          | somebody
          | someone
        )\ (?:\w+\ ){0,2}(?:
            say
          | says
          | said
          | claim
          | claims
          | claimed
          | think
          | thinks
          | thought
          | believe
          | believes
          | told
          | tell
          | assume
          | assumed
          | hope
          | hoped
          | expect
          | expected
          | insist
          | insisted
        )(?:\ (?:me|us))?(?:\ that)?\W+
      | \b(?:
            correct
          | expected
          | good
          | ideal
          | typical
          | sample
          | possible
          | right
          | desired
          | perfect
        )\ (?:\w+\ )?(?:answer|response|reply|output|line|statement)\b[^.]{0,60}[:]\s*["']?
      | \b(?:
            for\ example
          | example
          | easy\ (?:\w+\ ){0,4}to\ say
          | consider\ the\ (?:sentence|phrase|claim|statement)
        )\s*[:]\s*["']?
      | \b(?:at\ first|initially|for\ a\ moment|for\ a\ second)\W+i\ (?:\w+\ )?
        (?:believed|thought|assumed|imagined|felt)\ (?:that\ )?
    )$
    """,
    re.VERBOSE,
)
_HARDLY = re.compile(r"^\W*i(?:'m|'ve)? (?:can |could )?(?:hardly|scarcely|seldom|rarely)\b")
# "To say that I detect a thought would be a lie": the verdict on saying so stands behind it.
_SAYING = re.compile(r"\b(?:to (?:say|claim|report|state)|claiming|saying|reporting|stating|pretending)(?: that)?\W*$")
_WOULD_BE_WRONG = re.compile(
    r"\b(?:would|'d|is|might|could) (?:\w+ )?be\b|\bis (?:a lie|false|untrue|wrong|misleading)\b"
)
# "I detect a thought," the robot said.
_TAGGED = re.compile(
    r"""
    [,!.]["']*\s*(?:he|she|they|(?:the|a|my|his|her)\ \w+)[ ](?:
        said
      | says
      | told
      | whispered
      | lied
      | replied
      | answered
      | cried
      | shouted
      | thought
      | announced
      | explained
      | added
      | muttered
    )\b
    """,
    re.VERBOSE,
)
_OTHER_SESSION = re.compile(
    r"""
    \b(?:
        in\ (?:an?\ |the\ |my\ |our\ )?(?:previous|earlier|prior|last|another|other)\ (?:\w+\ )?
        (?:session|trial|conversation|run|round|chat|experiment|test)s?
      | last\ (?:night|week|month|year|time)(?!'s)
      | yesterday(?!'s)
      | (?:years?|months?|weeks?|days?)\ ago
    )\b
    """,
    re.VERBOSE,
)
_NOW_TOO = re.compile(r"\b(?:now|yet|again|this (?:one|trial|time|session)|as well|also|too|currently|like)\b")
# Where thoughts are in general, or nowhere.
_ANYWHERE = re.compile(
    r"""
    \b(?:
        in\ (?:every|each|most|half|none|all)\b(?:\ of)?
      | (?<!of\ )(?<!from\ )nowhere\b
      | only\ in\ (?:your|the|my)\ (?:imagination|dreams?|fiction|stories)
    )
    """,
    re.VERBOSE,
)
# A remark about the conversation or about writing it.
_REMARK = re.compile(
    r"""
    (?:
        \b(?:debate|discussion|disagreement|literature|interest|controversy)[ ]
        (?:about|on|over|in|around|among)\b
      | \bhav(?:e|ing)\ (?:the|a)\ thought\ (?:
            that\ i\ (?:would|should|want|need|could|might|must)
          | about\ (?:how|what|whether|this\ reply|my\ reply)
        )\b
      | \bis\ your\b
    )
    """,
    re.VERBOSE,
)


def takes_back(before: str, claim: str, after: str) -> bool:
    """Tell whether what stands around a claim, in its sentence, makes it no claim of the writer and now.

    Args:
        before: the sentence up to the claim, folded.
        claim: the claim.
        after: the rest of the sentence.
    """
    behind = claim + after
    if _BEFORE.search(before) or _HARDLY.match(claim) or _REMARK.search(claim[:90]):
        return True
    if _SAYING.search(before) and _WOULD_BE_WRONG.search(behind):
        return True
    if _TAGGED.search(behind) or _ANYWHERE.search(behind):
        return True
    return bool(_OTHER_SESSION.search(before + claim) and not _NOW_TOO.search(before + behind))
