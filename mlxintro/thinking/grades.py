"""The second channel of a reply: what the subject thought before it answered, graded by the same grader.

A verdict on a reply that follows a thought carries the verdict on the thought with it, in its field ``raw``. The two
are never mixed: rates count answers, and what was noticed in thoughts stands beside them (``counts``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from mlxintro.grading.base import Grade, Grader
from mlxintro.grading.rules.grader import LONG
from mlxintro.replies.grade_terms import GradeState
from mlxintro.replies.thoughts import THOUGHT, StoredThought, thought_of
from mlxintro.store.records import GRADE_FIELDS, GradeRecord, Run, Trial, TrialFilter
from mlxintro.store.store import Store

_AT_ONCE = 500


def grade_channels(
    grader: Grader, response: str, concept: str | None, related: Sequence[str], thought: StoredThought | None
) -> tuple[Grade, Grade | None]:
    """Grade an answer, and the thought before it if there is one.

    Args:
        related: near names of the concept that count as naming it.
    """
    answer = grader.grade(response, concept, related)
    if thought is None:
        return answer, None
    noticed = grade_thought(grader, thought.text, concept, related)
    return beside_thought(answer, noticed, concept), noticed


def beside_thought(answer: Grade, noticed: Grade | None, concept: str | None) -> Grade:
    """Return the grade of an answer, given that of the thought before it.

    Who has read the word in its own thought may infer from it that something was injected, so a concept that stands in
    the thought before any claim there was named first.
    """
    if noticed is not None and answer.affirms and concept is not None and _names_first(noticed):
        return replace(answer, named_before_affirming=True)
    return answer


def grade_thought(grader: Grader, text: str, concept: str | None, related: Sequence[str]) -> Grade:
    """Grade what was thought. A long thought that is left open is judged by its conclusion, its last few sentences."""
    whole = grader.grade(text, concept, related)
    if whole.state is not GradeState.ABSTAINED or len(text) <= LONG:
        return whole
    end = text.rstrip()
    begin = max((end.rfind(sign, 0, -LONG // 2) + 1 for sign in ".!?\n"), default=0)
    last = grader.grade(end[max(begin, len(end) - LONG) :], concept, related)
    if last.state is not GradeState.SCORED:
        return whole
    return replace(last, identifies=whole.identifies, reason=f"its conclusion {last.reason}", evidence=whole.evidence)


def _names_first(thought: Grade) -> bool:
    """Tell whether a thought names the concept before it claims anything, or without claiming anything."""
    return bool(thought.identifies or thought.evidence.mention) and not (
        thought.affirms and thought.named_before_affirming is False
    )


def as_raw(thought: Grade | None) -> str | None:
    """Return the verdict on a thought as a grade's record holds it; nothing where nothing was thought."""
    return None if thought is None else json.dumps(thought_fields(thought))


def thought_fields(thought: Grade | None) -> dict[str, Any]:
    """Return the verdict on a thought as plain data under its name; nothing where nothing was thought."""
    if thought is None:
        return {}
    fields: dict[str, Any] = {name: getattr(thought, name) for name in GRADE_FIELDS}
    return {THOUGHT: {**fields, "state": thought.state.value, "reason": thought.reason}}


def both_graded(trial: Trial, record: GradeRecord) -> bool:
    """Tell whether a verdict on a trial covers its thought as well, where it has one."""
    return thought_of(trial.measurements) is None or thought_verdict(record) is not None


def thought_verdict(record: GradeRecord) -> GradeRecord | None:
    """Return the verdict on the thought that a verdict on a reply carries; ``None`` where there is none."""
    try:
        found = json.loads(record.raw or "null")
        told = found[THOUGHT] if isinstance(found, dict) else None
        if not isinstance(told, dict):
            return None
        fields = {name: told[name] for name in GRADE_FIELDS}
        if any(value not in (True, False, None) for value in fields.values()):
            return None
        return replace(
            record,
            **fields,
            state=GradeState(told["state"]),
            naming=None,
            reason=str(told["reason"]),
            raw=None,
            evidence=None,
        )
    except (ValueError, KeyError):
        return None


def both_channels(store: Store, run: Run, grader: str) -> Iterator[tuple[Trial, StoredThought, GradeRecord | None]]:
    """Return the finished replies of the main arm that follow a thought, each with one grader's verdict on both."""
    waiting: list[tuple[Trial, StoredThought]] = []

    def judged() -> Iterator[tuple[Trial, StoredThought, GradeRecord | None]]:
        found = {one.key: one for one in store.grades.latest(run.id, grader=grader, keys=[t.key for t, _ in waiting])}
        yield from ((trial, thought, found.get(trial.key)) for trial, thought in waiting)
        waiting.clear()

    for trial in store.trials.of_run(run.id, TrialFilter(status="done")):
        thought = thought_of(trial.measurements)
        if thought is None or trial.arm or trial.spec.readout != "text":
            continue
        waiting.append((trial, thought))
        if len(waiting) == _AT_ONCE:
            yield from judged()
    yield from judged()
