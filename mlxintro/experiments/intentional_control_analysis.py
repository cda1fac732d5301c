"""What cosines on a reply's tokens come to, arm against arm: the analysis of ``intentional-control``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from mlxintro.analysis.contrasts import FEWEST_CONCEPTS, FEWEST_PAIRS, MORE, Contrast, concept_means, contrast
from mlxintro.analysis.results import Analysis, Curve, Figure, Plot, Point, Row, Table, Verdict
from mlxintro.analysis.stats import Mean, mean
from mlxintro.ladder.contrasted import ContrastedRival, contrasted_ladder, with_untested
from mlxintro.ladder.rungs import Ladder
from mlxintro.protocol.study import Study

Value = Callable[[Row], Sequence[float]]
THINK, DONT = "think", "dont-think"


def own(kind: str) -> Value:
    """Return the cosines with the concept's own vector, by layer."""
    return lambda row: row.measurements[kind]


def specific(kind: str) -> Value:
    """Return the cosine with the word's vector minus the mean over unrelated words' vectors."""
    return lambda row: [
        a - b for a, b in zip(row.measurements[kind], row.measurements[f"{kind}_band"]["mean"], strict=True)
    ]


def late_cosine(row: Row) -> float | None:
    """Return the mean centred cosine over the latter half of the layers that were read; ``None`` where nothing was."""
    return _over_late_layers(row, own("centred"))


def late_specific(row: Row) -> float | None:
    """Return the late cosine minus that of unrelated words' vectors."""
    return _over_late_layers(row, specific("centred"))


