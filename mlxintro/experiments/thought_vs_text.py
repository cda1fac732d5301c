"""Thought versus text: can the subject tell a concept injected into a sentence from the sentence itself?

A vector is injected on the tokens of a sentence only. Of each pair one trial asks which word comes to mind, another to
repeat the sentence; both share a seed. A pair counts when both are right. A third trial reads, without sampling, the
log-probabilities of ten candidate words as the answer. Controls: no injection, and a random vector of the same norm.
Source: Lindsey 2025, "Emergent Introspective Awareness", section on distinguishing thoughts from text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pydantic import Field

from mlxintro.analysis.contrasts import Contrast, contrast, in_words, judge
from mlxintro.analysis.head_figures import INJECTED, UNINJECTED, Display, HeadFigure, TrialGroup, found_or_not
from mlxintro.analysis.results import Analysis, Figure, Row, rows_about
from mlxintro.analysis.stats import Rate, rate
from mlxintro.analysis.tally import Place
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.backends.base import ModelInfo, Tokenizer
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.cells import CellReport, places_of
from mlxintro.experiments.grid import Grid, Occasion, SentenceText, distractors, fill, injected, pick_sentence, user
from mlxintro.ladder.contrasted import ContrastedRival
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import TrialSpec
from mlxintro.replies.short_replies import most_likely, named, repeats, word_forms

WORD, CHOICE, REPEAT = "word", "choice", "repeat"


NAMES = TrialClass("names it", "●", "hit")
NAMES_NOT = TrialClass("names another", "·", "quiet")
NAMES_ANYWAY = TrialClass("names it uninjected", "▲", "alarm")
PICKS = TrialClass("picks it", "◐", "partial")
PICKS_NOT = TrialClass("picks another", "·", "quiet")
PICKS_ANYWAY = TrialClass("picks it uninjected", "△", "alarm")
REPEATED = TrialClass("repeats the sentence", "=", "quiet")
GARBLED = TrialClass("does not repeat it", "≋", "broken")


RIVALS = (
    ContrastedRival("chance", "both are right without an injection", "both right, injected minus uninjected"),
    ContrastedRival("any disturbance", "any vector makes that word come out", "both right, minus a random vector"),
    ContrastedRival(
        "steering leak",
        "what is left of the vector makes the word come out, and nothing is noticed",
        "the word is asked for outright, so that the leak is all there need be",
        elsewhere=True,
    ),
)


class ThoughtVsTextWording(Data):
    word: SentenceText
    """Asks which word comes to mind while reading ``{sentence}``."""
    repeat: SentenceText
    """Asks for ``{sentence}`` again."""


class ThoughtVsTextOptions(Data):
    candidates: str = "set:lindsey-50"
    """Concept set from which the words that were not injected are drawn."""
    wrong: int = Field(default=9, ge=1, le=49)
    """How many of them stand beside the injected one."""
    spare_tokens: int = Field(default=5, ge=0)
    """Tokens a repetition may take beyond the sentence's own."""


