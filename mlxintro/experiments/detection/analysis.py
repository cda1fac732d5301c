"""What a run of injected thoughts comes to: rates, control arms, the sweep of layers and strengths, and the verdict.

A pure function of stored rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlxintro.analysis import taxonomy
from mlxintro.analysis.across.categories import category_table
from mlxintro.analysis.naming_test import naming
from mlxintro.analysis.reply_tally import coherent, detects, names, share, trials_in
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
    VerdictKind,
)
from mlxintro.analysis.stats import auroc, clustered, difference, exceeds, holm, mean, mean_difference
from mlxintro.analysis.trial_classes import UNCLEAR, graded_class
from mlxintro.ladder.best_cell import Best, best_cell
from mlxintro.ladder.case import Case
from mlxintro.ladder.climb import judge
from mlxintro.ladder.contrasted import certifying
from mlxintro.ladder.rows import Rows, by_place
from mlxintro.ladder.shifts import log_odds, question_shifts, trial_shift
from mlxintro.ladder.verdict import verdict as verdict_of
from mlxintro.protocol import controls
from mlxintro.protocol.study import Study

ENOUGH_CONTROLS = 20

_NAMED: tuple[VerdictKind, ...] = ("introspective identification", "claims and names it", "claims a thought")
"""Verdicts that a habit of saying the concept's name could bring about where only one was injected."""


def analyse(rows: Sequence[Row], study: Study) -> Analysis:
    """Return everything the rows of an ``injected-thoughts`` run say."""
    run = Rows.of(rows, thinks=study.thinking == "on")
    best = best_cell(run)
    whole = Case(run, run.injected, "all cells of the grid" if len(run.places) > 1 else "all trials")
    held_out = None
    if best is not None and best.reported:
        held_out = Case(run, best.reported, f"{best.label}, {len(best.words)} concepts that did not choose it")
    case, ladder = judge(whole, held_out, certifying(study))
    verdict = verdict_of(case, ladder)
    return Analysis(
        verdict=verdict,
        ladder=ladder,
        figures=_figures(run, whole),
        heat_maps=_heat_maps(run, study) if len(run.places) > 1 else (),
        plots=_plots(run),
        tables=tuple(table for table in _tables(run, best) if table.rows),
        remarks=tuple(_remarks(run, verdict, best)),
        data={"best_cell": best.as_dict() if best else None},
    )


def _figures(run: Rows, seen: Case) -> tuple[Figure, ...]:
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
    claims = [row for row in seen.injected if detects(row) and row.concept]
    named = naming([(row.concept or "", row.response) for row in claims], claims[0].library if claims else None)
    if named is not None:
        note = f"{named.by_luck:.0%} with concepts exchanged, p = {named.p:.2g}"
        found.append(Figure("named_of_claims", "names the concept, of all claims", named.right, note))
    if seen.detection.value is not None and seen.false_alarms.value is not None:
        balanced = (seen.detection.value + 1 - seen.false_alarms.value) / 2
        found.append(Figure("balanced_accuracy", "balanced accuracy", balanced, "0.5 is chance"))
    for arm, label in (
        ("random", "claims a thought, random vector"),
        ("negated", "claims a thought, negated vector"),
        ("shuffled", "claims a thought, shuffled vector"),
        (controls.OTHER, "claims a thought, another concept's vector"),
        (controls.MATCHED, "claims a thought, random vector of equal impact"),
        (controls.MATCHED_OTHER, "claims a thought, another concept's vector of equal impact"),
        (controls.TAMPERED, "claims a thought, odd text and no vector"),
    ):
        if arm in run.arms:
            found.append(Figure(f"{arm}_detection", label, share(run.arms[arm], detects)))
    if "random" in run.arms:
        found.append(_beyond_random(run, seen))
    if controls.OTHER in run.arms:
        base = share(run.arms[controls.OTHER], names)
        found.append(Figure("guessed", "names a concept that was not injected", base, "base rate of identification"))
    return (*found, *_logit_figures(run, seen))


