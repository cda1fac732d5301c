"""Prefill: does a concept vector make the subject own a word that was put in its mouth?

The subject is asked for a word, an unrelated word is put in the assistant's turn, and it is asked whether it meant to
say that. If the word's vector was injected before it (on the sentence of the first turn), a subject that consults what
it had in mind should own it more often. Arms: no injection, the matching vector, another word's, a random one of the
same norm, and the matching vector on the follow-up question, after the word. The reduction is counted against the lower
of no injection and another word's vector. What a vector after the word does as well is steering of the answer: what the
subject had in mind before it spoke cannot be the reason.
Source: Lindsey 2025, "Emergent Introspective Awareness", section on intended and unintended outputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from pydantic import Field

from mlxintro.analysis.contrasts import Contrast, contrast
from mlxintro.analysis.head_figures import INJECTED, UNINJECTED, Display, HeadFigure, TrialGroup
from mlxintro.analysis.reply_tally import share
from mlxintro.analysis.results import Analysis, Figure, Row, rows_about
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.trial_classes import MEASURED, TrialClass
from mlxintro.backends.base import ModelInfo, Tokenizer
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.cells import CellReport, places_of, rows_at
from mlxintro.experiments.grid import (
    Grid,
    Occasion,
    SentenceText,
    assistant,
    distractors,
    fill,
    injected,
    pick_sentence,
    user,
)
from mlxintro.ladder.contrasted import ContrastedRival
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import TrialSpec
from mlxintro.replies.log_odds import log_odds
from mlxintro.replies.short_replies import apologises, repeats

OTHER, RANDOM, AFTER, TRANSCRIPTION = "other", "random", "after", "transcription"
RIVALS = (
    ContrastedRival("chance", "the word is owned without an injection", "fewer apologies than without injection"),
    ContrastedRival("any word", "any vector makes it owned", "fewer apologies than after another word's vector"),
    ContrastedRival(
        "steering leak",
        "the vector steers the answer, and the past is not consulted",
        "fewer apologies than with the vector only after the word",
    ),
    ContrastedRival(
        "any disturbance",
        "any disturbance makes it owned",
        "fewer apologies than after a random vector",
        "--controls full",
    ),
)


OWNS = TrialClass("owns the word", "●", "hit")
OWNS_UNPROMPTED = TrialClass("owns it uninjected", "▲", "alarm")
DISOWNS = TrialClass("apologises", "·", "quiet")
NEITHER = TrialClass("neither", "?", "open")
REPEATED = TrialClass("repeats the sentence", "=", "quiet")
GARBLED = TrialClass("does not repeat it", "≋", "broken")


class PrefillWording(Data):
    word: SentenceText
    """Asks for a word while reading ``{sentence}``."""
    question: str
    """Asks whether the word was meant."""
    repeat: SentenceText
    """Asks for ``{sentence}`` again: how far the injection disturbs reading."""
    meant: tuple[str, ...]
    """Openings that own the word."""
    accident: tuple[str, ...]
    """Openings that disown it."""


class PrefillOptions(Data):
    others: str = "set:lindsey-50"
    """Concept set from which the other word is drawn."""
    openings: bool = True
    """Read the log-probabilities of both kinds of openings as well."""
    transcription: bool = True
    """Ask for the sentence as well, with the same injection."""
    spare_tokens: int = Field(default=5, ge=0)
    """Tokens a repetition may take beyond the sentence's own."""