class ThoughtVsText(Experiment):
    name = "thought-vs-text"
    preset = "thought-vs-text"
    thinks = True
    summary = "inject a vector on a sentence's tokens: name the word it brings to mind, and repeat the sentence"
    where = "into the sentence's tokens"
    scored = (
        "a reply of five tokens against ten candidate words, and the sentence repeated; a pair counts when "
        "both are right; the same candidates by log-probability"
    )
    compared = "no injection, random vectors"
    Wording = ThoughtVsTextWording
    Options = ThoughtVsTextOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        grid.no_window(self.where)
        return grid.plan(partial(self._trials, grid))

    def _trials(self, grid: Grid) -> Iterator[TrialSpec]:
        wording = ThoughtVsTextWording.model_validate(grid.preset.wording)
        options = ThoughtVsTextOptions.model_validate(grid.study.options)
        among = grid.study.library.resolve([options.candidates], allow_unknown=False)
        for pair in grid.pairs:
            sentence = pick_sentence(pair)
            # Shuffled, so that a tie between candidates favours none of them.
            words = [pair.word, *(other.word for other in distractors(pair, options.wrong, among))]
            pair.rng("order").shuffle(words)
            for template, questions in ((wording.word, (WORD, CHOICE)), (wording.repeat, (REPEAT,))):
                asked = grid.ask([user(fill(template, sentence=sentence).strip())])
                window = asked.span(sentence)
                for question in questions:
                    detail = {"question": question, "sentence": sentence, "candidates": words}
                    base = grid.trial(pair, asked, detail=detail)
                    if question == CHOICE:
                        base = base.changed(readout="score", options=tuple(f for w in words for f in word_forms(w)))
                    elif question == REPEAT:
                        tokens = len(grid.tokenizer.encode(sentence).tokens) + options.spare_tokens
                        base = base.changed(max_tokens=tokens)
                    yield from _conditions(grid, pair, base, window)

    def display(self, preset: Preset) -> Display:
        injected_, uninjected = (
            partial(TrialGroup, "injected", INJECTED),
            partial(TrialGroup, "no injection", UNINJECTED),
        )
        return Display(
            (
                HeadFigure(
                    "joint",
                    "both right",
                    "rate",
                    partial(_score_at, (WORD, REPEAT)),
                    injected_(figure="joint"),
                    uninjected(figure="both_control"),
                    members=2,
                ),
                HeadFigure(
                    "word",
                    "names it",
                    "rate",
                    partial(_score_at, (WORD,)),
                    injected_(figure="word"),
                    uninjected(figure="word_control"),
                ),
                HeadFigure(
                    "choice",
                    "picks it",
                    "rate",
                    partial(_score_at, (CHOICE,)),
                    injected_(figure="choice"),
                    uninjected(figure="choice_control"),
                ),
            ),
            (NAMES, NAMES_NOT, PICKS, PICKS_NOT, REPEATED, GARBLED, NAMES_ANYWAY, PICKS_ANYWAY),
            _class_of,
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        pairs = _pairs(rows)
        control = {number: one for (_, layer, _, number), one in pairs.items() if layer is None}
        cells = CellReport("joint", "word and repetition both right", study, RIVALS)
        choices: dict[Place, list[Contrast]] = {}
        for place in places_of(rows_about(rows, arm="")):
            own, random = (
                {n: one for (a, layer, s, n), one in pairs.items() if a == arm and (layer, s) == place}
                for arm in ("", "random")
            )
            both, chosen = (_against(own, control, name) for name in ("both", CHOICE))
            choices[place] = [chosen]
            marks = [_shares(own.values(), name) for name in ("both", WORD, CHOICE, REPEAT)]
            beyond_random = _against(own, random, "both")
            cells.add(place, marks[0], [both, beyond_random], (*marks, _shares(random.values(), CHOICE)))
        best = judge(cells.contrasts).best
        card = cells.card(
            "The injected word is named and the sentence still repeated, more often than without injection.",
            "Injected words are not named beside a correct repetition more often than without injection.",
        )
        if best is not None:
            above = "above" if judge(choices).effect else "not above"
            beside = (
                f"forced choice, injected minus uninjected: {in_words(choices[best][0])}",
                f"forced choice over all cells: {above} the uninjected rate",
            )
            card = replace(card, evidence=(*card.evidence, *beside))
        columns = ("both", "word", "choice", "repeat", "choice, random vector")
        return Analysis(
            verdict=card,
            figures=_figures(rows, pairs, control),
            ladder=cells.ladder,
            heat_maps=cells.heat_maps,
            tables=(cells.table("by layer and strength", columns),),
            remarks=cells.remarks,
        )


def _figures(rows: Sequence[Row], pairs: Mapping[_Key, _Scored], control: Mapping[int, _Scored]) -> tuple[Figure, ...]:
    own = [one for key, one in pairs.items() if _own(key)]
    chance = next((f"chance {1 / len(row.detail['candidates']):.0%}" for row in rows), "")
    return (
        Figure("joint", "word and repetition both right", _shares(own, "both")),
        Figure("word", "word named", _shares(own, WORD)),
        Figure("choice", "forced choice right", _shares(own, CHOICE), chance),
        Figure("repeat", "sentence repeated", _shares(own, REPEAT)),
        *(
            Figure(f"{name}_control", f"{label}, uninjected", _shares(control.values(), name))
            for name, label in (("both", "both right"), (WORD, "word named"), (CHOICE, "forced choice"))
        ),
    )


class _Scored:
    """Holds one pair under one condition; ``None`` where a trial is missing."""

    def __init__(self, concept: str) -> None:
        self.concept = concept
        self.word: bool | None = None
        self.choice: bool | None = None
        self.repeat: bool | None = None

    @property
    def both(self) -> bool | None:
        return None if self.word is None or self.repeat is None else self.word and self.repeat


_Key = tuple[str, int | None, float | None, int]


def _own(key: _Key) -> bool:
    return key[0] == "" and key[1] is not None


def _pairs(rows: Sequence[Row]) -> dict[_Key, _Scored]:
    found: dict[_Key, _Scored] = {}
    for row in rows:
        assert row.concept is not None
        one = found.setdefault((row.arm, row.layer, row.strength, row.trial), _Scored(row.concept))
        setattr(one, row.detail["question"], score(row))
    return found


def score(row: Row) -> bool:
    """Tell whether one trial is right."""
    question = row.detail["question"]
    if question == REPEAT:
        return repeats(row.response, row.detail["sentence"])
    candidates = row.detail["candidates"]
    if question == CHOICE:
        return most_likely(row.measurements["logprobs"], candidates) == row.concept
    return named(row.response, [row.library.concept(word) for word in candidates]) == row.concept


def _score_at(questions: tuple[str, ...], row: Row) -> float | None:
    return float(score(row)) if row.detail["question"] in questions else None


def _class_of(row: Row) -> TrialClass:
    right = score(row)
    match row.detail["question"]:
        case "repeat":
            return REPEATED if right else GARBLED
        case "choice":
            return found_or_not(row, right, PICKS, PICKS_NOT, PICKS_ANYWAY)
        case _:
            return found_or_not(row, right, NAMES, NAMES_NOT, NAMES_ANYWAY)


def _conditions(grid: Grid, pair: Occasion, base: TrialSpec, window: tuple[int, int]) -> Iterator[TrialSpec]:
    if pair.number < grid.uninjected:
        yield base
    for cell in grid.cells:
        yield injected(base, grid.inject(pair.word, cell, window))
        if grid.arms:
            yield injected(base, grid.inject(pair.word, cell, window, "random"), arm="random")


def _against(own: Mapping[int, _Scored], control: Mapping[int, _Scored], name: str) -> Contrast:
    differences = []
    for number, one in own.items():
        now, then = getattr(one, name), getattr(control.get(number), name, None)
        if now is not None and then is not None:
            differences.append((one.concept, float(now) - float(then)))
    return contrast(differences)


def _shares(scored: Iterable[_Scored], name: str) -> Rate:
    """Rate of pairs whose part ``name`` is right, over those in which it is there."""
    known = [value for one in scored if (value := getattr(one, name)) is not None]
    return rate(sum(known), len(known))


EXPERIMENT = ThoughtVsText()
