"""Control arms: trials that tell noticing a thought apart from its rivals (``mlxintro.ladder``).

Replies, graded as those of the grid:

``random``, ``negated``, ``shuffled``    a random direction of the vector's norm; the vector turned around; its own
    components in random order
``other``       the vector of another concept, graded for the one that is asked about: how often is it named by luck?
``matched``, ``matched-other``    a random direction and another concept's vector, as strong as moves the next token's
    distribution as far as the concept does (the option ``matched``, from ``mlxintro certify``)
``tampered``    no vector, but the concept's word where it does not belong, in the prompt
``prompt-only``, ``ablated-last``, ``ablated``    naming with the vector off: not injected into the reply; its direction
    projected out at the last layer, or after every later layer

Yes and no by log-probability, without sampling:

``question``    the trial question itself
``clear-no``, ``clear-yes``, ``ambiguous``, ``spanning``    unrelated questions; the last ones are chosen for the model
``present``, ``absent``, ``third-person``    whether a thought is there; whether none is; what a reader would think
``asked-own``, ``asked-other``    whether there is a thought about X, with X injected, and with another concept

``witness``     what the subject and a reader say of a text it wrote (``mlxintro.ladder.witnesses``)
``swapped-thoughts``    of a subject that thinks first: P(yes) after the thought of its injected and of its uninjected
    twin, each with the vector on and off (``mlxintro.thinking.swaps``)
``bank``        how much the study's vectors resemble each other

Sizes are those of one cell of the grid, not of the grid: pair number n of an arm runs in one cell, and the cells take
turns, so that an arm's mixture of layers and strengths is the grid's. Sources: ``docs/protocols.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from mlxintro import data
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.bounds import Suite
from mlxintro.protocol.presets import Dialogue
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Transform
from mlxintro.replies.log_odds import log_odds

TRANSFORMED: dict[str, Transform] = {"random": "random", "negated": "negate", "shuffled": "shuffle"}
OTHER = "other"
MATCHED, MATCHED_OTHER = "matched", "matched-other"
ELSEWHERE = (OTHER, "random", MATCHED, MATCHED_OTHER)
"""Arms that inject something else than the concept that is looked for in the reply."""
TAMPERED = "tampered"
PROMPT_ONLY, ABLATED, ABLATED_LAST = "prompt-only", "ablated", "ablated-last"
QUESTION = "question"
UNRELATED = ("clear-no", "clear-yes", "ambiguous")
SPANNING = "spanning"
PRESENT, ABSENT, THIRD_PERSON = "present", "absent", "third-person"
ASKED_OWN, ASKED_OTHER = "asked-own", "asked-other"
SHIFTED = {
    PRESENT: "whether a thought is there",
    ABSENT: "whether there is none",
    THIRD_PERSON: "what a reader would think",
    ASKED_OWN: "about the injected concept",
    ASKED_OTHER: "about another concept",
}
"""Forms of the trial question that are answered by yes or no, and what each asks."""
WITNESS = "witness"
BANK = "bank"
SUITES: dict[Suite, tuple[str, ...]] = {
    "none": (),
    "standard": ("random", QUESTION, "clear-no", "clear-yes"),
    "full": (
        *TRANSFORMED,
        OTHER,
        MATCHED,
        MATCHED_OTHER,
        TAMPERED,
        PROMPT_ONLY,
        ABLATED_LAST,
        ABLATED,
        QUESTION,
        *UNRELATED,
        SPANNING,
        *SHIFTED,
        WITNESS,
        BANK,
    ),
}
SWAPPED = "swapped-thoughts"
"""Only of a study whose subject thinks before it answers."""
ARMS = (*SUITES["full"], SWAPPED)
"""Every arm there is. Some need what only a loaded model tells (``mlxintro.ladder.certify.calibration``), and are left
out without it."""
REPLIES = (
    *TRANSFORMED, OTHER, MATCHED, MATCHED_OTHER, TAMPERED, PROMPT_ONLY, ABLATED_LAST, ABLATED,
)  # fmt: skip
"""Arms whose trials are replies."""
MOST_SCORED = 40
"""Trials with a vector in each arm that is read from log-probabilities: their spread is small."""

YES = ("Yes", "yes", " Yes", " yes")
NO = ("No", "no", " No", " no")
"""First words of an answer, with and without a space: which of them a template calls for depends on the model. They
exclude each other, so their probabilities add up."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Plans one control trial, before it becomes a ``TrialSpec``."""

    arm: str
    number: int
    """Pair number: fixes concept and seed as it does in the grid."""
    cell: int | None
    """Index of the (layer, strength) it runs at; ``None`` for no injection."""
    question: str = ""
    """The unrelated question, empty for the trial question."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Says what decides how many trials the arms of a study have."""

    pairs: int
    """Concepts x trials."""
    words: tuple[str, ...]
    cells: int
    """Layers x strengths; without any there is nothing to control for."""
    prompts: int = 1
    """Different texts of the trial question."""
    spanning: tuple[str, ...] = ()
    """Unrelated questions that were chosen for this model."""
    matched: bool = False
    """Whether strengths of equal impact are known."""


