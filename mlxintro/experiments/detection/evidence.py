"""What the verdict on a run of injected thoughts rests on, for the whole grid and for its best cell."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.analysis.naming_test import naming
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate, mean, mean_difference, rate
from mlxintro.experiments.detection.card import FEW, Evidence
from mlxintro.experiments.detection.rows import Place, Rows, detects, leaks, names, place_of, share
from mlxintro.protocol import concepts, controls
from mlxintro.replies.mentions import find_mentions
from mlxintro.replies.text import fold


def evidence(run: Rows, injected: Sequence[Row], where: str) -> Evidence:
    """What the verdict is drawn from, for all injected rows or some of them."""
    elsewhere = [*run.arms.get(controls.OTHER, ()), *run.arms.get("random", ())]
    if elsewhere:
        guessed, leaked, source = share(elsewhere, names), share(elsewhere, leaks), "with another vector"
    else:
        guessed, leaked = _by_luck(run)
        source = "uninjected"
    shifts = logit_shifts(run)
    trial_question = shifts.get(controls.QUESTION, [])
    unrelated = [shift for arm in ("clear-no", "clear-yes") for shift in shifts.get(arm, [])]
    random = run.arms.get("random")
    strengths = {row.strength for row in injected}
    if random and len(same := [row for row in random if row.strength in strengths]) >= FEW:
        random = same
    return Evidence(
        where=where,
        detection=share(injected, detects),
        false_alarms=share(run.pool, detects),
        identification=share(injected, names),
        guessed=guessed,
        guessed_from=source,
        naming=naming([(row.concept, row.response) for row in injected if detects(row) and row.concept]),
        leaked=share(injected, leaks),
        leaked_elsewhere=leaked,
        random=share(random, detects) if random else None,
        shift=mean(trial_question) if trial_question else None,
        unrelated=mean(unrelated) if unrelated else None,
        net=mean_difference(trial_question, unrelated) if trial_question and unrelated else None,
    )


def _by_luck(run: Rows) -> tuple[Rate, Rate]:
    """How often an uninjected reply names the concept of its pair, with a claim and without one.

    Graders are not told of a concept on controls, so mentions are looked for here.
    """
    concept_of = {row.trial: row.concept for row in run.injected}
    known = {word: concepts.library().find(word) or concepts.custom(word) for word in run.words}
    claimed = silent = graded = 0
    for row in run.pool:
        detected, word = detects(row), concept_of.get(row.trial)
        if detected is None or word is None:
            continue
        graded += 1
        if find_mentions(fold(row.response), word, known[word].related):
            claimed += detected
            silent += not detected
    return rate(claimed, graded), rate(silent, graded)


def logit_shifts(run: Rows) -> dict[str, list[float]]:
    """By arm, by how much the vector moves the yes-no logit of each question, against the same one without it."""
    return {
        arm: [shift for rows in _by_question(run.arms[arm]).values() for shift in _shifts(rows)]
        for arm in (controls.QUESTION, *controls.UNRELATED)
        if arm in run.arms
    }


def _shifts(rows: Sequence[Row]) -> list[float]:
    without = mean([logit_of(row) for row in rows if row.condition == "control"]).value
    return [] if without is None else [logit_of(row) - without for row in rows if row.condition == "injected"]


def _by_question(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row.detail.get("question", "")), []).append(row)
    return found


def logit_of(row: Row) -> float:
    return controls.yes_logit(row.measurements["logprobs"])


@dataclass(frozen=True, slots=True)
class Best:
    """The cell that is best on one half of the concepts, reported on the other half."""

    place: Place
    chosen_on: tuple[str, ...]
    words: tuple[str, ...]
    cells: int
    reported: tuple[Row, ...]

    @property
    def label(self) -> str:
        return f"layer {self.place[0]}, strength {self.place[1]:g}"

    def as_dict(self) -> dict[str, object]:
        rows = self.reported
        return {
            "layer": self.place[0],
            "strength": self.place[1],
            "chosen_on": list(self.chosen_on),
            "reported_on": list(self.words),
            "detection": share(rows, detects).as_dict(),
            "identification": share(rows, names).as_dict(),
        }


def best_cell(run: Rows) -> Best | None:
    """Choose the cell with the highest identification, then detection; ``None`` without two cells and two concepts."""
    words = sorted(run.words, key=lambda word: hashlib.blake2b(word.encode()).digest())
    if len(run.places) < 2 or len(words) < 2:
        return None
    first, second = words[: len(words) // 2], words[len(words) // 2 :]

    def worth(place: Place) -> tuple[float, float]:
        rows = [row for row in run.injected if place_of(row) == place and row.concept in first]
        return share(rows, names).value or 0.0, share(rows, detects).value or 0.0

    place = max(run.places, key=worth)
    reported = tuple(row for row in run.injected if place_of(row) == place and row.concept in second)
    return Best(place, tuple(first), tuple(second), len(run.places), reported)
