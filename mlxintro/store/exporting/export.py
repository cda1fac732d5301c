"""One flat row per trial, for JSON lines, CSV and Parquet: all rows have the same columns in one order.

``mlxintro.store.exporting.columns`` says what each column holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from mlxintro.protocol.concepts import Library
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.store.exporting.columns import GRADE_COLUMNS
from mlxintro.store.records import GradeRecord, Label, Run, Trial
from mlxintro.store.store import Store
from mlxintro.store.trials import PAGE

_DOSES = ("raw", "norm", "resid")
_SAMPLING = ("trial", "seed", "temperature", "top_p", "max_tokens")
_MODEL = ("adapter", "architecture", "backend", "dtype", "quantization", "parameters", "layers", "width")


def export_rows(store: Store, runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Return the trials of one or more runs, each in the order of its plan, a page in memory at a time.

    Doses of the first injection have columns of their own; ``injections``, ``doses``, ``proofs`` and ``measurements``
    hold everything as nested data. Per grader there are columns ``GRADER.affirms`` and so on (the latest verdict), per
    person ``label.PERSON.FIELD``, also in the rows of runs which that grader or person has not judged.

    Args:
        runs: full ids.
    """
    found = [store.runs.get(run) for run in runs]
    graders = sorted({grader for run in runs for grader in store.grades.graders(run)})
    labels = {run: {(one.key, one.labeller): one for one in store.labels.latest(run)} for run in runs}
    people: dict[str, set[str]] = defaultdict(set)
    for (_, person), label in (item for of_run in labels.values() for item in of_run.items()):
        people[person] |= label.fields.keys()
    for run in found:
        library = library_of(run.study)
        trials = store.trials.of_run(run.id)
        while page := list(islice(trials, PAGE)):
            grades = _of_page(store, run.id, page) if graders else {}
            for trial in page:
                yield {
                    **_of_trial(run, trial, library),
                    **_grades(graders, trial.key, grades),
                    **_labels(people, trial.key, labels[run.id]),
                }


def _grades(graders: Sequence[str], key: str, grades: Mapping[tuple[str, str], GradeRecord]) -> dict[str, Any]:
    return {
        f"{grader}.{column.name}": getattr(grades.get((key, grader)), column.name, None)
        for grader in graders
        for column in GRADE_COLUMNS
    }


def _labels(people: Mapping[str, set[str]], key: str, labels: Mapping[tuple[str, str], Label]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for person, fields in sorted(people.items()):
        label = labels.get((key, person))
        row |= {f"label.{person}.{name}": label.fields.get(name) if label else None for name in sorted(fields)}
        row[f"label.{person}.note"] = label.note if label else None
    return row


def _of_page(store: Store, run: str, page: list[Trial]) -> dict[tuple[str, str], GradeRecord]:
    found = store.grades.latest(run, keys=[trial.key for trial in page])
    return {(grade.key, grade.grader): grade for grade in found}


def _of_trial(run: Run, trial: Trial, library: Library) -> dict[str, Any]:
    plain = trial.plain()
    spec, doses = plain["spec"], plain["doses"]
    first = doses[0] if doses else {}
    layers = run.model.get("layers")
    return {
        "run": run.name,
        "run_id": run.id,
        "experiment": spec.get("experiment"),
        "preset": spec.get("preset"),
        "model": run.model.get("model"),
        "model_revision": run.model.get("revision"),
        **{name: run.model.get(name) for name in _MODEL},
        "model_key": spec.get("model"),
        "trial_key": trial.key,
        "ordinal": trial.ordinal,
        "status": trial.status,
        "condition": trial.condition,
        "arm": trial.arm,
        "concept": trial.concept,
        "category": library.category(trial.concept) if trial.concept is not None else None,
        "layer": trial.layer,
        "depth": trial.layer / layers if trial.layer is not None and layers else None,
        "strength": trial.strength,
        "unit": trial.unit,
        **{f"dose_{name}": first.get(name) for name in _DOSES},
        "prompt": spec.get("prompt"),
        **{name: spec.get(name) for name in _SAMPLING},
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
