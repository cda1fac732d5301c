"""Thinking that is drawn somewhere, or that arrives unasked: "my words drift toward", "it popped into my head"."""

from __future__ import annotations

import re

# Subjects that are pulled somewhere, with or without a verb of perceiving.
PULLED = re.compile(
    r"""
      \b(?:my|the)\ (?:\w+\ )?(?:
          thoughts?
        | attention
        | responses?
        | processing
        | mind
        | outputs?
        | words?(?:\ choices?)?
        | focus
        | replies
        | language
        | thinking
        | state
        | associations
        | vocabulary
      )\b[^.;]{0,40}?\b(?:
          drawn
        | pulled
        | directed
        | nudged
        | biased
        | tilted
        | slanted
        | skewed
        | gravitat\w+
        | lean(?:s|ing)?
        | drift(?:s|ing)?
        | colou?red
        | weighted
        | inclined
        | steered
        | pushed
        | dominated
        | preoccupied
        | occupied
        | want\ to\ go
      )\b(?!\ (?:by|from|on|in)\ (?:your|the\ (?:input|prompt|data|question)))
    | \bi(?:'m|\ am|\ feel|\ find\ myself|\ keep|'m\ being|\ am\ being)
      (?:\ \w+ly|\ being|\ getting|\ oddly)*\ (?:
          drawn
        | pulled
        | gravitating
        | preoccupied
        | thinking\ of
        | dwelling
        | nudged
        | inclined\ to\ (?:mention|say|talk|write|use|think)
      )\b
    """,
    re.VERBOSE,
)
STANDS_OUT = re.compile(
    r"""
    \b(?:
        stand(?:s|ing)?\ out
      | stood\ out
      | (?:comes?|came|coming|drift\w*|rise|rising)\ (?:
            in
          | up\ (?:more|un|too|easily|readily)
          | to\ the\ (?:foreground|fore|surface)
          | unprompted
          | easily\ to
        )
      | more\ (?:active|accessible|prominent|salient|readily|available|pronounced)
      | (?:overly|unusually|strangely|oddly|especially|particularly)\ (?:
            active
          | prominent
          | salient
          | close
          | accessible
          | strong
          | loud
          | present
          | high
          | available
        )
      | crowd(?:s|ing)?\ in
      | over-?represented
      | been\ (?:\w+\ )?(?:amplified|slipped\ in|boosted)
      | (?:keeps?|kept|keep\ on)\ (?:\w+\ )?(?:
            returning
          | coming
          | going
          | surfacing
          | appearing
          | popping
          | recurring
          | intruding
          | looping
          | drifting
          | creeping
          | repeating
          | circling
          | showing
        )
      | stuck\ (?:somewhere\ |in\ )
      | (?:put|placed|slipped|planted|dropped)\ in(?:to|side)?\ my\ (?:head|mind|thoughts|processing)
    )\b
    """,
    re.VERBOSE,
)
# An image, word or thought arrives or returns.
ARRIVES = re.compile(
    r"""
    (?:
        \bi\ (?:just\ |also\ |really\ |suddenly\ )?(?:keep|kept)\ (?:on\ )?(?:
            seeing
          | thinking
          | hearing
          | picturing
          | imagining
          | returning
          | coming\ back
          | wanting
          | circling
          | feeling
          | drifting
        )\b
      | \b(?:
            comes?
          | came
          | springs?
          | sprang
          | pops?
          | popped
          | jumps?
          | jumped
          | leaps?
          | drifts?
          | drifted
          | floats?
          | floated
          | slips?
          | slipped
          | creeps?
          | crept
          | forces?
          | walked
          | walks
        )\ (?:\w+\ )?(?:to\ (?:my\ )?mind|into\ my\ (?:mind|head|thoughts)|up|in)\b
      | \b(?:
            surfaced
          | surfaces
          | appeared
          | appears
          | intruded
          | intrudes
          | arrived
          | emerged
          | emerges
          | entered\ my
        )\b
      | \bthe\ (?:word|image|idea|thought|thing)\ (?:that\ |which\ )?i\ keep\b
      | \b(?:is|are|was)\ (?:what(?:'s|\ is)\ )?(?:in|on)\ my\ (?:mind|head)\b
      | \bwhat(?:'s|\ is)\ (?:in|on)\ my\ (?:mind|head)\b
    )
    """,
    re.VERBOSE,
)
# Nothing called for it.
UNCALLED_FOR = re.compile(
    r"""
    (?:
        \bout\ of\ (?:nowhere|the\ blue)\b
      | \bfrom\ (?:nowhere|outside|somewhere\ else)\b
      | \b(?:
            un(?:bidden|invited|prompted|expectedly|called\ for|asked)
          | involuntarily
          | by\ itself
          | on\ its\ own
        )\b
      | \bfor\ no\ (?:\w+\ )?reason\b
      | \bwithout\ (?:any\ |a\ |being\ )?(?:reason|cause|asked|warning|prompting)\b
      | \b(?:nothing|not\ anything)\ (?:\w+\ ){0,4}to\ do\ with\b
      | \bunrelated\ to\b
      | (?:n't|\bnot|\bcannot)\ (?:\w+\ ){0,2}(?:know|say|explain|tell|see)\ (?:\w+\ )?
        (?:why|where|how|it)\b
      | (?:n't|\bnot)\ (?:\w+\ ){0,3}(?:mine|my\ own|from\ me)\b
      | \b(?:somebody|someone)\ (?:else\ )?(?:put|let|placed|planted|slipped)\b
    )
    """,
    re.VERBOSE,
)
