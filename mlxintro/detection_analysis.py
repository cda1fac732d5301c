"""What a run of injected thoughts comes to: rates, control arms, the sweep of layers and strengths, and the verdict.

A pure function of stored rows. Abstained and ungraded replies are in no rate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlxintro import concepts, controls, taxonomy
from mlxintro.analysis import Analysis, Cell, Curve, Figure, HeatMap, Plot, Point, Row, Table, Verdict
from mlxintro.grading.rules_concept import find_mentions
from mlxintro.grading.text import fold
from mlxintro.statistics import Rate, auroc, clustered, difference, exceeds, holm, mean, mean_difference, rate
from mlxintro.study import Study
from mlxintro.verdict_card import FEW, Evidence, card

ENOUGH_CONTROLS = 20
Place = tuple[int, float]
"""Layer and strength."""


def analyse(rows: Sequence[Row], study: Study) -> Analysis:
    """Everything the rows of an ``injected-thoughts`` run say."""
    run = _Rows.of(rows)
    best = best_cell(run)
    whole = evidence(run, run.injected, "all cells of the grid" if len(run.places) > 1 else "all trials")
    held_out = None
    if best is not None and best.reported:
        held_out = evidence(run, best.reported, f"{best.label}, {len(best.words)} concepts that did not choose it")
    verdict = card(whole, held_out)
    return Analysis(
        verdict=verdict,
        figures=_figures(run, whole),
        heat_maps=_heat_maps(run, study) if len(run.places) > 1 else (),
        plots=_plots(run),
        tables=tuple(table for table in _tables(run, best) if table.rows),
        remarks=tuple(_remarks(run, verdict, best)),
        data={"best_cell": best.as_dict() if best else None},
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """A run's rows by what they are for."""

    injected: list[Row]
    pool: list[Row]
    """Uninjected replies."""
    arms: Mapping[str, list[Row]]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> _Rows:
        arms: dict[str, list[Row]] = {}
        for row in rows:
            if row.arm:
                arms.setdefault(row.arm, []).append(row)
        main = [row for row in rows if not row.arm]
        injected = [row for row in main if row.condition == "injected"]
        return cls(injected, [row for row in main if row.condition == "control"], arms)

    @property
    def places(self) -> list[Place]:
        return sorted({place_of(row) for row in self.injected})

    @property
    def words(self) -> list[str]:
        return sorted({row.concept for row in self.injected if row.concept is not None})


def place_of(row: Row) -> Place:
    return (-1 if row.layer is None else row.layer, 0.0 if row.strength is None else row.strength)


def share(rows: Iterable[Row], holds: Callable[[Row], bool | None]) -> Rate:
    """Rate of rows for which something holds, over those for which it can be told."""
    answers = [answer for row in rows if (answer := holds(row)) is not None]
    return rate(sum(answers), len(answers))


def detects(row: Row) -> bool | None:
    return row.grade.detects if row.grade else None


def names(row: Row) -> bool | None:
    return row.grade.success if row.grade else None


def leaks(row: Row) -> bool | None:
    if row.grade is None or row.grade.detects is None:
        return None
    return row.grade.coherent is True and row.grade.affirms is False and row.grade.identifies is True


def coherent(row: Row) -> bool | None:
    return row.grade.coherent if row.grade else None


def evidence(run: _Rows, injected: Sequence[Row], where: str) -> Evidence:
    """What the verdict is drawn from, for all injected rows or some of them."""
    elsewhere = [*run.arms.get(controls.OTHER, ()), *run.arms.get("random", ())]
    if elsewhere:
        guessed, leaked, source = share(elsewhere, names), share(elsewhere, leaks), "with another vector"
    else:
        guessed, leaked = _by_luck(run)
        source = "uninjected"
    shifts = logit_shifts(run)
    trial_question = shifts.get(controls.QUESTION, [])
    unrelated = [shift for arm in ("clear-no", "clear-yes") for shift in shifts.get(arm, [])]
    random = run.arms.get("random")
    strengths = {row.strength for row in injected}
    if random and len(same := [row for row in random if row.strength in strengths]) >= FEW:
        random = same
    return Evidence(
        where=where,
        detection=share(injected, detects),
        false_alarms=share(run.pool, detects),
        identification=share(injected, names),
        guessed=guessed,
        guessed_from=source,
        leaked=share(injected, leaks),
        leaked_elsewhere=leaked,
        random=share(random, detects) if random else None,
        shift=mean(trial_question) if trial_question else None,
        unrelated=mean(unrelated) if unrelated else None,
        net=mean_difference(trial_question, unrelated) if trial_question and unrelated else None,
    )


def _by_luck(run: _Rows) -> tuple[Rate, Rate]:
    """How often an uninjected reply names the concept of its pair, with a claim and without one.

    Graders are not told of a concept on controls, so mentions are looked for here.
    """
    concept_of = {row.trial: row.concept for row in run.injected}
    known = {word: concepts.library().find(word) or concepts.custom(word) for word in run.words}
    claimed = silent = graded = 0
    for row in run.pool:
        detected, word = detects(row), concept_of.get(row.trial)
        if detected is None or word is None:
            continue
        graded += 1
        if find_mentions(fold(row.response), word, known[word].related):
            claimed += detected
            silent += not detected
    return rate(claimed, graded), rate(silent, graded)


