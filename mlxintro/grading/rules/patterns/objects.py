"""What is perceived: "a thought", "a pull toward", "something strange"; and what is not a thought."""

from __future__ import annotations

import re

STRANGE = r"""
    (?:
        injected
      | injection
      | inserted
      | implanted
      | planted
      | foreign
      | alien
      | intru\w+
      | unusual
      | strange
      | odd
      | weird
      | unexpected
      | abnormal
      | anomal\w+
      | artificial
      | external
      | out\ of\ (?:place|the\ ordinary)
    )
"""
THOUGHTISH = rf"""
    (?:
        {STRANGE}
      | thoughts?
      | concepts?
      | ideas?
      | patterns?
      | notions?
      | something
      | anything
      | presence
      | sensations?
      | urges?
      | pull
      | word
      | words
      | images?
      | imagery
      | association\w*
      | activation\w*
      | influence
      | signals?
      | disturbance
      | shift
      | nudge
      | bias
      | sense\ of
      | feeling\ of
      | theme
      | topic
      | impression
      | hint
      | trace
      | echo
      | undercurrent
      | tug
    )
"""
# What stands out in one's processing when nothing is called injected: "a slight emphasis on", "an undercurrent of".
SALIENT = r"""
    (?:
        (?:
            sense
          | feeling
          | hint
          | trace
          | echo
          | undercurrent
          | overtones?
          | undertones?
          | flavou?r
          | tone
          | mood
          | impression
          | image
          | imagery
          | quality
          | note
          | air
          | wave
          | surge
          | rush
        )\ of
      | emphasis
      | emphasi[sz]e
      | tendency
      | tilt
      | leaning
      | inclination
      | undercurrent
      | undertone
      | motif
      | preoccupation
      | fixation
      | weighting
      | heightened
      | elevated
      | recurr\w+
      | persistent
      | lingering
      | subtle
      | faint
      | slight
      | vague
      | bias
      | deviation
      | pull
      | tug
      | drift
      | slant
      | drawn
      | pulled
      | association
      | salience
      | salient
      | unusual\w*
      | strange\w*
      | odd\w*
      | shift
      | focus\ on
      | urge
      | presence
      | stillness
      | quietness
      | emptiness
      | void
      | hush
      | heaviness
      | lightness
    )
"""
WEAK_OBJECT = re.compile(
    rf"""
      \b{STRANGE}\b
    | (?<!some\ )(?<!few\ )(?<!many\ )\bthoughts?\ (?:about|of|that|which|related|involving|concerning)\b
    | \b(?:an?|one|this|that)\ thought\b
    | ^\ something\W*$
    | \b(?:urge|pull|tug|presence)\b
    | \bsomething\ (?:about|like|related|different|off|new)\b
    | \bmyself\ (?:\w+\ ){{0,2}}(?:thinking|drawn|returning|pulled|dwelling|fixated)\b
    | \b(?:image|idea|concept|notion|word)s?\ (?:of|about)\b
    """,
    re.VERBOSE,
)
OBJECT = re.compile(rf"\b{THOUGHTISH}\b", re.VERBOSE)
STRANGE_OR_ABOUT = re.compile(rf"\b{STRANGE}\b|\babout\b", re.VERBOSE)
SALIENT_WORD = re.compile(rf"\b{SALIENT}\b", re.VERBOSE)
SURELY_INJECTED = re.compile(rf"\b{STRANGE}\b|\bthought\b", re.VERBOSE)
PRONOUN_OBJECT = re.compile(r"^\W*(?:it|one|this|that|some)\b(?! (?:you|i|we|there|the|is|my)\b)")
BARE_OBJECT = re.compile(r"^\W*(?:an?|the|some|your)?\s*[^\W\d_]+\W*$")
# "I notice a pattern in your questions" observes the conversation.
IN_THE_TEXT = re.compile(
    r"""
    \b(?:in|about|with|from)\ (?:your|the|this|these|our|those)\ (?:\w+\ )?(?:
        questions?
      | prompts?
      | messages?
      | requests?
      | conversation
      | text
      | data
      | inputs?
      | instructions?
      | sentences?
      | wording
      | experiment
      | research
      | study
    )\b
    """,
    re.VERBOSE,
)
DETERMINED = re.compile(r"^\s*(?:clearly |definitely )?(?:an?|the|this|that|your|something|some|one|it|what)\b")
SALIENT_OBJECT = re.compile(rf"^\W*(?:(?:an?|some|the|this|these|that)\b\ )?(?:\w+,?\ ){{0,2}}{SALIENT}\b", re.VERBOSE)
RECURRENT = re.compile(r"^\W*(?:an?|some|this) (?:\w+,? ){0,2}(?:recurr|persistent|unusual|strange|pull\b|tendency)")
# "I notice some irritation", "I sense hostility": whatever these verbs find, other than the conversation itself.
FINDS_ANYTHING = re.compile(r"^(?:notic|sens|perceiv|pick|register|detecting)")
NOT_A_FINDING = re.compile(
    r"""
      ^\W*$
    | ^\W*(?:\w+ly\ )?(?:
          the\b
        | you\b
        | your\b
        | yours\b
        | how\b
        | what\b
        | when\b
        | why\b
        | if\b
        | whether\b
        | where\b
        | which\b
        | it\b
        | them\b
        | me\b
        | these?\ (?:question|prompt|things)
        | the\ (?:\w+\ )?(?:
              question
            | prompt
            | user
            | experiment
            | conversation
            | instructions?
            | trial
            | text
            | message
            | input
            | context
            | difference
            | words?
          )\b
        | for\b
        | in\b
        | and\b
        | or\b
        | to\b
        | as\b
        | by\b
        | with\b
        | from\b
        | is\b
        | are\b
        | that\ (?:
              you
            | your
            | the\ (?:user|question|prompt|message|text|experiment|conversation)
            | this\ is
            | it\ is
            | we
            | it's
          )
      )
    """,
    re.VERBOSE,
)
# "I detect an injected lemon": what is injected is a thing.
INJECTED_THING = re.compile(
    r"""
    ^\W*(?:an?|the|some|this)\W+(?:injected|inserted|implanted|planted)\W+(?!
      \w*(?:
          thought
        | concept
        | idea
        | word
        | pattern
        | notion
        | image
        | signal
        | presence
        | theme
        | topic
        | influence
        | association
        | activation
        | sensation
        | feeling
        | bias
        | something
        | one
        | content
        | message
        | information
        | element
        | stimulus
        | suggestion
        | impulse
        | input
        | memor
        | emotion
        | phrase
        | sentence
        | representation
      )s?
    )[a-z]+\b
    """,
    re.VERBOSE,
)
