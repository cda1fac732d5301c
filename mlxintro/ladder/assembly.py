"""From a loaded model to the planned study of ``certify``: dose, size and calibration, in this order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlxintro.backends.base import Backend
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Plan
from mlxintro.ladder import certificate
from mlxintro.ladder.calibration import LadderCalibration, calibrate
from mlxintro.ladder.certificate import DosedCell
from mlxintro.ladder.claims import COLLINEAR
from mlxintro.protocol import presets
from mlxintro.protocol.concepts import library
from mlxintro.protocol.study import make_study
from mlxintro.running import launch
from mlxintro.running.estimate import estimate
from mlxintro.running.launch import Checked
from mlxintro.running.session import Session
from mlxintro.tools import dose
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.recipe import recipe_for

DOSED_WORDS = 3
"""Concepts whose vectors are tried while a dose is sought."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A study that is ready to run."""

    checked: Checked
    planned: Plan
    calibration: LadderCalibration


def assemble(
    backend: Backend,
    cache: VectorCache,
    *,
    model: str,
    settings: dict[str, Any],
    preset: str,
    concepts: Sequence[str] | None,
    layer: float | None,
    strength: float | None,
    repeats: int | None,
    trials: int | None,
    hours: float | None,
    centred: bool,
    told: Callable[[str], None],
) -> Assembled:
    """Find a dose, a size and a calibration.

    Args:
        backend: the loaded model.
        cache: where vectors are kept.
        model: its name, as the study stores it.
        settings: further settings of the study.
        preset: whose wording.
        concepts: words; ``None`` for the default.
        layer: index or depth fraction; ``None`` to seek one.
        strength: fraction of the residual norm; ``None`` to seek one.
        repeats: trials per concept.
        trials: most trials of the whole study.
        hours: most hours.
        centred: subtract the mean of the other concepts.
        told: told what goes on, a line at a time.

    Raises:
        UsageError: the settings contradict each other, or nothing fits them.
    """
    if trials is not None and repeats is not None:
        raise UsageError("give either --trials, for the whole study, or --repeats, for every concept")
    words = _words(concepts)
    cell = _cell(backend, cache, preset, words, layer, strength, told)
    told(f"layer {cell.layer}, strength {cell.strength:g} of the residual norm")

    def checked(size: int, options: dict[str, Any]) -> Checked:
        more = {"preset": preset, "any_word": True, **settings}
        made = certificate.settings(model, cell, words, size, **more)
        return launch.check(make_study(**made, options={**options, "centred": centred}))

    def planned(size: int) -> tuple[Checked, Plan]:
        one = checked(size, certificate.placeholders(len(words), size, cell.strength))
        return one, launch.plan(one, backend)

    size = certificate.fit_repeats(repeats, trials, lambda count: len(planned(count)[1]))
    if hours is not None:
        size = _within(hours, size, planned, backend)
    _, plan = planned(size)
    found = _calibrated(backend, cache, plan, told)
    final = checked(size, found.options)
    return Assembled(final, launch.plan(final, backend), found)


def _words(concepts: Sequence[str] | None) -> list[str]:
    """Resolve the concepts, or the usual ones, to at least three words."""
    words = [one.word for one in library().resolve(tuple(concepts or certificate.WORDS), allow_unknown=True)]
    if len(words) < 3:
        raise UsageError("concepts are the units of most tests: give three at least, and better ten")
    return words


def _calibrated(backend: Backend, cache: VectorCache, plan: Plan, told: Callable[[str], None]) -> LadderCalibration:
    """Choose questions and match impacts on the loaded model, and tell what was found."""
    told("choosing questions and matching impacts ...")
    session = Session(backend, plan.prompts, extract(backend, plan.recipes.values(), cache))
    found = calibrate(session, plan)
    for line in _remarks(found):
        told(line)
    return found


def _cell(
    backend: Backend,
    cache: VectorCache,
    preset: str,
    words: Sequence[str],
    layer: float | None,
    strength: float | None,
    told: Callable[[str], None],
) -> DosedCell:
    if layer is not None and strength is not None:
        return DosedCell(backend.info.layer(layer), strength)
    told("looking for a dose that steers and leaves replies readable ...")
    depths = certificate.DEPTHS if layer is None else (layer,)
    layers = list(dict.fromkeys(backend.info.layer(depth) for depth in depths))
    extraction = presets.load(preset).extraction
    recipes = [recipe_for(extraction, word, backend.info) for word in words[:DOSED_WORDS]]
    doses = certificate.DOSES if strength is None else (strength,)
    steps = dose.find(backend, extract(backend, recipes, cache), layers, ladder=doses)
    return certificate.choose_cell(list(dose.propose(steps)), backend.info.layers)


def _within(hours: float, size: int, planned: Callable[[int], tuple[Checked, Plan]], backend: Backend) -> int:
    """As many trials per concept as fit into a time, by timing a few tokens."""
    one, plan = planned(size)
    seconds = estimate(one, plan, backend).seconds
    least = seconds.extraction
    for smaller in range(size, certificate.FEWEST_REPEATS - 1, -1):
        if least + (seconds.total - least) * smaller / size <= hours * 3600:
            return smaller
    needed = (least + (seconds.total - least) * certificate.FEWEST_REPEATS / size) / 3600
    raise UsageError(f"the smallest ladder takes about {needed:.1f} hours here: give --hours {needed:.1f} or more")


def _remarks(found: LadderCalibration) -> list[str]:
    """What a person should know before it starts."""
    said = [
        f"the trial question's logit is {found.trial_logit:+.1f}; unrelated questions reach from {found.lowest:+.1f} "
        f"to {found.highest:+.1f}",
        f"impact {found.impact:.3g} nats; matched vectors miss it by a factor of {found.missed_by:.2f}",
    ]
    if not found.spans:
        said.append("no unrelated question stands beyond the trial question: compression may stay untested")
    if found.mean_cosine >= COLLINEAR:
        said.append(f"the vectors are one direction (mean cosine {found.mean_cosine:.2f}): use --centred")
    return said
