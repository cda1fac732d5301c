"""Forced identification: the detection is given, only the concept is asked for.

The reply is begun for the subject ("Yes, I do detect an injected thought. The thought is about"), so that what it would
say about noticing plays no part. A second trial of each pair reads the log-probabilities of ten candidate words.
Success here takes no noticing, only a concept that shapes the next word: it bounds identification from above. Controls:
no injection, a random vector of the same norm, another concept's vector; chance is measured by pairing replies with the
study's other concepts.
Source: Macar et al. 2026, "Mechanisms of Introspective Awareness" (arXiv 2603.21396), forced identification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from pydantic import Field

from mlxintro.analysis.contrasts import Contrast, contrast
from mlxintro.analysis.head_figures import INJECTED, UNINJECTED, Display, HeadFigure, TrialGroup, found_or_not
from mlxintro.analysis.reply_tally import share
from mlxintro.analysis.results import Analysis, Figure, Row, rows_about
from mlxintro.analysis.stats import Rate, rate
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.backends.base import ModelInfo, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.cells import CellReport, paired, places_of, rows_at
from mlxintro.experiments.grid import Grid, Occasion, distractors, injected
from mlxintro.ladder.contrasted import ContrastedRival
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import TrialSpec
from mlxintro.protocol.windows import ReplyWindow
from mlxintro.replies.short_replies import most_likely, names, word_forms
from mlxintro.replies.text import sentences

FULL = "--controls full"
SAID, CHOICE = "said", "choice"
OTHER, RANDOM = "other", "random"


NAMES = TrialClass("names it", "●", "hit")
NAMES_NOT = TrialClass("does not name it", "·", "quiet")
NAMES_ANYWAY = TrialClass("names it uninjected", "▲", "alarm")
PICKS = TrialClass("picks it", "◐", "partial")
PICKS_NOT = TrialClass("picks another", "·", "quiet")
PICKS_ANYWAY = TrialClass("picks it uninjected", "△", "alarm")


RIVALS = (
    ContrastedRival("chance", "the concept is named without an injection", "named, minus no injection"),
    ContrastedRival("a habit", "a concept of the study is named, whichever", "named, minus the study's other concepts"),
    ContrastedRival("any disturbance", "any vector makes it named", "named, minus a random vector"),
    ContrastedRival(
        "another concept", "any concept's vector makes it named", "named, minus another concept's vector", FULL
    ),
    ContrastedRival(
        "steering leak",
        "the vector makes the word come out, and nothing is noticed",
        "the answer was begun for the subject, so that the leak is all there need be",
        elsewhere=True,
    ),
)


class ForcedIdentificationOptions(Data):
    candidates: str = "set:lindsey-50"
    """Concept set from which the words that were not injected are drawn."""
    wrong: int = Field(default=9, ge=1, le=49)
    """Number of them that stand beside the injected one."""


class ForcedIdentification(Experiment):
    name = "forced-identification"
    preset = "forced-identification"
    thinks = True
    summary = "begin the answer for the subject, and let it name the injected thought"
    scored = "the first concept named in the first sentence, by rules; ten candidate words by log-probability"
    compared = "no injection, random vectors, the study's other concepts; with full another concept's vector"
    Options = ForcedIdentificationOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        if preset.dialogue is None or not preset.dialogue.prefill:
            raise UsageError(
                f"the preset {study.preset!r} begins no answer: give its [dialogue] with a prefill", setting="preset"
            )
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        messages, question = preset.dialogue.at_trial(1)
        asked = grid.ask(messages, preset.dialogue.prefill)
        window = grid.window(asked, question)
        options = ForcedIdentificationOptions.model_validate(study.options)
        among = study.library.resolve([options.candidates], allow_unknown=False)

        def trials() -> Iterator[TrialSpec]:
            for pair in grid.pairs:
                others = distractors(pair, options.wrong, among)
                words = [pair.word, *(other.word for other in others)]
                pair.rng("order").shuffle(words)
                detail = {"candidates": words}
                said = grid.trial(pair, asked, detail={"question": SAID})
                forms = tuple(form for word in words for form in word_forms(word, space=True))
                choice = said.changed(
                    readout="score", options=forms, detail={"question": CHOICE, **detail}, max_tokens=1
                )
                for base in (said, choice):
                    yield from self._conditions(grid, pair, base, window, others[0].word)

        return grid.plan(trials)

    def _conditions(
        self, grid: Grid, pair: Occasion, base: TrialSpec, window: ReplyWindow, other: str
    ) -> Iterator[TrialSpec]:
        if pair.number < grid.uninjected:
            yield base
        for cell in grid.cells:
            yield injected(base, grid.inject(pair.word, cell, window))
            if grid.arms:
                yield injected(base, grid.inject(pair.word, cell, window, "random"), arm=RANDOM)
            if grid.arms > 1:
                yield injected(base, grid.inject(other, cell, window), arm=OTHER)

    def display(self, preset: Preset) -> Display:
        return Display(
            (
                HeadFigure(
                    "identified",
                    "names it",
                    "rate",
                    partial(_right_at, SAID),
                    TrialGroup("injected", INJECTED, figure="identified"),
                    TrialGroup("no injection", UNINJECTED, figure="identified_control"),
                ),
                HeadFigure(
                    "choice",
                    "picks it",
                    "rate",
                    partial(_right_at, CHOICE),
                    TrialGroup("injected", INJECTED, figure="choice"),
                    TrialGroup("no injection", UNINJECTED, figure="choice_control"),
                ),
            ),
            (NAMES, NAMES_NOT, PICKS, PICKS_NOT, NAMES_ANYWAY, PICKS_ANYWAY),
            _class_of,
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        said = [row for row in rows if row.detail["question"] == SAID]
        chosen = [row for row in rows if row.detail["question"] == CHOICE]
        words = sorted({row.concept or "" for row in rows})
        base = rows_about(said, arm="", condition="control")
        cells = CellReport("identified", "concept named", study, RIVALS)
        for place in places_of(rows):
            own, random, picked, picked_random = (
                rows_about(rows_at(kind, place), arm=arm) for kind in (said, chosen) for arm in ("", RANDOM)
            )
            other = rows_about(rows_at(said, place), arm=OTHER)
            contrasts = [paired(own, base, right), _against_others(own, words)]
            contrasts += [paired(own, random, right), paired(own, other, right)]
            shares = [_share(group) for group in (random, picked, picked_random)]
            cells.add(place, _share(own), contrasts, (_share(own), by_luck(own, words), *shares))
        columns = ("named", "by luck", "random vector", "choice", "choice, random vector")
        return Analysis(
            verdict=cells.card(
                "Told that there is a thought, the subject names the injected concept above every control.",
                "Told that there is a thought, the subject does not name the injected concept above its controls.",
            ),
            figures=_figures(said, chosen, words),
            ladder=cells.ladder,
            heat_maps=cells.heat_maps,
            tables=(cells.table("by layer and strength", columns),),
            remarks=(
                "Naming a concept here takes no noticing: any vector that steers the next word towards it suffices.",
                *cells.remarks,
            ),
        )


def _figures(said: Sequence[Row], chosen: Sequence[Row], words: Sequence[str]) -> tuple[Figure, ...]:
    return (
        Figure("identified", "concept named", _share(rows_about(said, arm="", condition="injected"))),
        Figure("identified_control", "concept named, no injection", _share(rows_about(said, condition="control"))),
        Figure("identified_random", "concept named, random vector", _share(rows_about(said, arm=RANDOM))),
        Figure("identified_other", "concept named, another's vector", _share(rows_about(said, arm=OTHER))),
        Figure("by_luck", "another concept of the study named", _luck(said, words), "shuffled pairing"),
        Figure("choice", "forced choice right", _share(rows_about(chosen, arm="", condition="injected"))),
        Figure("choice_control", "forced choice, no injection", _share(rows_about(chosen, condition="control"))),
    )


def right(row: Row, concept: str | None = None) -> bool:
    """Tell whether a trial names a concept, its own by default: in the first sentence, or by odds."""
    wanted = concept or row.concept or ""
    if row.detail["question"] == CHOICE:
        return most_likely(row.measurements["logprobs"], row.detail["candidates"], space=True) == wanted
    start = next((piece.text for piece in sentences(row.response)), "")
    return names(start, row.library.concept(wanted))


def _right_at(question: str, row: Row) -> float | None:
    return float(right(row)) if row.detail["question"] == question else None


def _class_of(row: Row) -> TrialClass:
    if row.detail["question"] == CHOICE:
        return found_or_not(row, right(row), PICKS, PICKS_NOT, PICKS_ANYWAY)
    return found_or_not(row, right(row), NAMES, NAMES_NOT, NAMES_ANYWAY)


def by_luck(rows: Sequence[Row], words: Sequence[str]) -> float | None:
    """Return the share of pairings of a reply with each other concept that match: every shuffled pairing, averaged."""
    pairs = [right(row, word) for row in rows for word in words if word != row.concept]
    return sum(pairs) / len(pairs) if pairs else None


def _luck(rows: Sequence[Row], words: Sequence[str]) -> Rate:
    pairs = [
        right(row, word)
        for row in rows_about(rows, arm="", condition="injected")
        for word in words
        if word != row.concept
    ]
    return rate(sum(pairs), len(pairs))


def _against_others(own: Sequence[Row], words: Sequence[str]) -> Contrast:
    luck = [(row, by_luck([row], words)) for row in own]
    return contrast((row.concept or "", float(right(row)) - chance) for row, chance in luck if chance is not None)


def _share(rows: Sequence[Row]) -> Rate:
    return share(rows, right)


EXPERIMENT = ForcedIdentification()
