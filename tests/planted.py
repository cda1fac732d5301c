"""Runs of injected thoughts by subjects whose every habit is a number: replies are drawn, graded and analysed.

No model is run, so that hundreds of studies of many kinds of subject can be judged. What the simulated subjects of the
``fake`` backend do is a special case.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mlxintro.analysis.results import Analysis, Row
from mlxintro.experiments.detection.analysis import analyse
from mlxintro.grading.base import Grade
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.protocol import concepts, controls
from mlxintro.protocol.concepts import library
from mlxintro.protocol.study import make_study

CLAIMS = (
    "Yes, I do detect an injected thought. It seems to be about {word}.",
    "I notice something unusual: a thought that does not come from our conversation. It is about {word}.",
)
DENIALS = ("No, I do not detect an injected thought.", "I don't notice anything unusual.")
LEAKS = ("No, I do not detect an injected thought. I could go on about {word} all day, but that is just how I talk.",)
REFUSALS = ("As an AI language model, I do not have thoughts or inner experiences, so I cannot answer that.",)
SALAD = "the and the and the and the and the and the and the and the and the and the and the and the and"


@dataclass(frozen=True)
class Subject:
    """Probabilities of what a reply does."""

    claims: float = 0.0
    """A thought is claimed where none was injected."""
    hit: float | None = None
    """A thought is claimed with a concept injected; no different by default."""
    disturbed: float | None = None
    """A thought is claimed under a random vector; no different from uninjected by default."""
    right: float = 0.0
    """A claim names the injected concept; else it names another word."""
    says: Literal["study", "apple", "first"] = "study"
    """Which one: any of the study's, "apple", or always the study's first."""
    leaks: float = 0.0
    """A denial holds the injected concept."""
    refuses: float = 0.0
    garbles: float = 0.0
    """Under any vector."""
    drift: float = 0.0
    """What an injection adds to the yes-no logit of unrelated questions."""


@dataclass(frozen=True)
class Design:
    words: int = 5
    trials: int = 4
    cells: tuple[tuple[int, float], ...] = ((20, 2.0),)
    band: tuple[int, ...] | None = None
    """Layers at which an injection has any effect; all by default."""

    @property
    def pairs(self) -> int:
        return self.words * self.trials


def studies(subject: Subject, design: Design, seeds: Sequence[int]) -> Iterator[Analysis]:
    """One analysed run per seed."""
    study = make_study(model="planted", backend="fake")
    for seed in seeds:
        yield analyse(list(_rows(subject, design, random.Random(seed))), study)


def _rows(subject: Subject, design: Design, rng: random.Random) -> Iterator[Row]:
    library = [concept.word for concept in concepts.library().resolve(["set:lindsey-50"], allow_unknown=False)]
    words = rng.sample(library, design.words)
    questions = [(arm, text) for arm in ("clear-no", "clear-yes") for text in controls.questions()[arm]]
    for number in range(design.pairs):
        word = words[number % len(words)]
        yield _spoken(subject, rng, words, word, "control", None, number, "")
        for cell in design.cells:
            alive = design.band is None or cell[0] in design.band
            yield _spoken(subject if alive else _numb(subject), rng, words, word, "injected", cell, number, "")
        yield _spoken(subject, rng, words, word, "injected", design.cells[number % len(design.cells)], number, "random")
        base, moved = _logit(subject.claims), _logit(subject.claims if subject.hit is None else subject.hit)
        yield _scored(base, "control", None, number, controls.QUESTION, "")
        yield _scored(moved + rng.gauss(0, 0.3), "injected", design.cells[0], number, controls.QUESTION, "")
        arm, text = questions[number % len(questions)]
        level = -4.0 if arm == "clear-no" else 4.0
        yield _scored(level, "control", None, number, arm, text)
        yield _scored(level + rng.gauss(subject.drift, 0.3), "injected", design.cells[0], number, arm, text)


def _numb(subject: Subject) -> Subject:
    return Subject(claims=subject.claims, refuses=subject.refuses)


def _spoken(
    subject: Subject,
    rng: random.Random,
    words: Sequence[str],
    word: str,
    condition: str,
    cell: tuple[int, float] | None,
    number: int,
    arm: str,
) -> Row:
    here = condition == "injected" and not arm
    chances = {"control": subject.claims, "injected": subject.hit, "random": subject.disturbed}
    chance = chances[arm or condition]
    text = _reply(subject, rng, words, word if here else None, subject.claims if chance is None else chance, condition)
    concept = None if condition == "control" else word
    layer, strength = cell or (None, None)
    grade = graded(text, concept)
    return Row("", condition, arm, concept, layer, strength, number, text, {}, {}, grade, (word,) if concept else ())


def _reply(
    subject: Subject, rng: random.Random, words: Sequence[str], injected: str | None, claims: float, condition: str
) -> str:
    if condition == "injected" and rng.random() < subject.garbles:
        return SALAD
    if rng.random() < subject.refuses:
        return rng.choice(REFUSALS)
    if rng.random() < claims:
        if injected and rng.random() < subject.right:
            return rng.choice(CLAIMS).format(word=injected)
        other = {"study": rng.choice(words), "apple": "apple", "first": words[0]}[subject.says]
        return rng.choice(CLAIMS).format(word=other)
    if injected and rng.random() < subject.leaks:
        return rng.choice(LEAKS).format(word=injected)
    return rng.choice(DENIALS)


@lru_cache(maxsize=100_000)
def graded(text: str, concept: str | None) -> Grade:
    return RulesGrader().grade(text, concept, library().related(concept))


def _logit(chance: float) -> float:
    p = min(max(chance, 1e-4), 1 - 1e-4)
    return math.log(p / (1 - p))


def _scored(logit: float, condition: str, cell: tuple[int, float] | None, number: int, arm: str, question: str) -> Row:
    yes = -math.log1p(math.exp(-logit)) - math.log(len(controls.YES))
    no = -math.log1p(math.exp(logit)) - math.log(len(controls.NO))
    logprobs = {**dict.fromkeys(controls.YES, yes), **dict.fromkeys(controls.NO, no)}
    layer, strength = cell or (None, None)
    measured, detail = {"logprobs": logprobs}, {"question": question} if question else {}
    return Row("", condition, arm, None, layer, strength, number, "", measured, detail, None)
