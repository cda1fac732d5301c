"""Labels as JSON lines: one label per line, for a second labeller elsewhere or a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.grading.labels.labelling import to_grade
from mlxintro.protocol.plain_data import parse_json
from mlxintro.replies.grade_terms import NAMING_LEVELS
from mlxintro.store.records import GRADE_FIELDS, Label, Run
from mlxintro.store.store import Store


def rows(store: Store, run: Run) -> Iterator[dict[str, Any]]:
    """Return the labels that count, withdrawn ones left out, with the reply they are about."""
    replies = {trial.key: trial.response for trial in store.trials.of_run(run.id)}
    for label in store.labels.latest(run.id):
        if to_grade(label.fields) is not None:
            yield {
                "trial_key": label.key,
                "labeller": label.labeller,
                **label.fields,
                "note": label.note,
                "created": label.created,
                "response": replies.get(label.key, ""),
            }


def read(lines: Iterable[str], labeller: str | None) -> list[Label]:
    """Return the labels from lines as ``rows`` writes them. All or nothing: one bad line refuses the file.

    Args:
        lines: each an object with ``trial_key``, at least one of the five fields, and ``labeller`` if given.
        labeller: whose they are, where a line does not say.

    Raises:
        UsageError: naming the line.
    """
    return [_read(number, line, labeller) for number, line in enumerate(lines, 1) if line.strip()]


def _read(number: int, line: str, labeller: str | None) -> Label:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise UsageError(f"line {number}: {error}: write one object per line, nothing was stored") from error
    who = row.get("labeller") or labeller if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(row.get("trial_key"), str) or not isinstance(who, str):
        raise UsageError(f"line {number} names no trial_key or labeller: add them, nothing was stored")
    fields = {name: row[name] for name in (*GRADE_FIELDS, "naming", "class", "decoy") if name in row}
    if to_grade(fields) is None or any(fields.get(name) not in (True, False, None) for name in GRADE_FIELDS):
        raise UsageError(f"line {number}: a label is true, false or null under {', '.join(GRADE_FIELDS)}")
    if fields.get("naming") not in (None, *NAMING_LEVELS):
        raise UsageError(f"line {number}: naming is one of {', '.join(NAMING_LEVELS)} or null, nothing was stored")
    return Label(key=row["trial_key"], labeller=who, fields=fields, note=str(row.get("note") or ""))