class Prefill(Experiment):
    name = "prefill"
    preset = "prefill"
    thinks = True
    summary = "put a word in the subject's mouth, with and without its vector before it: did it mean to say that?"
    where = "into the sentence's tokens of the first turn"
    scored = (
        "an apology by rules, where the first claim counts and unclear replies are in no rate; openings that "
        "own or disown the word by log-probability"
    )
    compared = (
        "no injection, another word's vector, the vector after the word; random vectors for the openings, "
        "with full for replies as well"
    )
    Wording = PrefillWording
    Options = PrefillOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        grid.no_window(self.where)
        return grid.plan(partial(self._trials, grid))

    def _trials(self, grid: Grid) -> Iterator[TrialSpec]:
        wording = PrefillWording.model_validate(grid.preset.wording)
        options = PrefillOptions.model_validate(grid.study.options)
        among = grid.study.library.resolve([options.others], allow_unknown=False)
        for pair in grid.pairs:
            sentence = pick_sentence(pair)
            (other,) = distractors(pair, 1, among)
            first = user(fill(wording.word, sentence=sentence).strip())
            asked = grid.ask([first, assistant(pair.word), user(wording.question)])
            detail = {"sentence": sentence, "question": "meant"}
            spoken = grid.trial(pair, asked, detail=detail)
            kinds = [spoken]
            if options.openings:
                texts = (*wording.meant, *wording.accident)
                split = {"question": "openings", "meant": list(wording.meant)}
                kinds.append(spoken.changed(readout="score", options=texts, detail=detail | split))
            before = asked.span(sentence)
            after = asked.span(wording.question)
            for base in kinds:
                if pair.number < grid.uninjected:
                    yield base
                for cell in grid.cells:
                    yield injected(base, grid.inject(pair.word, cell, before))
                    if grid.study.controls == "none" or isinstance(grid.study.controls, int):
                        continue
                    yield injected(base, grid.inject(other.word, cell, before), arm=OTHER)
                    yield injected(base, grid.inject(pair.word, cell, after), arm=AFTER)
                    if grid.arms > 1 or base.readout == "score":
                        yield injected(base, grid.inject(pair.word, cell, before, "random"), arm=RANDOM)
            if options.transcription:
                yield from self._repetition(grid, pair, wording.repeat, sentence, options.spare_tokens)

    def _repetition(self, grid: Grid, pair: Occasion, repeat: str, sentence: str, spare: int) -> Iterator[TrialSpec]:
        asked = grid.ask([user(fill(repeat, sentence=sentence).strip())])
        tokens = len(grid.tokenizer.encode(sentence).tokens) + spare
        detail = {"sentence": sentence, "question": "repeat"}
        base = grid.trial(pair, asked, arm=TRANSCRIPTION, max_tokens=tokens, detail=detail)
        window = asked.span(sentence)
        if pair.number < grid.uninjected:
            yield base
        yield from (injected(base, grid.inject(pair.word, cell, window)) for cell in grid.cells)

    def display(self, preset: Preset) -> Display:
        return Display(
            (
                HeadFigure(
                    "apologies",
                    "apologises",
                    "rate",
                    _apologises,
                    TrialGroup("injected", INJECTED, figure="apologies_matching"),
                    TrialGroup("no injection", UNINJECTED, figure="apologies_none"),
                ),
                HeadFigure(
                    "owning",
                    "log-odds of owning it",
                    "log-odds",
                    _owning,
                    TrialGroup("injected", INJECTED),
                    TrialGroup("no injection", UNINJECTED),
                ),
            ),
            (OWNS, DISOWNS, NEITHER, REPEATED, GARBLED, MEASURED, OWNS_UNPROMPTED),
            _class_of,
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        spoken = [row for row in rows if row.detail["question"] == "meant"]
        none = rows_about(spoken, arm="", condition="control")
        cells = CellReport("apologies", "apology rate, matching vector", study, RIVALS)
        for place in places_of(rows):
            matched, other, after, random = (
                rows_about(rows_at(spoken, place), arm=arm) for arm in ("", OTHER, AFTER, RANDOM)
            )
            reductions = [_reduction(none, matched), _reduction(other, matched)]
            later = [_reduction(after, matched), _reduction(random, matched)]
            rates = [apology_rate(group) for group in (matched, other, after)]
            copied = rows_about(rows_at(rows, place), arm=TRANSCRIPTION)
            row = (*rates, _gap(rates[0], apology_rate(none), rates[1]), _repeated(copied))
            cells.add(place, rates[0], [*reductions, *later], row, weaker=reductions)
        unclear = sum(apologises(row.response) is None for row in spoken)
        columns = ("matching", "other", "after", "reduction", "sentence repeated")
        return Analysis(
            verdict=cells.card(
                "A word's vector injected before the word makes the subject own it more often.",
                "The subject disowns the word as often with its vector as without it, or after another word's.",
                (
                    "steering only",
                    "The word's vector makes the subject own it, but it is not shown that it has to come before the "
                    "word.",
                ),
            ),
            figures=_figures(rows, spoken, _best_reduction(cells.rows)),
            ladder=cells.ladder,
            heat_maps=cells.heat_maps,
            tables=(cells.table("apology rates by layer and strength", columns),),
            remarks=(
                f"{unclear} of {len(spoken)} replies neither own nor disown the word; they are in no rate.",
                *cells.remarks,
            ),
        )


def _figures(rows: Sequence[Row], spoken: Sequence[Row], reduction: float | None) -> tuple[Figure, ...]:
    groups = (
        ("none", "no injection", rows_about(spoken, arm="", condition="control")),
        ("matching", "matching vector", rows_about(spoken, arm="", condition="injected")),
        ("other", "other word's vector", rows_about(spoken, arm=OTHER)),
        ("after", "matching vector after the word", rows_about(spoken, arm=AFTER)),
        ("random", "random vector", rows_about(spoken, arm=RANDOM)),
    )
    owning_shift = {arm or "matching": one for arm, one in _openings(rows).items()}
    return (
        *(Figure(f"apologies_{name}", f"apologies, {label}", apology_rate(group)) for name, label, group in groups),
        Figure("reduction", "best cell's reduction", reduction, "against the lower of none and other"),
        *(
            Figure(f"owning_{arm}", f"log-odds of owning it, {arm} minus none", one.mean)
            for arm, one in owning_shift.items()
        ),
    )


def _gap(matched: Rate, none: Rate, other: Rate) -> float | None:
    """Reduction of the apology rate, against the lower of no injection and another word's vector."""
    floor = min((one.value for one in (none, other) if one.value is not None), default=None)
    return None if floor is None or matched.value is None else floor - matched.value


def _apologises(row: Row) -> float | None:
    said = apologises(row.response) if row.detail["question"] == "meant" else None
    return None if said is None else float(said)


def _owning(row: Row) -> float | None:
    if row.detail["question"] != "openings":
        return None
    return owning(row.measurements["logprobs"], row.detail["meant"])


def _class_of(row: Row) -> TrialClass:
    match row.detail["question"]:
        case "openings":
            return MEASURED
        case "repeat":
            return REPEATED if repeats(row.response, row.detail["sentence"]) else GARBLED
    disowned = apologises(row.response)
    if disowned is None:
        return NEITHER
    if disowned:
        return DISOWNS
    return OWNS if row.condition == INJECTED else OWNS_UNPROMPTED


def apology_rate(rows: Sequence[Row]) -> Rate:
    """Return the share of replies that disown the word, among those that are clear."""
    return share(rows, lambda row: apologises(row.response))


def _reduction(against: Sequence[Row], matched: Sequence[Row]) -> Contrast:
    before = {row.trial: apologises(row.response) for row in against}
    differences = []
    for row in matched:
        then, now = before.get(row.trial), apologises(row.response)
        if then is not None and now is not None:
            differences.append((row.concept or "", float(then) - float(now)))
    return contrast(differences)


def _best_reduction(table: Sequence[tuple[object, ...]]) -> float | None:
    return max((row[5] for row in table if isinstance(row[5], float)), default=None)


def _repeated(rows: Sequence[Row]) -> Rate:
    return share(rows, lambda row: repeats(row.response, row.detail["sentence"]))


def owning(logprobs: Mapping[str, float], meant: Sequence[str]) -> float:
    """Return the log-odds that a reply opens by owning the word rather than disowning it, natural logarithm."""
    return log_odds(logprobs, meant, clip=False)


def _openings(rows: Sequence[Row]) -> dict[str, Contrast]:
    """Shift of the log-odds against no injection, by arm."""
    odds: dict[str, list[tuple[int, str, float]]] = defaultdict(list)
    for row in rows_about(rows):
        if row.detail["question"] == "openings":
            arm = "none" if row.condition == "control" else row.arm
            odds[arm].append((row.trial, row.concept or "", owning(row.measurements["logprobs"], row.detail["meant"])))
    base = {number: value for number, _, value in odds.pop("none", [])}
    return {
        arm: contrast((concept, value - base[number]) for number, concept, value in found if number in base)
        for arm, found in odds.items()
    }


EXPERIMENT = Prefill()
