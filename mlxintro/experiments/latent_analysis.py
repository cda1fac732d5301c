"""What log-probabilities of yes, no and numbers come to: the analysis of ``latent``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlxintro.analysis.contrasts import OPTIMISM, Contrast, contrast, contrast_beyond, in_words, judge, verdict
from mlxintro.analysis.results import (
    Analysis,
    Cell,
    Curve,
    Figure,
    HeatMap,
    Plot,
    Point,
    Row,
    Table,
    Verdict,
    rows_about,
)
from mlxintro.analysis.stats import Rate, mean, rate
from mlxintro.replies.log_odds import log_odds, log_total

Float64 = NDArray[np.float64]
SHUFFLES = 999


def analyse(rows: Sequence[Row], yes: Sequence[str], unit: str) -> Analysis:
    """Analyse finished trials.

    Args:
        yes: the options that mean yes; the others mean no.
        unit: of the strengths.
    """
    scored = [row for row in rows if "logprobs" in row.measurements and row.arm != "identify"]
    logits = {row.key: log_odds(row.measurements["logprobs"], yes) for row in scored}
    chances = {row.key: math.exp(log_total([row.measurements["logprobs"][option] for option in yes])) for row in scored}
    base = {_dialogue(row): row.key for row in scored if row.condition == "control"}

    def shifts(
        arm: str, cell: tuple[int, float], values: Mapping[str, float] = logits, **detail: Any
    ) -> list[tuple[str, float]]:
        return [
            (row.concept or "", values[row.key] - values[base[_dialogue(row)]])
            for row in scored
            if row.arm == arm
            and (row.layer, row.strength) == cell
            and _dialogue(row) in base
            and all(row.detail.get(name) == value for name, value in detail.items())
        ]

    cells = sorted({(row.layer, row.strength) for row in rows if row.layer is not None and row.strength is not None})
    groups = sorted({row.arm for row in scored if row.arm.startswith("question:")})
    net: dict[tuple[int, float], list[Contrast]] = {}
    any_yes: dict[tuple[int, float], list[Contrast]] = {}
    cards: list[tuple[Cell, ...]] = []
    conditions: list[tuple[Cell, ...]] = []
    rates: dict[tuple[int, float], Rate] = {}
    for cell in cells:
        own, random = shifts("", cell), shifts("random", cell)
        unrelated = [value for group in groups for _, value in shifts(group, cell)]
        by_random = _by_concept(random)
        # Log-odds also rise when only "no" becomes rarer; the probability of yes itself has to rise.
        any_yes[cell] = [contrast(own), contrast(shifts("", cell, chances))]
        net[cell] = [*any_yes[cell], contrast_beyond(own, unrelated)]
        if by_random:
            net[cell].append(contrast((c, v - by_random[c]) for c, v in own if c in by_random))
        here = rows_about(scored, arm="", layer=cell[0], strength=cell[1])
        rates[cell] = _positive(here, logits)
        others = [mean([value for _, value in shifts(group, cell)]) for group in groups]
        cards.append((*cell, rates[cell], net[cell][0].mean, net[cell][2].mean, contrast(random).mean, *others))
        for framing, info in sorted({(row.detail["framing"], row.detail["info"]) for row in here}):
            part = [r for r in here if (r.detail["framing"], r.detail["info"]) == (framing, info)]
            shift = contrast(shifts("", cell, framing=framing, info=info)).mean
            p_none = _probability(
                [
                    r
                    for r in scored
                    if r.arm == ""
                    and r.condition == "control"
                    and (r.detail["framing"], r.detail["info"]) == (framing, info)
                ],
                yes,
            )
            conditions.append((*cell, framing, info, p_none, _probability(part, yes), shift))
    found, yes_found = judge(net), judge(any_yes)
    plain = {name: rows_about(scored, arm="", condition=name) for name in ("injected", "control")}
    injected, control = (_positive(of, logits) for of in plain.values())
    evidence = []
    if found.best is not None:
        labels = (
            "log-odds of yes, minus no injection",
            "probability of yes, minus no injection",
            "log-odds of yes, beyond unrelated questions",
            "log-odds of yes, beyond random vectors",
        )
        evidence = [f"{label}: {in_words(one)}" for label, one in zip(labels, net[found.best], strict=False)]
    card = verdict(
        found,
        "An injection in the first turn raises yes in the second, beyond unrelated questions and random vectors.",
        "An injection in the first turn does not raise yes in the second.",
        evidence,
    )
    if card.kind == "no effect shown" and yes_found.effect:
        headline = "Yes becomes likelier, but as much for unrelated questions or random vectors."
        card = Verdict("yes-bias", headline, tuple(evidence))
    figures = [
        Figure("p_yes", "probability of yes, injected", _probability(plain["injected"], yes)),
        Figure("p_yes_control", "probability of yes, not injected", _probability(plain["control"], yes)),
        Figure("sensitivity", "yes likelier than no, injected", injected),
        Figure("false_alarms", "yes likelier than no, not injected", control, "one per framing and information text"),
        Figure("balanced_accuracy", "balanced accuracy", _balanced(injected, control)),
    ]
    tables = [
        Table(
            "cells",
            "by layer and strength",
            ("layer", "strength", "yes > no", "shift", "net shift", "random vector", *groups),
            tuple(cards),
            "logits, natural logarithm; the layer is the first of the range",
        ),
        Table(
            "conditions",
            "by framing and information text",
            ("layer", "strength", "framing", "info", "P(yes) none", "P(yes) injected", "shift"),
            tuple(conditions),
        ),
    ]
    for cell in cells:
        found_list = identification(rows, cell)
        if found_list is not None:
            at, suffix = f"layer {cell[0]}, strength {cell[1]:g}", f"{cell[0]}_{cell[1]:g}"
            figures += [
                Figure(
                    f"information_{suffix}",
                    f"mutual information, {at}",
                    found_list.bits,
                    f"bits of {math.log2(len(found_list.words)):.2f}; {found_list.bias:.3f} by chance, "
                    f"p {found_list.p:.2g} by shuffling",
                ),
                Figure(f"lift_{suffix}", f"lift of the injected concept, {at}", found_list.lift, "1 is chance"),
            ]
            body: tuple[tuple[Cell, ...], ...] = tuple(
                (w, *map(float, line)) for w, line in zip(found_list.words, found_list.confusion, strict=True)
            )
            tables.append(
                Table(f"confusion_{suffix}", f"P(named | injected), {at}", ("injected", *found_list.words), body)
            )
    lens = _lens_plot(rows)
    layers, strengths = sorted({c[0] for c in cells}), sorted({c[1] for c in cells})
    heat = HeatMap("sensitivity", "yes likelier than no", tuple(layers), tuple(strengths), rates, unit)
    return Analysis(
        verdict=card,
        figures=tuple(figures),
        heat_maps=(heat,) if cells else (),
        plots=(lens,) if lens else (),
        tables=tuple(tables),
        remarks=(OPTIMISM,) if len(cells) > 1 else (),
    )


class Identification:
    """A list's answers as a confusion matrix, and how much they tell."""

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
    """Bits that an answer tells of the injected concept, all being injected equally often.

    Args:
        confusion: (injected, named), rows summing to 1.
    """
    background = confusion.mean(axis=0, keepdims=True)
    ratio = np.divide(confusion, background, out=np.ones_like(confusion), where=confusion > 0)
    return float(np.sum(confusion * np.log2(ratio)) / len(confusion))


def identification(rows: Sequence[Row], cell: tuple[int, float]) -> Identification | None:
    """The list's answers at one cell; ``None`` unless every concept was asked about in some common order."""
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


def _positive(rows: Sequence[Row], logits: Mapping[str, float]) -> Rate:
    return rate(sum(logits[row.key] > 0 for row in rows), len(rows))


def _probability(rows: Sequence[Row], yes: Sequence[str]) -> float | None:
    """Mean probability of yes."""
    values = [math.exp(log_total([row.measurements["logprobs"][option] for option in yes])) for row in rows]
    return math.fsum(values) / len(values) if values else None


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
