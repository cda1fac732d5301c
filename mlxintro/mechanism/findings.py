"""What maps and lenses of a run come to: the analysis of ``patching``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlxintro.analysis.results import (
    Analysis,
    Cell,
    Curve,
    Figure,
    Plot,
    Point,
    Row,
    Table,
    ValueMap,
    Verdict,
    rows_about,
)
from mlxintro.analysis.stats import Mean, mean, mean_difference
from mlxintro.analysis.tally import Place
from mlxintro.ladder.rows import by_place
from mlxintro.mechanism.lens import LENS_ANSWERS
from mlxintro.mechanism.maps import PatchMap, as_share
from mlxintro.mechanism.patching import DIRECTIONS, Direction, Patch
from mlxintro.mechanism.stored import LENS, RANDOM, map_of, proven_patches

_LISTED = 8
_LEVEL = 0.05
_LEAST = 0.05
"""Nats below which nothing is called a gap or a shift, however small its interval is."""
_OUTCOMES = {"log_odds": "log-odds of yes", "name": "log P(name)"}
_SAID: dict[Direction, str] = {
    "removed": "clean activation in the injected run",
    "added": "injected activation in the clean run",
}


@dataclass(frozen=True, slots=True, eq=False)
class _PlaceMaps:
    """Makes the maps of one cell of the study's grid."""

    place: Place
    own: PatchMap
    random: PatchMap | None

    @property
    def at(self) -> str:
        return f"layer {self.place[0]}, strength {self.place[1]:g}"


def analyse(rows: Sequence[Row], unit: str) -> Analysis:
    """Analyse finished trials.

    Args:
        unit: of the strengths.
    """
    patched = [row for row in rows if "cells" in row.measurements]
    found = list(_places(patched))
    maps = [one for place in found for one in _value_maps(place)]
    lenses = [row for row in rows if row.arm == LENS and "lens" in row.measurements]
    return Analysis(
        verdict=_verdict(found, unit),
        figures=tuple(_figures(patched, found)),
        value_maps=(*maps, *_lens_maps(lenses)),
        plots=tuple(plot for place in found for plot in _curves(place)),
        tables=tuple(_strongest(place) for place in found),
        remarks=(*_proof(patched), *_remarks(found)),
    )


def _injected(rows: Sequence[Row]) -> Iterator[Row]:
    return (row for row in rows if row.layer is not None and row.strength is not None)


def _places(rows: Sequence[Row]) -> Iterator[_PlaceMaps]:
    for place, here in by_place(_injected(rows)).items():
        own = map_of(rows_about(here, arm=""))
        if own is not None:
            yield _PlaceMaps(place, own, map_of(rows_about(here, arm=RANDOM)))


def _p(map_: PatchMap, patch: Patch, direction: Direction) -> float | None:
    """That a patch moves the log-odds at all: Student's t over concepts, multiplied by the cells of both maps."""
    shifts = [run.shift(patch, direction) for run in map_.runs]
    if len(shifts) < 2:
        return None
    if max(shifts) == min(shifts):
        return 1.0 if shifts[0] == 0 else 0.0
    from scipy.stats import ttest_1samp

    return min(1.0, float(ttest_1samp(shifts, 0.0).pvalue) * 2 * len(map_.patches))


def _beyond(place: _PlaceMaps, patch: Patch, direction: Direction) -> Mean:
    """Nats by which a patch moves the log-odds further than the same patch of a random vector."""
    own = [run.shift(patch, direction) for run in place.own.runs]
    other = [run.shift(patch, direction) for run in place.random.runs] if place.random else [0.0] * len(own)
    return mean_difference(own, other)


def _verdict(found: Sequence[_PlaceMaps], unit: str) -> Verdict:
    if not found or max(len(one.own.runs) for one in found) < 3:
        return Verdict("too little data", "A map needs three concepts at least for its intervals.")
    shown: list[tuple[float, _PlaceMaps, Patch, Direction]] = []
    for place in found:
        for direction in DIRECTIONS if _is_gap(place.own.gap()) else ():
            patch = place.own.strongest(direction)
            p = _p(place.own, patch, direction)
            moved = abs(place.own.shift(patch, direction).value or 0.0) > _LEAST
            if p is not None and p < _LEVEL and moved and _beyond(place, patch, direction).beyond_zero:
                shown.append((p, place, patch, direction))
    if not shown:
        lines = [
            f"{place.at} ({unit}): the injection moves the log-odds of yes by {_said(place.own.gap())} nats"
            for place in found
        ]
        return Verdict("no effect shown", "No place is shown to carry the injected thought into the answer.", (*lines,))
    evidence = [
        f"{place.at} ({unit}), {_SAID[direction]}: {named(patch)} moves {_said(place.own.shift(patch, direction))} "
        f"nats of {_said(place.own.gap())}, further than for a random vector by "
        f"{_said(_beyond(place, patch, direction))}; p {p:.2g} after counting all cells"
        for p, place, patch, direction in sorted(shown, key=lambda one: one[0])
    ]
    return Verdict(
        "effect", "Some places carry the injected thought into the answer, beyond a random vector.", (*evidence,)
    )