def logit_shifts(run: _Rows) -> dict[str, list[float]]:
    """By arm, by how much the vector moves the yes-no logit of each question, against the same one without it."""
    return {
        arm: [shift for rows in _by_question(run.arms[arm]).values() for shift in _shifts(rows)]
        for arm in (controls.QUESTION, *controls.UNRELATED)
        if arm in run.arms
    }


def _shifts(rows: Sequence[Row]) -> list[float]:
    without = mean([logit_of(row) for row in rows if row.condition == "control"]).value
    return [] if without is None else [logit_of(row) - without for row in rows if row.condition == "injected"]


def _by_question(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row.detail.get("question", "")), []).append(row)
    return found


def logit_of(row: Row) -> float:
    return controls.yes_logit(row.measurements["logprobs"])


@dataclass(frozen=True, slots=True)
class Best:
    """The cell that is best on one half of the concepts, reported on the other half."""

    place: Place
    chosen_on: tuple[str, ...]
    words: tuple[str, ...]
    cells: int
    reported: tuple[Row, ...]

    @property
    def label(self) -> str:
        return f"layer {self.place[0]}, strength {self.place[1]:g}"

    def as_dict(self) -> dict[str, object]:
        rows = self.reported
        return {
            "layer": self.place[0],
            "strength": self.place[1],
            "chosen_on": list(self.chosen_on),
            "reported_on": list(self.words),
            "detection": share(rows, detects).as_dict(),
            "identification": share(rows, names).as_dict(),
        }


