"""Ladders of experiments whose rivals are each tested by one paired contrast: the effect minus what the rival makes.

The states are those of injected thoughts: a rival is excluded where the contrast is above zero, not excluded where it
is not, and not tested where its arm was not run, had too few pairs, or is no part of the protocol.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.analysis.contrasts import FEWEST_CONCEPTS, FEWEST_PAIRS, LEVEL, Contrast, in_words
from mlxintro.ladder.rungs import Ladder, Rung
from mlxintro.protocol.study import Study


@dataclass(frozen=True, slots=True)
class ContrastedRival:
    """Names a rival explanation of an experiment's effect, and the contrast that tests it."""

    name: str
    rival: str
    """Other behaviour of a subject that would explain the effect, in words."""
    label: str
    """Conditions that the contrast compares, in words."""
    arms: str = "--controls standard"
    """The option that runs its arm."""
    elsewhere: bool = False
    """No arm of the experiment can test it; ``certify`` does."""


def contrasted_ladder(
    tested: Sequence[tuple[ContrastedRival, Contrast | None]], study: Study, where: str, cells: int = 1
) -> Ladder:
    """Judge every rival by its contrast.

    Args:
        tested: from the bottom up; ``None`` where nothing was measured.
        study: whose subject the commands are about.
        where: which trials were judged.
        cells: how many cells there were to choose from; p values are multiplied by it (Bonferroni).
    """
    return Ladder(tuple(_rung(rival, one, study, cells) for rival, one in tested), where, LEVEL)


def _rung(rival: ContrastedRival, one: Contrast | None, study: Study, cells: int) -> Rung:
    if rival.elsewhere:
        return Rung(rival.name, rival.rival, "not tested", rival.label, remedy=certifying(study))
    if one is None or not one.pairs:
        remedy = f"{running(study)} {rival.arms}"
        return Rung(rival.name, rival.rival, "not tested", f"{rival.label}: its arm was not run", remedy=remedy)
    said = f"{rival.label}: {in_words(one)}"
    if not one.enough or one.p is None:
        few = f"{said}; at least {FEWEST_PAIRS} pairs and {FEWEST_CONCEPTS} concepts are needed"
        remedy = f"{running(study)} --trials {2 * (study.trials or 1)}"
        return Rung(rival.name, rival.rival, "not tested", few, p=one.p, remedy=remedy)
    p = min(1.0, one.p * cells)
    return Rung(rival.name, rival.rival, "excluded" if p < LEVEL else "not excluded", said, p=p)


def with_untested(headline: str, ladder: Ladder) -> str:
    """Return a headline that says which rivals were not tested."""
    untested = ", ".join(rung.name for rung in ladder.untested)
    return f"{headline} Not tested: {untested}." if untested else headline


def certifying(study: Study) -> str:
    """Return the command that climbs the whole ladder with a study's subject."""
    thinking = f" --thinking {study.thinking}" if study.thinking in ("on", "empty") else ""
    return f"mlxintro certify {_subject(study)}{thinking}"


def running(study: Study) -> str:
    """Return the command that runs a study's experiment on its subject."""
    return f"mlxintro run {study.experiment} {_subject(study)}"


def _subject(study: Study) -> str:
    adapter = f" --adapter {shlex.quote(study.adapter)}" if study.adapter else ""
    backend = "" if study.backend in (None, "auto") else f" --backend {study.backend}"
    return f"-m {shlex.quote(study.model or '')}{adapter}{backend}"