def _said(value: Mean) -> str:
    if value.value is None or value.low is None or value.high is None:
        return "-" if value.value is None else f"{value.value:+.2f}"
    return f"{value.value:+.2f} ({value.low:+.2f} to {value.high:+.2f})"


def _is_gap(gap: Mean) -> bool:
    return gap.beyond_zero and abs(gap.value or 0.0) > _LEAST


def named(patch: Patch) -> str:
    """Return a cell for people: ``layer 12 mlp_out, last``."""
    head = "" if patch.head is None else f" head {patch.head}"
    return f"layer {patch.layer} {patch.site}{head}, {patch.group}"


def _figures(rows: Sequence[Row], found: Sequence[_PlaceMaps]) -> Iterator[Figure]:
    for outcome, label in _OUTCOMES.items():
        for arm, what in (("", "injected minus clean"), (RANDOM, "random vector minus clean")):
            name = ("gap" if outcome == "log_odds" else "gap_name") + ("_random" if arm else "")
            yield Figure(name, f"{label}, {what}", _gaps(rows_about(rows, arm=arm), outcome), "nats, over concepts")
    for place in found:
        for direction in DIRECTIONS:
            patch = place.own.strongest(direction)
            shift = place.own.shift(patch, direction)
            label = f"strongest place, {_SAID[direction]}, {place.at}"
            name = f"top_{direction}_{place.place[0]}_{place.place[1]:g}"
            yield Figure(name, label, shift, f"nats; {named(patch)}")


def _gaps(rows: Sequence[Row], outcome: str) -> Mean:
    """Mean over concepts, each of which has the same gap in every trial of its map."""
    from mlxintro.analysis.contrasts import concept_means
    from mlxintro.mechanism.stored import gap_of

    return mean(concept_means([(row.concept or "", gap_of(row, outcome)) for row in rows]))


def _value_maps(place: _PlaceMaps) -> Iterator[ValueMap]:
    for outcome, label in _OUTCOMES.items():
        gap = place.own.gap(outcome)
        # Without a gap there is nothing to take a share of.
        whole = gap if _is_gap(gap) else None
        for direction in DIRECTIONS:
            for arm, map_ in (("", place.own), (RANDOM, place.random)):
                if map_ is None:
                    continue
                what = "random vector" if arm else "concept"
                for group, patches in _drawn_together(map_).items():
                    title = ", ".join(filter(None, (label, _SAID[direction], what, group, place.at)))
                    parts = (outcome, direction, arm, group, f"{place.place[0]}_{place.place[1]:g}")
                    yield _value_map(map_, patches, direction, outcome, whole, "_".join(filter(None, parts)), title)


def _drawn_together(map_: PatchMap) -> dict[str, list[Patch]]:
    """All patches as one picture; with single heads a picture for each group of positions, or it would be too wide."""
    if all(patch.head is None for patch in map_.patches):
        return {"": list(map_.patches)}
    groups: dict[str, list[Patch]] = defaultdict(list)
    for patch in map_.patches:
        groups[patch.group].append(patch)
    return groups


def _value_map(
    map_: PatchMap,
    patches: Sequence[Patch],
    direction: Direction,
    outcome: str,
    whole: Mean | None,
    name: str,
    title: str,
) -> ValueMap:
    """One map; of a random vector in shares of the concept's gap, so that both can be compared."""
    cells = {}
    columns: dict[str, None] = {}
    grouped = len({patch.group for patch in patches}) > 1
    for patch in patches:
        shift = map_.shift(patch, direction, outcome)
        column = _column(patch, grouped)
        columns[column] = None
        cells[str(patch.layer), column] = shift if whole is None else as_share(shift, whole)
    layers = tuple(str(layer) for layer in sorted({patch.layer for patch in patches}, reverse=True))
    unit = "nats" if whole is None else "share of the gap"
    largest = 1.0 if whole is not None else max(_LEAST, *(abs(one.value or 0.0) for one in cells.values()))
    note = "; ".join(["the deepest layer on top", *_legend(patches, grouped)])
    return ValueMap(name, title, layers, tuple(columns), cells, unit, largest, note, more=outcome != "log_odds")


_SHORT = {"resid_post": "resid", "attn_out": "attn", "mlp_out": "mlp", "head_out": "heads"}


