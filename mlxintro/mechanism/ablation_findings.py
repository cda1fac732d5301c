"""What projecting directions out comes to: the analysis of ``ablation``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlxintro.analysis.contrasts import Contrast, contrast, in_words, judge
from mlxintro.analysis.head_figures import INJECTED, UNINJECTED
from mlxintro.analysis.reply_tally import detects, names, share
from mlxintro.analysis.results import Analysis, Cell, Figure, HeatMap, Row, Table, Verdict, rows_about
from mlxintro.analysis.stats import difference
from mlxintro.mechanism.ablation_arms import CONCEPT, arm_of, directions_in, random_arm


def analyse(rows: Sequence[Row], unit: str) -> Analysis:
    """Analyse finished and graded trials.

    Args:
        unit: of the strengths.
    """
    found = directions_in({row.arm for row in rows})
    places = sorted(
        {(r.layer, r.strength) for r in rows_about(rows, condition=INJECTED, arm="") if r.layer is not None}
    )
    cells = {
        (layer, strength or 0.0): share(_at(rows_about(rows, arm="", condition=INJECTED), layer, strength), detects)
        for layer, strength in places
    }
    layers, strengths = (tuple(sorted(set(axis))) for axis in zip(*cells, strict=True)) if cells else ((), ())
    map_ = HeatMap("detection", "detection rate, nothing projected out", layers, strengths, cells, unit)
    return Analysis(
        verdict=_verdict(rows, found),
        figures=tuple(_figures(rows, found)),
        heat_maps=(map_,) if cells else (),
        tables=(_table(rows, found),),
        remarks=tuple(_remarks(rows, found)),
    )


def _at(rows: Sequence[Row], layer: int | None, strength: float | None) -> list[Row]:
    return [row for row in rows if (row.layer, row.strength) == (layer, strength)]


def _groups(rows: Sequence[Row], arm: str) -> tuple[list[Row], list[Row]]:
    """Injected and uninjected trials of an arm."""
    return rows_about(rows, arm=arm, condition=INJECTED), rows_about(rows, arm=arm, condition=UNINJECTED)


def _figures(rows: Sequence[Row], directions: Sequence[str]) -> Iterator[Figure]:
    for arm, name, label in _listed(directions):
        hits, alarms = _groups(rows, arm)
        yield Figure(f"detection{name}", f"detects, {label}", share(hits, detects))
        yield Figure(f"identification{name}", f"names it, {label}", share(hits, names))
        yield Figure(f"false_alarms{name}", f"false alarms, {label}", share(alarms, detects))


def _listed(directions: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Arm, suffix of its figures, label."""
    yield "", "", "nothing projected out"
    for direction in directions:
        yield arm_of(direction), f"_without_{direction}", f"{_called(direction)} projected out"
        yield random_arm(direction), f"_random_for_{direction}", f"random in place of {_called(direction)}"


def _called(direction: str) -> str:
    return "the concept" if direction == CONCEPT else direction


def _table(rows: Sequence[Row], directions: Sequence[str]) -> Table:
    body: list[tuple[Cell, ...]] = []
    base_hits, base_alarms = (share(group, detects) for group in _groups(rows, ""))
    for arm, _, label in _listed(directions):
        hits, alarms = _groups(rows, arm)
        if not hits and not alarms:
            continue
        rates = share(hits, detects), share(hits, names), share(alarms, detects)
        changes: tuple[Cell, ...] = ("", "")
        if arm:
            changes = difference(rates[0], base_hits), difference(rates[2], base_alarms)
        body.append((label, *rates, *changes))
    columns = ("projected out", "detects", "names it", "false alarms", "change of hits", "change of false alarms")
    return Table("directions", "hits and false alarms, side by side", columns, tuple(body))


def _paired(own: Sequence[Row], other: Sequence[Row]) -> list[tuple[str, float, int]]:
    """Detection minus that of the trial with the same number and cell: concept, difference, number."""
    before = {(row.trial, row.layer, row.strength): detects(row) for row in other}
    found = []
    for row in own:
        now, then = detects(row), before.get((row.trial, row.layer, row.strength))
        if now is not None and then is not None:
            found.append((row.concept or "", float(now) - float(then), row.trial))
    return found


def _contrasts(rows: Sequence[Row], direction: str, sign: float) -> list[Contrast]:
    """Change of hits against nothing and against a random direction, and beyond the change of false alarms."""
    hits, alarms = _groups(rows, arm_of(direction))
    base_hits, base_alarms = _groups(rows, "")
    random_hits, _ = _groups(rows, random_arm(direction))
    against = _paired(hits, base_hits)
    # False alarms have no cell: what is injected in control trials is only what is projected out.
    then = {row.trial: detects(row) for row in base_alarms}
    more = {
        row.trial: float(now) - float(before)
        for row in alarms
        if (now := detects(row)) is not None and (before := then.get(row.trial)) is not None
    }
    beyond = [(concept, value - more[number]) for concept, value, number in against if number in more]
    beside = [(concept, value) for concept, value, _ in _paired(hits, random_hits)]
    groups = [[(concept, value) for concept, value, _ in against], beside, beyond]
    return [contrast((concept, sign * value) for concept, value in group) for group in groups]


_AGAINST = ("against nothing projected out", "against a random direction", "beyond the change of false alarms")


def _verdict(rows: Sequence[Row], directions: Sequence[str]) -> Verdict:
    cells = {
        (number, sign): _contrasts(rows, direction, sign)
        for number, direction in enumerate(directions)
        for sign in (1.0, -1.0)
    }
    found = judge(cells)
    if not found.enough or found.best is None:
        return Verdict(
            "too little data",
            "Nothing can be concluded: ten pairs of at least three concepts, graded, with uninjected trials and random "
            "directions, are needed.",
        )
    number, sign = found.best
    direction = _called(directions[number])
    lines = tuple(f"{label}: {in_words(one)}" for label, one in zip(_AGAINST, cells[found.best], strict=True))
    if not found.effect:
        return Verdict(
            "no effect shown", "No direction is shown to matter for noticing when it is projected out.", lines
        )
    change = "raises" if sign > 0 else "lowers"
    return Verdict(
        "effect",
        f"Projecting {direction} out {change} detection, beyond a random direction and false alarms "
        f"(p {found.p:.2g} after Holm).",
        lines,
    )


def _remarks(rows: Sequence[Row], directions: Sequence[str]) -> Iterator[str]:
    ungraded = sum(row.grade is None for row in rows)
    if ungraded:
        yield f"{ungraded} of {len(rows)} replies are not graded; they are in no rate."
    for direction in directions:
        if not rows_about(rows, arm=random_arm(direction)):
            yield f"No random direction stands in the place of {_called(direction)}: run it with --controls standard."
