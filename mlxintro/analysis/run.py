"""What a stored run says: its rows, analysed by its experiment under the study it was run with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pydantic import ValidationError

from mlxintro import experiments
from mlxintro.analysis.arm_rates import arm_rates, warnings
from mlxintro.analysis.counted_rows import analysed_rows
from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Analysis, Figure, Row
from mlxintro.analysis.stats import Rate
from mlxintro.analysis.tally import RunTally
from mlxintro.backends.errors import KnownError, reason_of
from mlxintro.grading.agreement import calibration_within
from mlxintro.grading.correction import corrected
from mlxintro.grading.passes import graded_trials, row_of
from mlxintro.ladder import freeze
from mlxintro.protocol.study import Study
from mlxintro.store.records import Run, TrialFilter
from mlxintro.store.store import Store
from mlxintro.thinking.counts import thought_tables

_CORRECTABLE = {
    "detection": ("detects", "injected"),
    "false_alarms": ("detects", "control"),
    "identification": ("success", "injected"),
}
"""Figures that are rates of a grader's verdicts: the field they count, and the arm whose labels measure the errors."""


def study_of(run: Run) -> Study:
    """Return the resolved study of a run; one stored by another version keeps the settings that are still known."""
    known = {name: value for name, value in run.study.items() if name in Study.model_fields}
    try:
        return Study.model_validate({"model": run.model.get("model", ""), **known})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise KnownError(
            f"{run.name}: its study cannot be read ({where}: {reason_of(first)}): import it anew"
        ) from error


def display_of(run: Run) -> Display:
    """Return what displays show for a run, by its experiment and its own wording."""
    experiment = experiments.find(run.experiment)
    study = study_of(run)
    return replace(experiment.display(experiment.preset_of(study)), library=study.library)


def tally_of(store: Store, run: Run, grader: str) -> RunTally:
    """Add a run's finished trials up to the head figures of its experiment.

    From the store's counts where grades are enough, as fast for a million trials as for ten; else from every trial.
    """
    display = display_of(run)
    if display.from_grades:
        return RunTally.of_counts(display, store.grades.counts(run.id, grader))
    rows = (row_of(trial, grade, display.library) for trial, grade in graded_trials(store, run, grader))
    return RunTally.of_rows(display, rows)


def analysis_of(store: Store, run: Run, grader: str, rows: Sequence[Row] | None = None) -> Analysis:
    """Analyse a run by one grader's verdicts; where people have labelled, rates stand corrected beside the raw ones.

    Args:
        rows: of the run by that grader, where they have been read already (``counted_rows.analysed_rows``).
    """
    experiment = experiments.find(run.experiment)
    study = study_of(run)
    if rows is None:
        rows = analysed_rows(store, run, grader)
    analysis = experiment.analyse(rows, study, experiment.preset_of(study))
    known = [f"{name}: {said}" for name, said in frozen_facts(store, run)]
    if study.options.get("alignment"):
        from mlxintro.vectors.library import origin_of_carried

        known = [*filter(None, [origin_of_carried(study, store)]), *known]
    tables = (*analysis.tables, *thought_tables(store, run, grader, graded=experiment.graded))
    if not experiment.graded:
        return replace(analysis, tables=tables, remarks=(*analysis.remarks, *known))
    figures = (*analysis.figures, *_corrections(store, run, grader, analysis))
    unequal = warnings(arm_rates(rows))
    remarks = (*analysis.remarks, *unequal, *_versions(store, run, grader), *known)
    return replace(analysis, figures=figures, tables=tables, remarks=remarks)


def frozen_facts(store: Store, run: Run) -> tuple[tuple[str, str], ...]:
    """Tell whether what was frozen before a run has held, as a fact for a report; nothing where nothing was frozen."""
    record = run.environment.get("frozen")
    if not record:
        return ()
    keys = store.trials.keys(run.id, TrialFilter(status="done"))
    return (("preregistration", freeze.in_words(record, freeze.held(record, run.study, keys, run.planned))),)


def _versions(store: Store, run: Run, grader: str) -> Iterator[str]:
    """A warning where replies were graded by different rules under one name."""
    counts = store.grades.versions(run.id, grader)
    if len(counts) > 1:
        parts = ", ".join(map(str, counts.values()))
        yield (
            f"verdicts of {len(counts)} versions of {grader} are counted together ({parts} replies): "
            "grade the run again with that grader, and all are of one"
        )


def _corrections(store: Store, run: Run, grader: str, analysis: Analysis) -> Iterator[Figure]:
    if not store.labels.latest(run.id):
        return
    for name, (field, arm) in _CORRECTABLE.items():
        figure = analysis.figure(name)
        calibration = calibration_within(store, run, grader, field, arm)
        if figure is None or calibration is None or not isinstance(figure.value, Rate):
            continue
        labelled = calibration.positives + calibration.negatives
        note = (
            f"{grader} found {calibration.hits} of {calibration.positives} and cleared {calibration.rejections} of "
            f"{calibration.negatives} among {labelled} labelled replies"
        )
        yield Figure(
            f"corrected_{name}",
            f"{figure.label}, corrected for the grader's errors",
            corrected(figure.value, calibration),
            note,
        )
