"""What log-probabilities of yes, no and numbers come to: the analysis of ``latent``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mlxintro.analysis.contrasts import contrast, contrast_beyond
from mlxintro.analysis.reply_tally import share
from mlxintro.analysis.results import (
    Analysis,
    Cell,
    Curve,
    Figure,
    Plot,
    Point,
    Row,
    Table,
    rows_about,
)
from mlxintro.analysis.stats import Rate, mean
from mlxintro.analysis.tally import Place
from mlxintro.backends.base import Float64
from mlxintro.experiments.cells import CellReport, places_of, rows_at
from mlxintro.ladder.contrasted import ContrastedRival
from mlxintro.protocol.study import Study
from mlxintro.replies.log_odds import log_odds, log_total

SHUFFLES = 999


def analyse(rows: Sequence[Row], yes: Sequence[str], study: Study) -> Analysis:
    """Analyse finished trials.

    Args:
        yes: the options that mean yes; the others mean no.
        study: that was run.
    """
    answers = _YesNoAnswers(rows, yes)
    cells = CellReport("sensitivity", "yes likelier than no", study, RIVALS)
    conditions: list[tuple[Cell, ...]] = []
    for place in places_of(rows):
        _add_cell(cells, answers, place)
        conditions += _conditions(answers, place)
    card = cells.card(
        "An injection in the first turn raises yes in the second, beyond unrelated questions and random vectors.",
        "An injection in the first turn does not raise yes in the second.",
        ("yes-bias", "Yes becomes likelier, but as much for unrelated questions or random vectors."),
    )
    columns = ("yes > no", "shift", "net shift", "random vector", *answers.groups)
    note = "logits, natural logarithm; the layer is the first of the range"
    header = ("layer", "strength", "framing", "info", "P(yes) none", "P(yes) injected", "shift")
    listed = [(place, found) for place in cells.rates if (found := identification(rows, place)) is not None]
    lens = _lens_plot(rows)
    return Analysis(
        verdict=card,
        figures=(*_figures(answers), *(one for place, found in listed for one in _list_figures(place, found))),
        ladder=cells.ladder,
        heat_maps=cells.heat_maps,
        plots=(lens,) if lens else (),
        tables=(
            cells.table("by layer and strength", columns, note),
            Table("conditions", "by framing and information text", header, tuple(conditions)),
            *(_confusion(place, found) for place, found in listed),
        ),
        remarks=cells.remarks,
    )


RIVALS = (
    ContrastedRival("chance", "yes is as likely without an injection", "log-odds of yes, minus no injection"),
    ContrastedRival("no gets rarer", "only no loses, and yes wins nothing", "probability of yes, minus no injection"),
    ContrastedRival(
        "yes-bias", "every answer moves towards yes, or to the middle", "log-odds of yes, beyond unrelated questions"
    ),
    ContrastedRival("any disturbance", "any vector raises yes", "log-odds of yes, beyond random vectors"),
    ContrastedRival(
        "steering leak",
        "the vector steers the answer, and no state is read",
        "whether the subject knows what moved it is not asked here",
        elsewhere=True,
    ),
)


class _YesNoAnswers:
    """Holds the trials whose answer is yes or no, each with its log-odds and its uninjected dialogue."""

    def __init__(self, rows: Sequence[Row], yes: Sequence[str]) -> None:
        self.rows = [row for row in rows if "logprobs" in row.measurements and row.arm != "identify"]
        self.groups = sorted({row.arm for row in self.rows if row.arm.startswith("question:")})
        """Arms of unrelated questions."""
        self.yes = yes
        self.odds = {row.key: log_odds(row.measurements["logprobs"], yes) for row in self.rows}
        self.chances = {row.key: self._chance(row) for row in self.rows}
        self._base = {_dialogue(row): row.key for row in self.rows if row.condition == "control"}

    def _chance(self, row: Row) -> float:
        return math.exp(log_total([row.measurements["logprobs"][option] for option in self.yes]))

    def shifts(
        self, arm: str, place: Place, values: Mapping[str, float] | None = None, **detail: Any
    ) -> list[tuple[str, float]]:
        """Return what an injection adds to a value in each dialogue, with the concept; log-odds by default."""
        values = self.odds if values is None else values
        return [
            (row.concept or "", values[row.key] - values[self._base[_dialogue(row)]])
            for row in rows_at(self.rows, place)
            if row.arm == arm
            and _dialogue(row) in self._base
            and all(row.detail.get(name) == value for name, value in detail.items())
        ]

    def leaning(self, rows: Sequence[Row]) -> Rate:
        """Return how often yes is likelier than no."""
        return share(rows, lambda row: self.odds[row.key] > 0)

    def probability(self, rows: Sequence[Row]) -> float | None:
        """Return the mean probability of yes."""
        values = [self.chances[row.key] for row in rows]
        return math.fsum(values) / len(values) if values else None


def _add_cell(cells: CellReport, answers: _YesNoAnswers, place: Place) -> None:
    own, random = answers.shifts("", place), answers.shifts("random", place)
    # Kinds of questions stay apart: a vector that pulls all answers together moves clear-no up and clear-yes down, and
    # the mean of both hides it. The kind that leaves the least over counts.
    kinds = [[value for _, value in answers.shifts(group, place)] for group in answers.groups]
    over = [contrast_beyond(own, values) for values in kinds if values]
    unrelated = max(over, key=lambda one: 1.0 if one.p is None else one.p, default=contrast(()))
    by_random = _by_concept(random)
    # Log-odds also rise when only "no" becomes rarer; the probability of yes itself has to rise.
    any_yes = [contrast(own), contrast(answers.shifts("", place, answers.chances))]
    beyond_random = contrast((concept, value - by_random[concept]) for concept, value in own if concept in by_random)
    net = [*any_yes, unrelated, beyond_random]
    leaning = answers.leaning(rows_about(rows_at(answers.rows, place), arm=""))
    others = [mean([value for _, value in answers.shifts(group, place)]) for group in answers.groups]
    cells.add(place, leaning, net, (leaning, net[0].mean, net[2].mean, contrast(random).mean, *others), weaker=any_yes)


def _conditions(answers: _YesNoAnswers, place: Place) -> Iterator[tuple[Cell, ...]]:
    """One row for each framing and information text."""

    def condition(row: Row) -> tuple[str, str]:
        return row.detail["framing"], row.detail["info"]

    here = rows_about(rows_at(answers.rows, place), arm="")
    none = rows_about(answers.rows, arm="", condition="control")
    for framing, info in sorted(set(map(condition, here))):
        uninjected, injected = (
            answers.probability([row for row in group if condition(row) == (framing, info)]) for group in (none, here)
        )
        shift = contrast(answers.shifts("", place, framing=framing, info=info)).mean
        yield (*place, framing, info, uninjected, injected, shift)


def _figures(answers: _YesNoAnswers) -> Iterator[Figure]:
    injected, control = (rows_about(answers.rows, arm="", condition=name) for name in ("injected", "control"))
    hits, alarms = answers.leaning(injected), answers.leaning(control)
    yield Figure("p_yes", "probability of yes, injected", answers.probability(injected))
    yield Figure("p_yes_control", "probability of yes, not injected", answers.probability(control))
    yield Figure("sensitivity", "yes likelier than no, injected", hits)
    yield Figure("false_alarms", "yes likelier than no, not injected", alarms, "one per framing and information text")
    yield Figure("balanced_accuracy", "balanced accuracy", _balanced(hits, alarms))


def _list_figures(place: Place, found: Identification) -> Iterator[Figure]:
    at, suffix = _named(place)
    note = f"bits of {math.log2(len(found.words)):.2f}; {found.bias:.3f} by chance, p {found.p:.2g} by shuffling"
    yield Figure(f"information_{suffix}", f"mutual information, {at}", found.bits, note)
    yield Figure(f"lift_{suffix}", f"lift of the injected concept, {at}", found.lift, "1 is chance")


def _confusion(place: Place, found: Identification) -> Table:
    at, suffix = _named(place)
    body: tuple[tuple[Cell, ...], ...] = tuple(
        (word, *map(float, line)) for word, line in zip(found.words, found.confusion, strict=True)
    )
    return Table(f"confusion_{suffix}", f"P(named | injected), {at}", ("injected", *found.words), body)


def _named(place: Place) -> tuple[str, str]:
    """A cell for people, and in names of figures."""
    return f"layer {place[0]}, strength {place[1]:g}", f"{place[0]}_{place[1]:g}"


class Identification:
    """Counts a list's answers as a confusion matrix, and says how much they tell."""

    def __init__(self, words: Sequence[str], answers: Float64) -> None:
        """``answers``: (injected, orders, named), each summing to 1 over the last axis."""
        self.words = tuple(words)
        self.confusion: Float64 = answers.mean(axis=1)
        self.bits = mutual_information(self.confusion)
        background = self.confusion.mean(axis=0)
        self.lift = float(np.mean(np.diag(self.confusion) / background))
        # Under chance a concept's answers belong to any other as well, order by order.
        generator = np.random.default_rng(0)
        shuffled = []
        for _ in range(SHUFFLES):
            mixed = np.stack([answers[generator.permutation(len(words)), at] for at in range(answers.shape[1])], axis=1)
            shuffled.append(mutual_information(mixed.mean(axis=1)))
        self.bias = float(np.mean(shuffled))
        self.p = (1 + sum(one >= self.bits - 1e-12 for one in shuffled)) / (1 + SHUFFLES)


