"""``mlxintro grade --disagreements``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlxintro.cli.output import chatter, echo, json_line, shorten, table
from mlxintro.rendering.verdict_words import in_words

if TYPE_CHECKING:
    from mlxintro.grading.disagreements import Disagreement
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


def show_disagreements(store: Store, run: Run, graders: str | None, as_json: bool) -> None:
    """List replies that graders read differently, worst first."""
    from mlxintro.grading.disagreements import disagreements

    names = [name.strip() for name in (graders or "").split(",") if name.strip()]
    found = disagreements(store, run, names)
    if as_json:
        for one in found:
            echo(json_line(_data(one)))
    elif found:
        judges = sorted({name for one in found for name in one.grades})
        rows = [
            [
                one.trial.key.removeprefix("b2:")[:8],
                *(in_words(one.grades.get(name)) for name in judges),
                ", ".join(field for field in one.fields if field not in ("detects", "success")) or "order of naming",
                shorten(one.trial.response, 60),
            ]
            for one in found
        ]
        echo(table(["trial", *judges, "differ on", "reply"], rows))
    chatter(f"{len(found)} replies are read differently; mlxintro runs show {run.name} TRIAL shows one")


def _data(one: Disagreement) -> dict[str, Any]:
    from mlxintro.store.records import GRADE_FIELDS

    return {
        "trial_key": one.trial.key,
        "condition": one.trial.condition,
        "concept": one.trial.concept,
        "response": one.trial.response,
        "differ": list(one.fields),
        "grades": {
            name: {
                **{field: getattr(grade, field) for field in GRADE_FIELDS},
                "success": grade.success,
                "naming": grade.naming,
                "state": grade.state,
                "reason": grade.reason,
            }
            for name, grade in one.grades.items()
        },
    }
