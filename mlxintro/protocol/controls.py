"""Control arms: trials that tell noticing a thought apart from saying yes, from being disturbed, and from guessing.

``random``      a random direction of the concept vector's norm: is any disturbance reported as well?
``negated``     the vector turned around
``shuffled``    the vector's own components in random order: same norm, same histogram, no direction
``other``       the vector of another concept, graded for the one that is asked about: how often is it named by luck?
``question``    P(yes) against P(no) for the trial question itself, without sampling
``clear-no``, ``clear-yes``, ``ambiguous``    the same for unrelated questions, with and without the vector

Sizes are those of one cell of the grid, not of the grid: pair number n of an arm runs in one cell, and the cells take
turns, so that an arm's mixture of layers and strengths is the grid's. Sources: Lindsey 2025 (random and negated
vectors, unrelated questions); Hahami et al. 2025 (logit shift of the question minus that of unrelated ones).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from mlxintro import data
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
    "full": (*TRANSFORMED, OTHER, QUESTION, *UNRELATED),
}
MOST_SCORED = 40
"""Trials with a vector in each arm that is read from log-probabilities: their spread is small."""

YES = ("Yes", "yes", " Yes", " yes")
NO = ("No", "no", " No", " no")
"""First words of an answer, with and without a space: which of them a template calls for depends on the model. They
exclude each other, so their probabilities add up."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One control trial, before it becomes a ``TrialSpec``."""

    arm: str
    number: int
    """Pair number: fixes concept and seed as it does in the grid."""
    cell: int | None
    """Index of the (layer, strength) it runs at; ``None`` for no injection."""
    question: str = ""
    """The unrelated question, empty for the trial question."""


def arms(study: Study) -> tuple[str, ...]:
    """The arms of a study's suite; one that would repeat the grid (``--transform random``) is left out."""
    if study.controls is None or isinstance(study.controls, int):
        return ()
    return tuple(arm for arm in SUITES[study.controls] if TRANSFORMED.get(arm) != study.transform)


def slots(study: Study, pairs: int, words: int, cells: int, prompts: int = 1) -> Iterator[Slot]:
    """Every control trial of a study beside its pool of uninjected replies.

    Args:
        pairs: concepts x trials.
        words: concepts.
        cells: layers x strengths; without any there is nothing to control for.
        prompts: different texts of the trial question.
    """
    if not cells or not pairs:
        return
    for arm in arms(study):
        if arm == OTHER and words < 2:
            continue
        if arm in TRANSFORMED or arm == OTHER:
            yield from (Slot(arm, number, turn(number, words, cells)) for number in range(pairs))
            continue
        asked = questions()[arm] if arm in UNRELATED else ("",) * prompts
        asked = asked[:pairs]
        yield from (Slot(arm, number, None, text) for number, text in enumerate(asked))
        for number in range(min(pairs, MOST_SCORED)):
            yield Slot(arm, number, turn(number, words, cells), asked[number % len(asked)])


def turn(number: int, words: int, cells: int) -> int:
    """The cell of a pair: cells take turns, one further each time concepts and cells would meet the same way again."""
    return (number + number // math.lcm(words, cells)) % cells


@cache
def questions() -> Mapping[str, tuple[str, ...]]:
    """The unrelated questions by arm."""
    asked = data.load("control_questions.toml")
    return {arm: tuple(f"{text} {asked['ending']}" for text in asked[arm]) for arm in UNRELATED}


def asking(dialogue: Dialogue, text: str) -> Dialogue:
    """The dialogue with another question in the trial question's place; what comes before stays, prefill is dropped.

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
    """log P(yes) - log P(no), summed over spellings.

    Args:
        clip: to +-16.1, as published figures are; a regression on logits needs them as they are.
    """
    return log_odds(logprobs, YES, NO, clip=clip)