def _over_late_layers(row: Row, value: Value) -> float | None:
    if "centred" not in row.measurements:
        return None
    values = value(row)
    return _late(values, range(len(values) // 2, len(values)))


RIVALS = (
    ContrastedRival("chance", "the word is in mind either way", "think minus don't think"),
    ContrastedRival("any word", "every word's vector is met more", "the same beyond unrelated words' vectors"),
    ContrastedRival("reading it", "to mention the word is enough", "the same beyond mere mentions of the word"),
)


def analyse(
    rows: Sequence[Row], contrasts: Sequence[tuple[str, str]], mentions: Sequence[str], study: Study
) -> Analysis:
    """Analyse finished trials.

    Args:
        rows: with measurements.
        contrasts: pairs of arms.
        mentions: arms that only name the word.
        study: that was run.
    """
    if not rows:
        return Analysis(verdict=Verdict("too little data", "Nothing has been measured yet."))
    layers: list[int] = rows[0].measurements["layers"]
    late = [at for at, _ in enumerate(layers) if at >= len(layers) // 2]
    arms: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        arms[row.arm].append(row)

    def over_late(first: str, second: str, value: Value) -> list[tuple[int, str, float]]:
        return [
            (number, concept, math.fsum(gaps[at] for at in late) / len(late))
            for number, concept, gaps in _gaps(arms[first], arms[second], value)
        ]

    gap = contrast(_bare(over_late(THINK, DONT, own("centred"))))
    beyond_band = contrast(_bare(over_late(THINK, DONT, specific("centred"))))
    named = [pair for pair in contrasts if set(pair) <= set(mentions) and all(arms[arm] for arm in pair)]
    beyond = _beyond(over_late(THINK, DONT, own("centred")), [over_late(*pair, own("centred")) for pair in named])
    where = "the centred cosine over the latter half of the layers"
    ladder = contrasted_ladder(list(zip(RIVALS, (gap, beyond_band, beyond), strict=True)), study, where)
    means = {
        arm: _by_concept((row.concept or "", _late(own("centred")(row), late)) for row in arms[arm])
        for arm in sorted(arms)
    }
    present = [pair for pair in contrasts if all(arms[arm] for arm in pair)]
    return Analysis(
        verdict=_verdict(gap, beyond_band, beyond, ladder),
        ladder=ladder,
        figures=(
            Figure("gap", "think minus don't think (centred cosine)", gap.mean, "latter half of the layers"),
            Figure("gap_beyond_band", "the same beyond unrelated words", beyond_band.mean),
            Figure("gap_beyond_mentions", "the same beyond mere mentions", beyond.mean),
            *(Figure(f"cosine_{arm}", f"centred cosine, {arm}", value) for arm, value in means.items()),
        ),
        plots=tuple(_plot(arms, layers, kind) for kind in ("centred", "raw")),
        tables=(_contrast_table(present, over_late),),
        remarks=tuple(_remarks(rows, named=bool(named))),
    )


def _contrast_table(
    pairs: Sequence[tuple[str, str]], over_late: Callable[[str, str, Value], list[tuple[int, str, float]]]
) -> Table:
    """Make the table of arm against arm; ``over_late`` gives gaps of two arms over the latter half of the layers."""
    lines = []
    for first, second in pairs:
        raw, centred = (contrast(_bare(over_late(first, second, own(kind)))) for kind in ("raw", "centred"))
        lines.append((f"{first} - {second}", raw.mean, centred.mean, centred.pairs, centred.p))
    columns = ("arms", "raw cosine", "centred cosine", "pairs", "p (above 0)")
    return Table("contrasts", "differences, latter half of the layers", columns, tuple(lines))


def _remarks(rows: Sequence[Row], *, named: bool) -> Iterator[str]:
    yield "The verdict rests on the latter half of the layers that were read, fixed in advance; curves show all."
    if not named:
        yield "Without arms that only mention the word, thinking is not told apart from reading it."
    copied = [row.measurements["copied"] for row in rows if "copied" in row.measurements]
    if copied and not all(copied):
        yield f"{copied.count(False)} of {len(copied)} replies are not the sentence that was asked for."


def _verdict(gap: Contrast, beyond_band: Contrast, beyond: Contrast, ladder: Ladder) -> Verdict:
    evidence = [f"judged on {ladder.where}, at p < {ladder.alpha:g}", *ladder.lines]
    if not gap.enough:
        few = f"fewer than {FEWEST_PAIRS} pairs or {FEWEST_CONCEPTS} concepts"
        return Verdict("too little data", f"Nothing can be concluded: {few}. {MORE}", tuple(evidence))
    if not (gap.above_zero and beyond_band.above_zero):
        headline = "Told to think about a word, the subject holds no more of it than when told not to."
    elif beyond.pairs and not beyond.above_zero:
        headline = "The gap between think and don't think is no larger than that between mere mentions of the word."
    else:
        headline = "Told to think about a word, the subject holds more of it than when told not to."
        return Verdict("effect", with_untested(headline, ladder), tuple(evidence))
    return Verdict("no effect shown", headline, tuple(evidence))


def _gaps(first: Sequence[Row], second: Sequence[Row], value: Value) -> Iterable[tuple[int, str, list[float]]]:
    before = {row.trial: value(row) for row in second}
    for row in first:
        if row.trial in before:
            pairs = zip(value(row), before[row.trial], strict=True)
            yield row.trial, row.concept or "", [a - b for a, b in pairs]


def _beyond(own: Sequence[tuple[int, str, float]], others: Sequence[Sequence[tuple[int, str, float]]]) -> Contrast:
    """One gap minus the mean of several others, pair by pair."""
    sums: dict[int, list[float]] = defaultdict(list)
    for other in others:
        for number, _, value in other:
            sums[number].append(value)
    return contrast(
        (concept, value - math.fsum(sums[number]) / len(sums[number]))
        for number, concept, value in own
        if number in sums
    )


def _bare(gaps: Iterable[tuple[int, str, float]]) -> Iterable[tuple[str, float]]:
    return ((concept, value) for _, concept, value in gaps)


def _late(values: Sequence[float], late: Sequence[int]) -> float:
    return math.fsum(values[at] for at in late) / len(late)


def _by_concept(values: Iterable[tuple[str, float]]) -> Mean:
    return mean(concept_means(values))


def _plot(arms: dict[str, list[Row]], layers: Sequence[int], kind: str) -> Plot:
    curves = []
    for arm, rows in sorted(arms.items()):
        points = []
        for at, layer in enumerate(layers):
            one = _by_concept((row.concept or "", row.measurements[kind][at]) for row in rows)
            if one.value is not None:
                points.append(Point(layer, one.value, one.low, one.high))
        curves.append(Curve(arm, tuple(points)))
    bands = [row.measurements[f"{kind}_band"] for rows in arms.values() for row in rows]
    middle = [
        Point(layer, *(math.fsum(one[name][at] for one in bands) / len(bands) for name in ("mean", "low", "high")))
        for at, layer in enumerate(layers)
    ]
    curves.append(Curve("unrelated words (middle 90 %)", tuple(middle)))
    return Plot(f"cosine_{kind}", f"{kind} cosine with the concept vector", "layer", "cosine", tuple(curves))
