"""One flat row per trial, for JSON lines, CSV and Parquet: every row of a run has the same columns in one order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mlxintro.store.records import GRADE_FIELDS, GradeRecord, Trial
from mlxintro.store.store import Store
from mlxintro.store.trials import PAGE

_DOSES = ("raw", "norm", "resid")
_SPEC = ("experiment", "preset", "model", "prompt", "trial", "seed", "temperature", "top_p", "max_tokens")


def export_rows(store: Store, run: str) -> Iterator[dict[str, Any]]:
    """Trials in the order of the plan, a page in memory at a time.

    Doses of the first injection have columns of their own; ``injections``, ``doses``, ``proofs`` and ``measurements``
    hold everything as nested data. Per grader there are columns ``GRADER.affirms`` and so on (the latest verdict), per
    person ``label.PERSON.FIELD``.
    """
    found = store.runs.get(run)
    graders = store.grades.graders(run)
    labels = {(label.key, label.labeller): label for label in store.labels.latest(run)}
    people: dict[str, set[str]] = defaultdict(set)
    for label in labels.values():
        people[label.labeller] |= label.fields.keys()

    trials = store.trials.of_run(run)
    while page := list(islice(trials, PAGE)):
        grades = _of_page(store, run, page) if graders else {}
        for trial in page:
            row = {"run": found.name, "run_id": run, **_of_trial(trial)}
            for grader in graders:
                grade = grades.get((trial.key, grader))
                for name in (*GRADE_FIELDS, "naming", "state", "reason", "version"):
                    row[f"{grader}.{name}"] = None if grade is None else getattr(grade, name)
            for person, fields in sorted(people.items()):
                label_ = labels.get((trial.key, person))
                for name in sorted(fields):
                    row[f"label.{person}.{name}"] = None if label_ is None else label_.fields.get(name)
                row[f"label.{person}.note"] = None if label_ is None else label_.note
            yield row


def _of_page(store: Store, run: str, page: list[Trial]) -> dict[tuple[str, str], GradeRecord]:
    found = store.grades.latest(run, keys=[trial.key for trial in page])
    return {(grade.key, grade.grader): grade for grade in found}


def _of_trial(trial: Trial) -> dict[str, Any]:
    plain = trial.plain()
    spec, doses = plain["spec"], plain["doses"]
    first = doses[0] if doses else {}
    return {
        "trial_key": trial.key,
        "ordinal": trial.ordinal,
        "status": trial.status,
        "condition": trial.condition,
        "arm": trial.arm,
        "concept": trial.concept,
        "layer": trial.layer,
        "strength": trial.strength,
        "unit": trial.unit,
        **{f"dose_{name}": first.get(name) for name in _DOSES},
        **{name: spec.get(name) for name in _SPEC},
        "response": trial.response,
        "finish": trial.finish,
        "tokens": trial.tokens,
        "error": trial.error,
        "created": trial.created,
        "readout": spec.get("readout", "text"),
        "detail": spec.get("detail", {}),
        "injections": spec.get("injections", []),
        "doses": doses,
        "proofs": plain["proofs"],
        "measurements": plain["measurements"],
    }
