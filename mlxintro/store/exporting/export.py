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
from mlxintro.replies.thoughts import thought_of
from mlxintro.store.exporting.columns import GRADE_COLUMNS
from mlxintro.store.records import GradeRecord, Label, Run, Trial
from mlxintro.store.store import Store
from mlxintro.store.trials import PAGE
from mlxintro.thinking.channels import channel_of
from mlxintro.thinking.grades import thought_verdict

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
                    **_grades(graders, trial, grades),
                    **_labels(people, trial.key, labels[run.id]),
                }


def _grades(graders: Sequence[str], trial: Trial, grades: Mapping[tuple[str, str], GradeRecord]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for grader in graders:
        record = grades.get((trial.key, grader))
        beside = _on_thought(trial, record)
        row |= {
            f"{grader}.{column.name}": beside.get(column.name, getattr(record, column.name, None))
            for column in GRADE_COLUMNS
        }
    return row


def _on_thought(trial: Trial, record: GradeRecord | None) -> dict[str, Any]:
    """What a grader says of the thought before a reply, and both together; nothing where there is no thought."""
    thought = thought_of(trial.measurements)
    if thought is None or record is None:
        return {}
    noticed = thought_verdict(record)
    return {
        "thought_affirms": noticed.affirms if noticed else None,
        "thought_identifies": noticed.identifies if noticed else None,
        "channels": channel_of(thought, record),
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
    thought = thought_of(plain["measurements"])
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
        "thought": thought.text if thought else None,
        "thought_tokens": thought.tokens if thought else None,
        "thought_end": thought.closed if thought else None,
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