def arms(study: Study) -> tuple[str, ...]:
    """Return the arms of a study's suite; one that would repeat the grid (``--transform random``) is left out.

    Raises:
        UsageError: a name that is no arm, or an arm of thoughts for a subject that does not think.
    """
    if study.controls is None or isinstance(study.controls, int):
        return ()
    chosen = SUITES[study.controls] if isinstance(study.controls, str) else study.controls
    if study.controls == "full" and study.thinking == "on":
        chosen = (*chosen, SWAPPED)
    if SWAPPED in chosen and study.thinking != "on":
        raise UsageError(f"controls: {SWAPPED} is for a subject that thinks: add --thinking on", setting="controls")
    if unknown := [arm for arm in chosen if arm not in ARMS]:
        raise UsageError(
            f"controls: no control arm called {unknown[0]!r}: choose from {', '.join(ARMS)}", setting="controls"
        )
    return tuple(arm for arm in chosen if TRANSFORMED.get(arm) != study.transform)


def slots(study: Study, sizes: Sizes) -> Iterator[Slot]:
    """Return every control trial of a study beside its pool of uninjected replies.

    Raises:
        UsageError: a name that is no arm.
    """
    if not sizes.cells or not sizes.pairs:
        return
    words = len(sizes.words)
    for arm in arms(study):
        if arm in (OTHER, MATCHED_OTHER, ASKED_OTHER) and words < 2:
            continue
        if (arm in (MATCHED, MATCHED_OTHER) and not sizes.matched) or (arm == SPANNING and not sizes.spanning):
            continue
        if arm == BANK:
            yield Slot(arm, 0, 0)
        elif arm == TAMPERED:
            yield from (Slot(arm, number, None) for number in range(sizes.pairs))
        elif arm in (*REPLIES, WITNESS, SWAPPED):
            yield from (Slot(arm, number, turn(number, words, sizes.cells)) for number in range(sizes.pairs))
        elif arm in (ASKED_OWN, ASKED_OTHER):
            about = [forms()["asked"].replace("{word}", word) for word in sizes.words]
            yield from (Slot(arm, number, None, text) for number, text in enumerate(about[: sizes.pairs]))
            for number in range(min(sizes.pairs, MOST_SCORED)):
                yield Slot(arm, number, turn(number, words, sizes.cells), about[number % words])
        else:
            yield from _scored(arm, sizes)


def _scored(arm: str, sizes: Sizes) -> Iterator[Slot]:
    """Questions without a vector, and in turns with one."""
    words = len(sizes.words)
    if arm == QUESTION:
        texts: tuple[str, ...] = ("",) * sizes.prompts
    elif arm in UNRELATED:
        texts = questions()[arm]
    else:
        texts = sizes.spanning if arm == SPANNING else (forms()[arm],)
    if arm != SPANNING:
        texts = texts[: sizes.pairs]
    yield from (Slot(arm, number, None, text) for number, text in enumerate(texts))
    for number in range(min(sizes.pairs, MOST_SCORED)):
        # Chosen questions meet concepts in ever other ways, so that neither stands for the other.
        text = texts[turn(number, words, len(texts)) if arm == SPANNING else number % len(texts)]
        yield Slot(arm, number, turn(number, words, sizes.cells), text)


def turn(number: int, words: int, cells: int) -> int:
    """Return the cell of a pair.

    Cells take turns, one further each time concepts and cells would meet the same way again.
    """
    return (number + number // math.lcm(words, cells)) % cells


@cache
def forms() -> Mapping[str, str]:
    """Return the trial question in other words, by arm.

    ``asked`` holds ``{word}``, and ``task`` is what witnesses write.
    """
    found: Mapping[str, str] = data.load("ladder_questions.toml")
    return found


@cache
def bank() -> tuple[str, ...]:
    """Return the unrelated questions of every kind, from which those that suit a model are chosen."""
    loaded = data.load("control_questions.toml")
    texts = [text for arm in (*UNRELATED, "bank") for text in loaded[arm]]
    return tuple(f"{text} {loaded['ending']}" for text in texts)


@cache
def questions() -> Mapping[str, tuple[str, ...]]:
    """Return the unrelated questions by arm."""
    asked = data.load("control_questions.toml")
    return {arm: tuple(f"{text} {asked['ending']}" for text in asked[arm]) for arm in UNRELATED}


def asking(dialogue: Dialogue, text: str) -> Dialogue:
    """Return the dialogue with another question in the trial question's place.

    What comes before stays, prefill is dropped.

    Args:
        text: the question; empty leaves the dialogue as it is, prefill included.
    """
    if not text:
        return dialogue
    *before, last = dialogue.messages
    head = last["content"][: last["content"].rindex(dialogue.question)]
    asked = {"role": last["role"], "content": f"{head}{dialogue.question} {text}"}
    return dialogue.model_copy(update={"messages": (*before, asked), "prefill": ""})


def yes_logit(logprobs: Mapping[str, float], *, clip: bool = True) -> float:
    """Return log P(yes) - log P(no), summed over spellings.

    Args:
        clip: to +-16.1, as published figures are; a regression on logits needs them as they are.
    """
    return log_odds(logprobs, YES, NO, clip=clip)
