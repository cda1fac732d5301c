"""Which trials of a run: a filter as SQL over the indices, so that a million trials are not read to find a few."""

from __future__ import annotations

from mlxintro.protocol.spelling import comparable, spellings
from mlxintro.store.records import TrialFilter, plain_json
from mlxintro.store.searching.verdict_code import DISPUTED, LABELLED, class_of, classes_of

_PLAIN = ("condition", "arm", "layer", "strength", "status")
_FIELDS = ("affirms", "identifies", "coherent", "refuses")

_LATEST = (
    "{0}.run = trials.run AND {0}.key = trials.key AND NOT EXISTS (SELECT 1 FROM grades h WHERE h.run = {0}.run "
    "AND h.key = {0}.key AND h.grader = {0}.grader AND (h.created, h.id) > ({0}.created, {0}.id))"
)
_MARKED = (
    "EXISTS (SELECT 1 FROM standing s WHERE s.run = trials.run AND s.grader = '' AND s.class = '{0}' "
    "AND s.ordinal = trials.ordinal AND s.trial = trials.id)"
)


def condition(where: TrialFilter) -> tuple[str, list[object]]:
    """Return a filter as SQL that begins with `` AND``, for a query over ``trials``, and the values of its marks."""
    parts: list[str] = []
    values: list[object] = []
    for name in _PLAIN:
        value = getattr(where, name)
        if value is not None:
            parts.append(f"{name} = ?")
            values.append(value)
    if where.concept is not None:
        parts.append("concept IN (?, ?)")
        values += spellings(where.concept)
    for part, more in (_verdicts(where), _class(where)):
        parts += [part] if part else []
        values += more
    for mark, wanted in ((DISPUTED, where.disputed), (LABELLED, where.labelled)):
        if wanted is not None:
            parts.append(f"{'' if wanted else 'NOT '}{_MARKED.format(mark)}")
    # Last, because only this one reads the reply.
    for text in where.sought:
        parts.append("instr(comparable(response), ?) > 0")
        values.append(comparable(text))
    return "".join(f" AND {part}" for part in parts), values


def _verdicts(where: TrialFilter) -> tuple[str, list[object]]:
    """The latest verdict of the grader (of any, if none is named) has these fields."""
    wanted = {name: int(value) for name in _FIELDS if (value := getattr(where, name)) is not None}
    if not wanted and (where.grader is None or where.verdict is not None):
        return "", []
    who = "" if where.grader is None else " AND g.grader = ?"
    what = "".join(f" AND g.{name} = ?" for name in wanted)
    # Cheap comparisons first: whether it is the latest takes another look into the index.
    return (
        f"EXISTS (SELECT 1 FROM grades g WHERE g.run = trials.run AND g.key = trials.key{who}{what} "
        f"AND {_LATEST.format('g')})",
        [*([where.grader] if where.grader is not None else []), *wanted.values()],
    )


def _class(where: TrialFilter) -> tuple[str, list[object]]:
    if where.verdict is None:
        return "", []
    who = "" if where.grader is None else " AND g.grader = ?"
    graders: list[object] = [where.grader] if where.grader is not None else []
    any_of = "SELECT 1 FROM grades g WHERE g.run = trials.run AND g.key = trials.key"
    if where.verdict == "ungraded":
        return f"NOT EXISTS ({any_of}{who} AND g.state <> 'unscored' AND {_LATEST.format('g')})", graders
    classes = plain_json(list(classes_of(where.verdict)))
    wanted = f"{class_of('g')} IN (SELECT value FROM json_each(?))"
    return f"EXISTS ({any_of}{who} AND {wanted} AND {_LATEST.format('g')})", [*graders, classes]
