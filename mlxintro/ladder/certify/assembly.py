"""From a loaded model to the planned study of ``certify``: size, dose and calibration, in this order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlxintro.backends.base import Backend
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Plan
from mlxintro.ladder.certify import certificate
from mlxintro.ladder.certify.calibration import LadderCalibration, calibrate
from mlxintro.ladder.certify.certificate import DosedCell
from mlxintro.ladder.certify.draft import CertifyDraft
from mlxintro.ladder.claims import COLLINEAR, WELL_MATCHED
from mlxintro.protocol import presets
from mlxintro.protocol.study import make_study
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.running import launch
from mlxintro.running.launch import Checked
from mlxintro.running.preview.estimate import estimate
from mlxintro.running.session import Session
from mlxintro.running.thinking import check_says_thinking
from mlxintro.tools import dose
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.settings import recipe_for

DOSED_WORDS = 3
"""Concepts whose vectors are tried while a dose is sought."""


@dataclass(frozen=True, slots=True)
class CertifyOrder:
    """Says what is asked for; what is ``None`` is chosen for the model."""

    model: str
    """Name of the model as the study stores it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Further settings of the study."""
    preset: str = "lindsey"
    """Whose wording."""
    concepts: Sequence[str] | None = None
    layer: float | None = None
    """Index or depth fraction."""
    strength: float | None = None
    """Fraction of the residual norm."""
    repeats: int | None = None
    """Trials per concept."""
    trials: int | None = None
    """Most trials of the whole study."""
    hours: float | None = None
    """Most hours of the run, after dose and calibration."""
    centred: bool = False
    """Subtract the mean of the other concepts."""

    @property
    def words(self) -> list[str]:
        """Return the concepts, three at least.

        Raises:
            UsageError: there are fewer.
        """
        chosen = tuple(self.concepts or certificate.WORDS)
        words = [one.word for one in library_of(self.settings).resolve(chosen, allow_unknown=True)]
        if len(words) < 3:
            raise UsageError("concepts are the units of most tests: give three at least, and better ten")
        return words


@dataclass(frozen=True, slots=True)
class Assembled:
    """Holds a study that is ready to run."""

    checked: Checked
    planned: Plan
    calibration: LadderCalibration


def outline(backend: Backend, order: CertifyOrder) -> tuple[Checked, Plan]:
    """Return the study as far as it can be told without seeking anything.

    Its size and arms, at a layer and dose to be found.

    Raises:
        UsageError: the settings contradict each other, or nothing fits them.
    """
    if order.trials is not None and order.repeats is not None:
        raise UsageError("give either --trials, for the whole study, or --repeats, for every concept")
    layer = backend.info.layer(certificate.DEPTH if order.layer is None else order.layer)
    cell = DosedCell(layer, order.strength or 1.0)

    def planned(size: int) -> tuple[Checked, Plan]:
        return _placeholders(backend, order, cell, size)

    size = certificate.fit_repeats(order.repeats, order.trials, lambda count: len(planned(count)[1]))
    if order.hours is not None:
        size = _within(order.hours, size, planned, backend)
    checked, plan = planned(size)
    # Before anything is sought, which takes long.
    check_says_thinking(checked.study, checked.experiment, backend)
    return checked, plan


def assemble(
    backend: Backend,
    cache: VectorCache,
    order: CertifyOrder,
    told: Callable[[str], None],
    draft: CertifyDraft | None = None,
) -> Assembled:
    """Find a size, a dose and a calibration.

    Args:
        backend: the loaded model.
        cache: where vectors are kept.
        order: what is asked for.
        told: see ``Told``.
        draft: keeps what was found, so that nothing is sought twice.

    Raises:
        UsageError: the settings contradict each other, or nothing fits them.
    """
    kept = draft or CertifyDraft({})
    size = kept.once("repeats", lambda: outline(backend, order)[0].study.trials)
    cell = _cell(backend, cache, order, told, kept)
    told(f"layer {cell.layer}, strength {cell.strength:g} of the residual norm")
    _, plan = _placeholders(backend, order, cell, size)
    told("choosing questions and matching impacts ...")
    session = Session(backend, plan.prompts, extract(backend, plan.recipes.values(), cache))
    found = calibrate(session, plan, kept)
    for line in _remarks(found):
        told(line)
    final = _checked(order, cell, size, found.options, shorter=found.shorter > WELL_MATCHED)
    return Assembled(final, launch.plan(final, backend), found)


def _placeholders(backend: Backend, order: CertifyOrder, cell: DosedCell, size: int) -> tuple[Checked, Plan]:
    """The study with placeholders for what calibration finds."""
    options = certificate.placeholders(len(order.words), size, cell.strength)
    one = _checked(order, cell, size, options)
    return one, launch.plan(one, backend)


def _checked(
    order: CertifyOrder, cell: DosedCell, size: int, options: dict[str, Any], *, shorter: bool = False
) -> Checked:
    """The study, with random vectors of the concepts' norm as well where those of their impact are shorter."""
    more = {"preset": order.preset, "any_word": True, **order.settings}
    made = certificate.settings(order.model, cell, order.words, size, **more)
    if shorter:
        made["controls"] = ("random", *made["controls"])
    return launch.check(make_study(**made, options={**options, "centred": order.centred}))