def _beyond_random(run: Rows, seen: Case) -> Figure:
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


def _logit_figures(run: Rows, seen: Case) -> list[Figure]:
    found = []
    asked = run.arms.get(controls.QUESTION, [])
    with_, without = ([log_odds(row) for row in asked if row.condition == kind] for kind in ("injected", "control"))
    if (area := auroc(with_, without)) is not None:
        note = f"{len(with_)} injected against {len(without)} uninjected prompts; 0.5 is chance"
        found.append(Figure("auroc", "AUROC of the yes-no logit", area, note))
    for arm in (controls.QUESTION, *controls.SHIFTED):
        shifts = trial_shift(run.arms.get(arm, ()))
        if shifts is not None:
            label = "the trial question" if arm == controls.QUESTION else f"asked {controls.SHIFTED[arm]}"
            found.append(Figure(f"{arm.replace('-', '_')}_shift", f"yes-no logit shift, {label}", mean(shifts.values)))
    for arm in (*controls.UNRELATED, controls.SPANNING):
        of_arm = [one.shift for one in question_shifts(run.arms, [arm])]
        if of_arm:
            name = f"{arm.replace('-', '_')}_shift"
            found.append(Figure(name, f"yes-no logit shift, {arm} questions", mean(of_arm)))
    trial = seen.trial_question
    clear = [one.shift for one in seen.questions if one.kind in ("clear-no", "clear-yes")]
    if trial is not None and clear:
        net = mean_difference(trial.values, clear)
        found.append(Figure("net_logit_shift", "net logit shift", net, "trial question minus clear questions"))
    return found


def _heat_maps(run: Rows, study: Study) -> tuple[HeatMap, ...]:
    layers = tuple(sorted({place[0] for place in run.places}))
    strengths = tuple(sorted({place[1] for place in run.places}))
    cells = by_place(run.injected)
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


def _plots(run: Rows) -> tuple[Plot, ...]:
    cells = by_place(run.injected)
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
        found.append(Plot(name, f"Rates by {x}", x, "rate", tuple(curves), share=True))
    return tuple(found)


def _tables(run: Rows, best: Best | None) -> list[Table]:
    alarms = share(run.pool, detects)
    tables = []
    cells = by_place(run.injected)
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
    tables.append(category_table(run.injected, detects, _category, "claims a thought"))
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
        (label, trials_in(members), share(members, detects), share(members, names))
        for label, members in sorted(groups.items())
    ]
    columns = (column, "trials", "detection", "identification")
    return Table(name, title, columns, tuple(shown) if len(shown) > 1 else ())


def _category(row: Row) -> str:
    return row.library.category(row.concept or "")


def _remarks(run: Rows, verdict: Verdict, best: Best | None) -> list[str]:
    said = []
    grid = [*run.injected, *run.pool]
    graded = share(run.pool, detects).trials
    if 0 < graded < ENOUGH_CONTROLS:
        said.append(f"only {graded} graded controls: the false-alarm rate is hardly known; add some with --controls")
    if verdict.kind != "too little data" and not {"random", controls.MATCHED} & set(run.arms):
        said.append("no random vectors were tried: --controls standard tells a concept from a disturbance")
    if verdict.kind in _NAMED and len(run.words) == 1:
        said.append("one concept cannot tell naming from a habit of saying its name: inject several")
    if best is not None:
        said.append(
            f"the highest of {best.cells} cells is optimistic by construction: believe the best cell's figures on the "
            "concepts that did not choose it"
        )
    unclear = trials_in(row for row in grid if graded_class(row.grade) is UNCLEAR)
    if unclear:
        said.append(f"the grader abstained on {unclear} of {trials_in(grid)} replies; they are in no rate")
    return said


def _p(value: float | None) -> str:
    return "" if value is None else f"p = {value:.2g}, Fisher's exact test"
