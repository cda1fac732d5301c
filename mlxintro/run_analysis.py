"""What a stored run says: its rows, analysed by its experiment under the study it was run with."""

from __future__ import annotations

from mlxintro import experiments
from mlxintro.analysis import Analysis
from mlxintro.grading.passes import rows_of
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.study import Study


def study_of(run: Run) -> Study:
    """The resolved study of a run; one stored by another version keeps the settings that are still known."""
    known = {name: value for name, value in run.study.items() if name in Study.model_fields}
    return Study.model_validate({"model": run.model.get("model", ""), **known})


def analysis_of(store: Store, run: Run, grader: str) -> Analysis:
    """Analyse a run by one grader's verdicts."""
    return experiments.find(run.experiment).analyse(rows_of(store, run, grader), study_of(run))