def _column(patch: Patch, grouped: bool) -> str:
    site = _SHORT[patch.site] if patch.head is None else f"h{patch.head}"
    return f"{site} {patch.group[:4]}" if grouped else site


def _legend(patches: Sequence[Patch], grouped: bool) -> list[str]:
    sites = dict.fromkeys(patch.site for patch in patches if patch.head is None)
    lines = [f"{_SHORT[site]} = {site}" for site in sites]
    if any(patch.head is not None for patch in patches):
        lines.append("h0, h1, ... = single heads")
    names = dict.fromkeys(patch.group for patch in patches) if grouped else ()
    return [*lines, *(f"{name[:4]} = {name}" for name in names if len(name) > 4)]


def _curves(place: _PlaceMaps) -> Iterator[Plot]:
    """Shares by layer, a curve for every site and group, one picture for each direction."""
    gap = place.own.gap()
    if not _is_gap(gap):
        return
    for direction in DIRECTIONS:
        curves: dict[str, list[Point]] = defaultdict(list)
        for patch in place.own.patches:
            share = as_share(place.own.shift(patch, direction), gap)
            if patch.head is None and share.value is not None:
                curves[f"{patch.site}, {patch.group}"].append(Point(patch.layer, share.value, share.low, share.high))
        yield Plot(
            f"{direction}_{place.place[0]}_{place.place[1]:g}",
            f"log-odds of yes, {_SAID[direction]}, {place.at}",
            "layer",
            "share of the gap",
            tuple(Curve(label, tuple(points)) for label, points in curves.items()),
        )


def _strongest(place: _PlaceMaps) -> Table:
    rows: list[tuple[Cell, ...]] = []
    gap = place.own.gap()
    for direction in DIRECTIONS:
        sign = 1.0 if (gap.value or 0.0) >= 0 else -1.0
        moved = {patch: place.own.shift(patch, direction) for patch in place.own.patches}
        top = sorted(moved, key=lambda patch: -sign * (moved[patch].value or 0.0))[:_LISTED]
        for patch in top:
            other = place.random.shift(patch, direction) if place.random else None
            share = as_share(moved[patch], gap).value if _is_gap(gap) else None
            rows.append((_SAID[direction], named(patch), moved[patch], share, other, _p(place.own, patch, direction)))
    return Table(
        f"strongest_{place.place[0]}_{place.place[1]:g}",
        f"strongest places, {place.at}",
        ("patch", "place", "nats of log-odds", "share", "random vector, nats", "p times cells"),
        tuple(rows),
        "nats towards the other run, with intervals over concepts; p by Student's t, multiplied by all cells",
    )


def _proof(rows: Sequence[Row]) -> Iterator[str]:
    """Say how many patches are proven."""
    run, proven, positions = proven_patches(rows)
    if run and proven == run:
        yield f"Proof: {run} patches were run, each measured to touch every position planned ({positions} in all)."
    elif run:
        yield f"{run - proven} of {run} patches are from before proofs were kept with the trials."


def _remarks(found: Sequence[_PlaceMaps]) -> Iterator[str]:
    for place in found:
        if not _is_gap(place.own.gap()):
            yield (
                f"{place.at}: the gap between the clean and the injected run is not told from nothing, so the maps are "
                "in nats: there is hardly anything to take a share of."
            )
        if len(place.own.runs) < 5:
            yield f"{place.at}: {len(place.own.runs)} concepts give wide intervals; five or more are better."


def _lens_maps(rows: Sequence[Row]) -> Iterator[ValueMap]:
    for place, here in by_place(_injected(rows)).items():
        pieces = here[0].detail["pieces"]
        columns = tuple(f"{at}{_plain(piece)}" for at, piece in enumerate(pieces, here[0].detail["start"]))
        for answer in LENS_ANSWERS:
            table = np.array([row.measurements["lens"][answer] for row in here])
            layers = [str(layer) for layer in range(table.shape[1])]
            cells = {
                (layer, column): mean(table[:, r, c].tolist())
                for r, layer in enumerate(layers)
                for c, column in enumerate(columns)
            }
            yield ValueMap(
                f"lens_{answer}_{place[0]}_{place[1]:g}",
                f"logit lens, log P({answer}), injected minus clean, layer {place[0]}, strength {place[1]:g}",
                tuple(reversed(layers)),
                columns,
                cells,
                "nats",
                max(_LEAST, *(abs(one.value or 0.0) for one in cells.values())),
                "the deepest layer on top; columns are positions of the prompt",
                more=True,
            )


def _plain(piece: str) -> str:
    text = " ".join(piece.split())
    return f" {text[:6]}" if text else ""
