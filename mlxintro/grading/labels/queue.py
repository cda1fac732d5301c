"""Label sets of long runs: drawn, continued and compared without reading the trials that are not in them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import combinations, islice

from mlxintro.backends.errors import UsageError
from mlxintro.grading.agreement import Agreement, compare
from mlxintro.grading.base import Grade
from mlxintro.grading.labels.labelling import LabellingSession, items, to_grade, with_open_first
from mlxintro.grading.open_replies import waiting
from mlxintro.grading.passes import from_record
from mlxintro.store.records import LabelSet, Run, TrialFilter
from mlxintro.store.store import Store

_FIELDS = ("detects", "affirms", "identifies", "coherent", "refuses", "success")
_AHEAD = 200


def open_set(store: Store, run: Run, name: str, count: int, seed: int = 0) -> LabelSet:
    """Return a label set by name, drawn from the run's replies unless it is there already.

    Args:
        store: opened for writing.
        run: whose replies.
        name: of the set.
        count: trials in a new set.
        seed: of a new set's draw.

    Raises:
        UsageError: the set is frozen, or there is nothing to draw from.
    """
    chosen = next((one for one in store.label_sets.of_run(run.id) if one.name == name), None)
    if chosen is None:
        keys = store.trials.keys(run.id, TrialFilter(status="done"))
        random.Random(seed).shuffle(keys)
        keys = with_open_first(keys, waiting(store, run), count)
        drawn = list(islice(_with_reply(store, run, keys), count))
        if not drawn:
            raise UsageError(f"{run.name} has no replies to label yet: wait for some, or resume it")
        chosen = store.label_sets.draw(run.id, name, seed, drawn)
    if chosen.frozen:
        raise UsageError(f"the label set {name} is frozen: give another name to draw a new one")
    return chosen


def session_of(store: Store, run: Run, chosen: LabelSet, labeller: str) -> LabellingSession:
    """Return what a labeller has still to label of a set, in its order."""
    have = {
        label.key
        for label in store.labels.latest(run.id, labeller=labeller, keys=chosen.keys)
        if to_grade(label.fields) is not None
    }
    trials = store.trials.by_keys(run.id, chosen.keys)
    queue = items(trials, chosen.keys, store.browse.injected_concepts(run.id))
    return LabellingSession(labeller, [item for item in queue if item.key not in have])


def agreement_on(store: Store, run: Run, keys: Sequence[str]) -> list[Agreement]:
    """Return how far people and graders agree on some trials.

    Every pair with at least one person, on all conditions.
    """
    people: dict[str, dict[str, Grade]] = {}
    for label in store.labels.latest(run.id, keys=keys):
        if (grade := to_grade(label.fields)) is not None:
            people.setdefault(label.labeller, {})[label.key] = grade
    graders: dict[str, dict[str, Grade]] = {}
    for record in store.grades.latest(run.id, keys=keys):
        graders.setdefault(record.grader, {})[record.key] = from_record(record)
    conditions = {trial.key: trial.condition for trial in store.trials.by_keys(run.id, keys)}
    pairs = [*combinations(people.items(), 2), *((one, two) for one in people.items() for two in graders.items())]
    return [
        found
        for (first, one), (second, two) in pairs
        for found in compare(first, one, second, two, conditions)
        if found.condition == "all" and found.field in _FIELDS
    ]


def _with_reply(store: Store, run: Run, keys: Sequence[str]) -> Iterator[str]:
    """Those that have a reply; trials that are read out otherwise have none. Reads only as many as are asked for."""
    for start in range(0, len(keys), _AHEAD):
        for trial in store.trials.by_keys(run.id, keys[start : start + _AHEAD]):
            if trial.response or trial.spec.readout == "text":
                yield trial.key