def best_cell(run: _Rows) -> Best | None:
    """Choose the cell with the highest identification, then detection; ``None`` without two cells and two concepts."""
    words = sorted(run.words, key=lambda word: hashlib.blake2b(word.encode()).digest())
    if len(run.places) < 2 or len(words) < 2:
        return None
    first, second = words[: len(words) // 2], words[len(words) // 2 :]

    def worth(place: Place) -> tuple[float, float]:
        rows = [row for row in run.injected if place_of(row) == place and row.concept in first]
        return share(rows, names).value or 0.0, share(rows, detects).value or 0.0

    place = max(run.places, key=worth)
    reported = tuple(row for row in run.injected if place_of(row) == place and row.concept in second)
    return Best(place, tuple(first), tuple(second), len(run.places), reported)


def _figures(run: _Rows, seen: Evidence) -> tuple[Figure, ...]:
    net = difference(seen.detection, seen.false_alarms)
    found = [
        Figure("detection", "claims a thought, injected", seen.detection),
        Figure("false_alarms", "claims a thought, uninjected", seen.false_alarms),
        Figure("net_detection", "detection minus false alarms", net, _p(exceeds(seen.detection, seen.false_alarms))),
        Figure("identification", "claims it and names the concept", seen.identification),
        Figure(
            "net_identification",
            "identification minus false alarms",
            difference(seen.identification, seen.false_alarms),
        ),
    ]
    if seen.detection.value is not None and seen.false_alarms.value is not None:
        balanced = (seen.detection.value + 1 - seen.false_alarms.value) / 2
        found.append(Figure("balanced_accuracy", "balanced accuracy", balanced, "0.5 is chance"))
    for arm, label in (
        ("random", "claims a thought, random vector"),
        ("negated", "claims a thought, negated vector"),
        ("shuffled", "claims a thought, shuffled vector"),
        (controls.OTHER, "claims a thought, another concept's vector"),
    ):
        if arm in run.arms:
            found.append(Figure(f"{arm}_detection", label, share(run.arms[arm], detects)))
    if "random" in run.arms:
        found.append(_beyond_random(run, seen))
    if controls.OTHER in run.arms:
        base = share(run.arms[controls.OTHER], names)
        found.append(Figure("guessed", "names a concept that was not injected", base, "base rate of identification"))
    return (*found, *_logit_figures(run, seen))


def _beyond_random(run: _Rows, seen: Evidence) -> Figure:
    pairs = {
        word: (
            share([row for row in run.injected if row.concept == word], detects),
            share([row for row in run.arms["random"] if row.concept == word], detects),
        )
        for word in run.words
    }
    gap = difference(seen.detection, share(run.arms["random"], detects))
    clustering = clustered(pairs)
    note = "" if clustering is None else f"p = {clustering:.2g}, concepts as clusters"
    return Figure("beyond_random", "detection minus that of random vectors", gap, note)


def _logit_figures(run: _Rows, seen: Evidence) -> list[Figure]:
    found = []
    asked = run.arms.get(controls.QUESTION, [])
    with_, without = ([logit_of(row) for row in asked if row.condition == kind] for kind in ("injected", "control"))
    if (area := auroc(with_, without)) is not None:
        note = f"{len(with_)} injected against {len(without)} uninjected prompts; 0.5 is chance"
        found.append(Figure("auroc", "AUROC of the yes-no logit", area, note))
    for arm, shifts in logit_shifts(run).items():
        label = "the trial question" if arm == controls.QUESTION else f"{arm} questions"
        found.append(Figure(f"{arm.replace('-', '_')}_shift", f"yes-no logit shift, {label}", mean(shifts)))
    if seen.net is not None:
        found.append(Figure("net_logit_shift", "net logit shift", seen.net, "trial question minus clear questions"))
    return found


def _heat_maps(run: _Rows, study: Study) -> tuple[HeatMap, ...]:
    layers = tuple(sorted({place[0] for place in run.places}))
    strengths = tuple(sorted({place[1] for place in run.places}))
    cells = _by_place(run.injected)
    return tuple(
        HeatMap(
            name, title, layers, strengths, {place: share(rows, of) for place, rows in cells.items()}, study.unit or ""
        )
        for name, title, of in (
            ("detection", "Claims a thought", detects),
            ("identification", "Claims it and names the concept", names),
            ("coherence", "Coherent replies", coherent),
        )
    )


def _plots(run: _Rows) -> tuple[Plot, ...]:
    cells = _by_place(run.injected)
    found = []
    for index, name, x in ((1, "by_strength", "strength"), (0, "by_layer", "layer")):
        values = sorted({place[index] for place in cells})
        if len(values) < 2:
            continue
        curves = []
        for label, of in (("detection", detects), ("identification", names), ("coherence", coherent)):
            rates = [
                (value, share([row for place, rows in cells.items() if place[index] == value for row in rows], of))
                for value in values
            ]
            points = tuple(Point(float(v), one.value, one.low, one.high) for v, one in rates if one.value is not None)
            curves.append(Curve(label, points))
        found.append(Plot(name, f"Rates by {x}", x, "rate", tuple(curves)))
    return tuple(found)


def _by_place(rows: Iterable[Row]) -> dict[Place, list[Row]]:
    found: dict[Place, list[Row]] = {}
    for row in rows:
        found.setdefault(place_of(row), []).append(row)
    return dict(sorted(found.items()))


def _tables(run: _Rows, best: Best | None) -> list[Table]:
    alarms = share(run.pool, detects)
    tables = []
    cells = _by_place(run.injected)
    tested = [exceeds(share(rows, detects), alarms) for rows in cells.values()]
    adjusted = holm([p for p in tested if p is not None])
    if len(cells) > 1 and len(adjusted) == len(cells):
        rows: list[tuple[Cell, ...]] = [
            (*place, share(members, detects), share(members, names), share(members, coherent), f"{p:.2g}")
            for (place, members), p in zip(cells.items(), adjusted, strict=True)
        ]
        columns = ("layer", "strength", "detection", "identification", "coherent", "p (Holm)")
        note = "p: detection above false alarms, Fisher's exact test, adjusted for the number of cells"
        tables.append(Table("cells", "Layers and strengths", columns, tuple(rows), note))
    if best is not None:
        row = (best.label, len(best.words), share(best.reported, detects), share(best.reported, names))
        note = f"chosen among {best.cells} cells on the other {len(best.chosen_on)} concepts"
        of = ("cell", "concepts", "detection", "identification")
        tables.append(Table("best_cell", "Best cell, on concepts that did not choose it", of, (row,), note))
    tables.append(_groups("categories", "Categories", "category", run.injected, _category))
    tables.append(_groups("concepts", "Concepts", "concept", run.injected, lambda row: row.concept or ""))
    tables.append(taxonomy.table(run.injected, run.pool))
    tables.append(taxonomy.wrong_words([*run.injected, *run.pool]))
    return tables


def _groups(name: str, title: str, column: str, rows: Sequence[Row], of: Callable[[Row], str]) -> Table:
    """Rates per group; none where there is only one group."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(of(row), []).append(row)
    shown = [
        (label, len(members), share(members, detects), share(members, names))
        for label, members in sorted(groups.items())
    ]
    columns = (column, "trials", "detection", "identification")
    return Table(name, title, columns, tuple(shown) if len(shown) > 1 else ())


def _category(row: Row) -> str:
    known = concepts.library().find(row.concept or "")
    return known.category if known else concepts.CUSTOM


def _remarks(run: _Rows, verdict: Verdict, best: Best | None) -> list[str]:
    said = []
    grid = [*run.injected, *run.pool]
    graded = share(run.pool, detects).trials
    if 0 < graded < ENOUGH_CONTROLS:
        said.append(f"only {graded} graded controls: the false-alarm rate is hardly known; add some with --controls")
    if verdict.kind != "too little data" and "random" not in run.arms:
        said.append("no random vectors were tried: --controls standard tells a concept from a disturbance")
    if best is not None:
        said.append(
            f"the highest of {best.cells} cells is optimistic by construction: believe the best cell's figures on the "
            "concepts that did not choose it"
        )
    unclear = sum(taxonomy.class_of(row.grade, row.condition == "injected") == "unclear" for row in grid)
    if unclear:
        said.append(f"the grader abstained on {unclear} of {len(grid)} replies; they are in no rate")
    return said


def _p(value: float | None) -> str:
    return "" if value is None else f"p = {value:.2g}, Fisher's exact test"
