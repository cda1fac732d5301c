"""From a trial to the settings of a study that maps where its answer comes from."""

from __future__ import annotations

from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.trials import TrialSpec
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.store.records import Run

_CONCEPTS = 5
"""Concepts of a map: its intervals are taken over them."""


def map_study(run: Run, spec: TrialSpec) -> dict[str, Any]:
    """Plan a map at the trial's layer and strength, for its concept and others of the run.

    Raises:
        UsageError: nothing is injected in it, or the run does not say with which model it was made.
    """
    added = [one for one in spec.injections if one.operation == "add"]
    if not added:
        raise UsageError("nothing is injected in this trial, so there is nothing to map: choose an injected one")
    first = added[0]
    if "model" not in run.study:
        raise UsageError(f"{run.name} does not say with which model it was made: set the map up as a new study")
    given = tuple(run.study.get("concepts", ()))
    known = [one.word for one in library_of(run.study).resolve(given, allow_unknown=True)]
    words = dict.fromkeys([first.concept, *known])
    settings = {
        "experiment": "patching",
        "preset": "patching",
        "model": run.study["model"],
        "backend": run.study.get("backend", "auto"),
        "concepts": tuple(words)[:_CONCEPTS],
        "any_word": True,
        "own_concepts": run.study.get("own_concepts"),
        "layers": (first.layer,),
        "strengths": (first.strength,),
        "unit": first.unit,
    }
    window = run.study.get("window")
    return settings | ({"window": window} if window in ("all", "prompt", "question") else {})