def mutual_information(confusion: Float64) -> float:
    """Return the bits that an answer tells of the injected concept, all being injected equally often.

    Args:
        confusion: (injected, named), rows summing to 1.
    """
    background = confusion.mean(axis=0, keepdims=True)
    ratio = np.divide(confusion, background, out=np.ones_like(confusion), where=confusion > 0)
    return float(np.sum(confusion * np.log2(ratio)) / len(confusion))


def identification(rows: Sequence[Row], cell: tuple[int, float]) -> Identification | None:
    """Return the list's answers at one cell; ``None`` unless every concept was asked about in some common order."""
    own = [r for r in rows if r.arm == "identify" and (r.layer, r.strength) == cell]
    if not own:
        return None
    words = sorted(own[0].detail["words"])
    found: dict[int, dict[str, Float64]] = defaultdict(dict)
    for row in own:
        values = np.array([row.measurements["logprobs"][f" {row.detail['words'].index(w) + 1}"] for w in words])
        shares = np.exp(values - values.max())
        found[row.detail["order"]][row.concept or ""] = shares / shares.sum()
    orders = [order for order in sorted(found) if set(found[order]) == set(words)]
    if not orders:
        return None
    return Identification(words, np.array([[found[order][word] for order in orders] for word in words]))


def _dialogue(row: Row) -> str:
    return repr((row.arm if row.arm != "random" else "", sorted((k, str(v)) for k, v in row.detail.items())))


def _by_concept(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for concept, value in values:
        found[concept].append(value)
    return {concept: math.fsum(many) / len(many) for concept, many in found.items()}


def _balanced(hits: Rate, alarms: Rate) -> float | None:
    return None if hits.value is None or alarms.value is None else (hits.value + 1 - alarms.value) / 2


def _lens_plot(rows: Sequence[Row]) -> Plot | None:
    lenses = [row for row in rows if "lens" in row.measurements]
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in lenses:
        name = "no injection" if row.condition == "control" else f"layer {row.layer}, strength {row.strength:g}"
        kinds[f"{name}, {row.detail['info']}"].append(row)
    curves = []
    for name, members in sorted(kinds.items()):
        table = np.exp(np.array([row.measurements["lens"]["yes"] for row in members]))
        points = []
        for layer in range(table.shape[1]):
            one = mean(table[:, layer].tolist())
            points.append(Point(layer, one.value or 0.0, one.low, one.high))
        curves.append(Curve(name, tuple(points)))
    return Plot("lens", "P(yes) by the logit lens", "layer", "P(yes)", tuple(curves)) if curves else None
