"""What a run of ``transfer`` comes to: cosines, steering and naming of carried vectors beside their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlxintro.analysis.contrasts import OPTIMISM, Contrast, contrast, in_words, judge, verdict
from mlxintro.analysis.results import Analysis, Cell, Figure, HeatMap, Row, Table, Verdict, rows_about
from mlxintro.analysis.stats import Mean, Rate, mean, rate
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.replies.log_odds import log_total
from mlxintro.replies.short_replies import names

NAMES = TrialClass("names it", "●", "hit")
NAMES_NOT = TrialClass("does not name it", "·", "quiet")
STEERED = TrialClass("next word", "◐", "partial")

_ARMS = {
    "": "carried over",
    "own": "the model's own",
    "permuted": "permuted map",
    "unmapped": "without a map",
    "other": "another word carried",
    "random": "random vector",
}
_WITHOUT = {**_ARMS, "": "the model's own", "other": "another word's own"}
"""Names where nothing was carried over and the model's own vectors stand in the carried ones' place."""
_CONTROLS = ("random", "permuted", "other")
"""Arms that the carried vector must do more than."""


def named(row: Row) -> float | None:
    """Tell whether a reply names the trial's concept; ``None`` for trials without a reply."""
    if row.detail["question"] != "said":
        return None
    word = row.concept or ""
    return float(names(row.response, row.library.concept(word)))


def log_of_names(row: Row) -> float | None:
    """Return the log-probability that a name of the concept comes next, in nats; ``None`` for replies."""
    if row.detail["question"] != "steer":
        return None
    return max(-100.0, log_total(list(row.measurements["logprobs"].values())))


def analyse(rows: Sequence[Row], unit: str, alignment: str) -> Analysis:
    """Set the vectors in question against their controls, cell by cell.

    Args:
        unit: of strengths.
        alignment: empty where the model's own vectors were in the carried ones' place.
    """
    places = sorted({(row.layer, row.strength) for row in rows if row.layer is not None and row.strength is not None})
    labels = _ARMS if alignment else _WITHOUT
    arms = [arm for arm in _ARMS if any(row.arm == arm for row in rows)]
    contrasts: dict[tuple[int, float], list[Contrast]] = {}
    rates: dict[tuple[int, float], Rate] = {}
    table: list[tuple[Cell, ...]] = []
    for place in places:
        here = [row for row in rows if (row.layer, row.strength) == place]
        contrasts[place] = [_beyond(here, arm) for arm in _CONTROLS if arm in arms]
        rates[place] = _naming(rows_about(here, arm=""))
        for arm in arms:
            own = rows_about(here, arm=arm)
            table.append((*place, labels[arm], _cosine(own), _steering(own, rows), _naming(own)))
    return Analysis(
        verdict=_card(contrasts, [arm for arm in _CONTROLS if arm in arms], alignment),
        figures=_figures(rows, {arm: labels[arm] for arm in arms}),
        heat_maps=_maps(rates, unit, labels[""]),
        tables=(
            Table(
                "cells",
                "by layer, strength and vector",
                ("layer", "strength", "vector", "cosine with own", "steering, nats", "named"),
                tuple(table),
                "steering: log P(a name comes next) with the vector minus without it, over concepts",
            ),
        ),
        remarks=(
            "Steering and naming take no noticing: they say that the vector carries the concept in this model.",
            *((OPTIMISM,) if len(places) > 1 else ()),
        ),
    )


def _card(contrasts: dict[tuple[int, float], list[Contrast]], arms: Sequence[str], alignment: str) -> Verdict:
    """The verdict: does the vector in question steer more than every control, in some cell?"""
    if not alignment:
        return Verdict(
            "too little data",
            "No vector was carried over: make an alignment with `mlxintro vectors align`, and give it with "
            "--set alignment=NAME. What is shown is what the model's own vectors do.",
        )
    found = judge(contrasts)
    best = found.best if found.best is not None else next(iter(contrasts), None)
    tested = [] if best is None else list(zip(arms, contrasts[best], strict=True))
    lines = [f"steering beyond {_ARMS[arm]}: {in_words(one, ' nats')}" for arm, one in tested]
    return verdict(
        found,
        "Vectors carried over from the other model steer this one towards their concepts beyond every control.",
        "Vectors carried over from the other model do not steer this one towards their concepts beyond every control.",
        lines,
    )


def _beyond(here: Sequence[Row], arm: str) -> Contrast:
    """Steering of the vector in question minus that of another arm, on the same prompts."""
    other = {_prompt(row): value for row in rows_about(here, arm=arm) if (value := log_of_names(row)) is not None}
    pairs = []
    for row in rows_about(here, arm=""):
        value = log_of_names(row)
        if value is not None and _prompt(row) in other:
            pairs.append((row.concept or "", value - other[_prompt(row)]))
    return contrast(pairs)


def _steering(own: Sequence[Row], rows: Sequence[Row]) -> Mean:
    """Shift of log P against no injection, in nats: mean over concepts."""
    plain = {
        _prompt(row): value
        for row in rows_about(rows, arm="", condition="control")
        if (value := log_of_names(row)) is not None
    }
    pairs = []
    for row in own:
        value = log_of_names(row)
        if value is not None and _prompt(row) in plain:
            pairs.append((row.concept or "", value - plain[_prompt(row)]))
    return contrast(pairs).mean


def _prompt(row: Row) -> tuple[int, int]:
    return row.trial, int(row.detail.get("prompt", -1))


def _naming(own: Sequence[Row]) -> Rate:
    hits = [hit for row in own if (hit := named(row)) is not None]
    return rate(int(sum(hits)), len(hits))


def _cosine(own: Sequence[Row]) -> Mean:
    """Cosine with the model's own vector: mean and interval over concepts."""
    by_word = {row.concept: float(row.measurements["cosine"]) for row in own if "cosine" in row.measurements}
    return mean(list(by_word.values()))


def _figures(rows: Sequence[Row], arms: Mapping[str, str]) -> tuple[Figure, ...]:
    found = []
    for arm, label in arms.items():
        own = rows_about(rows, arm=arm, condition="injected")
        tail = f"_{arm}" if arm else ""
        found += [Figure(f"named{tail}", f"concept named, {label}", _naming(own))]
        found += [Figure(f"steering{tail}", f"steering in nats, {label}", _steering(own, rows))]
        if (cosine := _cosine(own)).count:
            found += [Figure(f"cosine{tail}", f"cosine with the model's own vector, {label}", cosine)]
    plain = rows_about(rows, condition="control")
    found.append(Figure("named_control", "concept named, no injection", _naming(plain)))
    return tuple(found)


def _maps(rates: dict[tuple[int, float], Rate], unit: str, label: str) -> tuple[HeatMap, ...]:
    if not rates:
        return ()
    layers, strengths = (tuple(sorted(set(axis))) for axis in zip(*rates, strict=True))
    return (HeatMap("named", f"concept named, {label}", layers, strengths, rates, unit),)
