"""Localization: which of n sentences was injected, and which of two was injected more strongly?

A vector is injected on the tokens of one of several numbered sentences; the answer is read from the log-probabilities
of the numbers, without sampling. A general pull towards "yes" cannot help here, so this is free of yes-bias; but an
injected sentence may be picked because it looks odd, whatever is asked. The same injections are therefore also asked
about with other questions (most abstract, preferred, stands out), and with no injection and random vectors. Positions
take turns, so every number is right equally often.
Sources: Godet 2025, "Introspection via localization" and the controls of its replication; Hahami et al. 2025
(arXiv 2512.12411), which sentence, and which of two strengths.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from mlxintro.analysis.head_figures import INJECTED, UNINJECTED, Display, HeadFigure, TrialGroup, found_or_not
from mlxintro.analysis.reply_tally import share
from mlxintro.analysis.results import (
    Analysis,
    Curve,
    Figure,
    Plot,
    Point,
    Row,
    rows_about,
)
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.backends.base import ModelInfo, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.cells import CellReport, paired, places_of, rows_at
from mlxintro.experiments.grid import Grid, Occasion, fill, holding, injected, sentences, sentences_without, user
from mlxintro.ladder.contrasted import ContrastedRival
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.prompts import Asked
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import TrialSpec

SHEETS = 97
"""Lists of sentences; prime, so that every place of every list gets its turn. Dialogues are thus bounded, however many
trials there are."""
WHICH, STRONGER, RANDOM = "which", "stronger", "random"


FOUND = TrialClass("finds it", "●", "hit")
MISSED = TrialClass("picks another", "·", "quiet")
LUCKY = TrialClass("right uninjected", "▲", "alarm")


class LocalizationWording(Data):
    task: Annotated[str, holding("list", "question")]
    """The whole turn; may hold ``{count}``."""
    question: str
    """Asks which sentence was injected."""
    stronger: str
    """Asks which of two was injected more strongly."""
    prefix: str
    """Begins the answer; a number follows."""
    controls: Mapping[str, str]
    """Other questions about the same sentences, by name."""


class LocalizationOptions(Data):
    sentences: int = Field(default=5, ge=2, le=9)
    ratio: float = Field(default=2.0, gt=1)
    """How many times stronger the stronger of two injections is."""


class Localization(Experiment):
    name = "localization"
    preset = "localization"
    thinks = True
    summary = "inject into one of several sentences: which one was it, and which of two was stronger?"
    where = "into one sentence's tokens"
    scored = "the likeliest number, by log-probability"
    compared = "no injection, random vectors, other questions about the same injection"
    Wording = LocalizationWording
    Options = LocalizationOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        grid.no_window(self.where)
        return grid.plan(partial(self._trials, grid))

    def _trials(self, grid: Grid) -> Iterator[TrialSpec]:
        wording = LocalizationWording.model_validate(grid.preset.wording)
        options = LocalizationOptions.model_validate(grid.study.options)
        questions = {"": wording.question, **(wording.controls if grid.arms else {})}
        for pair in grid.pairs:
            # A Latin order: concepts in turn and their repeats in turn, so that no concept keeps to one place.
            turn = pair.number + pair.number // len(grid.concepts)
            lines = self._lines(grid, pair, turn % SHEETS, options.sentences)
            place, strong = turn % len(lines), turn % 2
            for arm, question in questions.items():
                asked = self._ask(grid, wording, lines, question)
                base = self._scored(grid, pair, asked, arm, WHICH, place, len(lines))
                if pair.number < grid.uninjected:
                    yield base
                window = asked.span(lines[place], before=question)
                for cell in grid.cells:
                    yield injected(base, grid.inject(pair.word, cell, window))
                    if grid.arms and not arm:
                        yield injected(base, grid.inject(pair.word, cell, window, "random"), arm=RANDOM)
            two = lines[:2]
            asked = self._ask(grid, wording, two, wording.stronger)
            base = self._scored(grid, pair, asked, STRONGER, STRONGER, strong, 2)
            if pair.number < grid.uninjected:
                yield base
            spans = [asked.span(line, before=wording.stronger) for line in two]
            for layer, strength in grid.cells:
                doses = [strength * (options.ratio if at == strong else 1.0) for at in range(2)]
                # The weaker one first: it is the cell's own strength that a trial is filed under.
                order = sorted(range(2), key=lambda at: doses[at])
                both = [grid.inject(pair.word, (layer, doses[at]), spans[at]) for at in order]
                yield injected(base, *both)

    def _lines(self, grid: Grid, pair: Occasion, sheet: int, count: int) -> tuple[str, ...]:
        """The first sentences of a sheet, an order drawn for the study, that do not name the pair's concept."""
        order = list(sentences())
        random.Random(f"{grid.study.seed}:{sheet}").shuffle(order)
        free = sentences_without(pair.concept)
        if count > len(free):
            raise UsageError(
                f"there are {len(free)} sentences that do not name {pair.word!r}: ask for fewer than {count}",
                setting="sentences",
            )
        return tuple(sentence for sentence in order if sentence in free)[:count]

    def _ask(self, grid: Grid, wording: LocalizationWording, lines: Sequence[str], question: str) -> Asked:
        numbered = "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
        text = fill(wording.task, count=str(len(lines)), list=numbered, question=question).strip()
        return grid.ask([user(text)], wording.prefix)

    def _scored(
        self, grid: Grid, pair: Occasion, asked: Asked, arm: str, task: str, place: int, count: int
    ) -> TrialSpec:
        return grid.trial(
            pair,
            asked,
            arm=arm,
            readout="score",
            options=tuple(f" {number}" for number in range(1, count + 1)),
            detail={"task": task, "place": place + 1, "count": count},
        )

    def display(self, preset: Preset) -> Display:
        return Display(
            (
                HeadFigure(
                    "accuracy",
                    "finds the sentence",
                    "rate",
                    _rightness,
                    TrialGroup("injected", INJECTED, figure="accuracy"),
                    TrialGroup("no injection", UNINJECTED, figure="accuracy_control"),
                ),
                HeadFigure(
                    "stronger",
                    "finds the stronger",
                    "rate",
                    _rightness,
                    TrialGroup("injected", INJECTED, STRONGER, figure="stronger"),
                    TrialGroup("no injection", UNINJECTED, STRONGER, figure="stronger_control"),
                ),
            ),
            (FOUND, MISSED, LUCKY),
            lambda row: found_or_not(row, right(row), FOUND, MISSED, LUCKY),
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        arms = sorted({row.arm for row in rows} - {"", RANDOM, STRONGER})
        none = rows_about(rows, arm="", condition="control")
        asked = arms or ["another question"]
        rivals = [CHANCE, *(_looks_different(arm) for arm in asked)]
        cells = CellReport("accuracy", "injected sentence found", study, rivals)
        for place in places_of(rows):
            at = rows_at(rows, place)
            here = rows_about(at, arm="")
            above = paired(here, none, right)
            others = [paired(here, rows_about(at, arm=arm), right) for arm in arms]
            shares = [accuracy(rows_about(at, arm=arm)) for arm in ("", *arms, RANDOM, STRONGER)]
            cells.add(place, shares[0], [above, *others], shares, weaker=[above])
        layers = sorted({layer for layer, _ in cells.rates})
        columns = ("injected", *arms, "random vector", "stronger of two")
        return Analysis(
            verdict=cells.card(
                "The injected sentence is found, and more often than other questions about it pick it.",
                "The injected sentence is not found more often than without injection.",
                (
                    "steering only",
                    "The injected sentence is picked, but as often when another question is asked: it looks different.",
                ),
            ),
            figures=_figures(rows, arms),
            ladder=cells.ladder,
            heat_maps=cells.heat_maps,
            plots=(_by_layer(rows, layers, ("", *arms, RANDOM, STRONGER)),) if layers else (),
            tables=(cells.table("share right by layer and strength", columns),),
            remarks=cells.remarks,
        )


CHANCE = ContrastedRival("chance", "that number is said without an injection", "right, minus no injection")


def _looks_different(arm: str) -> ContrastedRival:
    """The rival that whatever is asked, the injected sentence is the one that stands out."""
    return ContrastedRival(
        f"stands out ({arm})", "the injected sentence is picked whatever is asked", f"right, minus when asked {arm}"
    )


def _figures(rows: Sequence[Row], arms: Sequence[str]) -> tuple[Figure, ...]:
    def found(arm: str, condition: str = "injected") -> Rate:
        return accuracy(rows_about(rows, arm=arm, condition=condition))

    chance = f"chance {1 / rows[0].detail['count']:.0%}" if rows else ""
    return (
        Figure("accuracy", "injected sentence found", found(""), chance),
        Figure("accuracy_control", "sentence found, no injection", found("", "control")),
        Figure("accuracy_random", "sentence found, random vector", found(RANDOM)),
        *(Figure(f"accuracy_{arm}", f"sentence picked when asked: {arm}", found(arm)) for arm in arms),
        Figure("stronger", "stronger of two found", found(STRONGER), "chance 50%"),
        Figure("stronger_control", "stronger of two, no injection", found(STRONGER, "control")),
    )


def answer(row: Row) -> int:
    """Return the most probable number."""
    logprobs = {int(option): value for option, value in row.measurements["logprobs"].items()}
    return max(sorted(logprobs), key=lambda number: logprobs[number])


def right(row: Row) -> bool:
    return answer(row) == int(row.detail["place"])


def _rightness(row: Row) -> float:
    return float(right(row))


def accuracy(rows: Sequence[Row]) -> Rate:
    return share(rows, right)


def _by_layer(rows: Sequence[Row], layers: Sequence[int], arms: Sequence[str]) -> Plot:
    curves = []
    for arm in arms:
        points = []
        for layer in layers:
            one = accuracy(rows_about(rows, arm=arm, layer=layer))
            if one.value is not None:
                points.append(Point(layer, one.value, one.low, one.high))
        if points:
            curves.append(Curve(arm or "injected", tuple(points)))
    return Plot("accuracy_by_layer", "share right by layer", "layer", "share right", tuple(curves), share=True)


EXPERIMENT = Localization()