def _cell(
    backend: Backend, cache: VectorCache, order: CertifyOrder, told: Callable[[str], None], kept: CertifyDraft
) -> DosedCell:
    if order.layer is not None and order.strength is not None:
        return DosedCell(backend.info.layer(order.layer), order.strength)
    told("looking for a dose that steers and leaves replies readable ...")
    depths = certificate.DEPTHS if order.layer is None else (order.layer,)
    layers = dict.fromkeys(backend.info.layer(depth) for depth in depths)
    extraction = presets.of_settings({"preset": order.preset, **order.settings}).extraction
    recipes = [recipe_for(extraction, word, backend.info) for word in order.words[:DOSED_WORDS]]
    vectors = extract(backend, recipes, cache)
    doses = certificate.DOSES if order.strength is None else (order.strength,)

    def step(layer: int, strength: float) -> dose.Step:
        def measured() -> dict[str, Any]:
            return asdict(dose.find(backend, vectors, [layer], ladder=[strength])[0])

        return dose.Step(**kept.once(f"dose {layer} {strength:g}", measured))

    # The layer nearest to where it is wanted, and there the strongest usable dose: no other is measured.
    for layer in sorted(layers, key=lambda layer: abs(layer / backend.info.layers - certificate.DEPTH)):
        found = list(dose.propose(list(_until_garbled(step, layer, doses))))
        if any(one.usable for one in found):
            return certificate.choose_cell(found, backend.info.layers)
    return certificate.choose_cell([], backend.info.layers)


def _until_garbled(step: Callable[[int, float], dose.Step], layer: int, doses: Sequence[float]) -> Iterator[dose.Step]:
    for strength in sorted(doses):
        one = step(layer, strength)
        yield one
        if one.coherent < dose.READABLE:
            return


def _within(hours: float, size: int, planned: Callable[[int], tuple[Checked, Plan]], backend: Backend) -> int:
    """As many trials per concept as fit into a time, by timing a few tokens."""
    one, plan = planned(size)
    seconds = estimate(one, plan, backend).seconds
    least = seconds.extraction
    for smaller in range(size, certificate.FEWEST_REPEATS - 1, -1):
        if least + (seconds.total - least) * smaller / size <= hours * 3600:
            return smaller
    needed = (least + (seconds.total - least) * certificate.FEWEST_REPEATS / size) / 3600
    wanted = math.ceil(needed * 100) / 100
    raise UsageError(f"the smallest ladder takes about {needed:.2g} hours here: give --hours {wanted:g} or more")


def _remarks(found: LadderCalibration) -> list[str]:
    """What a person should know before it starts."""
    said = [
        f"the trial question's logit is {found.trial_logit:+.1f}; unrelated questions reach from {found.lowest:+.1f} "
        f"to {found.highest:+.1f}",
        f"impact {found.impact:.3g} nats; matched vectors miss it by a factor of {found.missed_by:.2f}",
    ]
    if not found.spans:
        said.append("no unrelated question stands beyond the trial question: compression may stay untested")
    if found.shorter > WELL_MATCHED:
        said.append(
            f"random vectors of that impact are {found.shorter:.2g} times shorter than the concepts': others of their "
            "norm are tried as well"
        )
    if found.mean_cosine >= COLLINEAR:
        said.append(f"the vectors are one direction (mean cosine {found.mean_cosine:.2f}): use --centred")
    return said
