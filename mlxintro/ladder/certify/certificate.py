"""The study that climbs the whole ladder: which arms, at which dose and size, within which budget."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlxintro.analysis.stats import rate
from mlxintro.backends.errors import UsageError
from mlxintro.ladder.case import ALPHA
from mlxintro.ladder.claims import POWER, detectable
from mlxintro.ladder.rungs import RIVALS, rungs_of
from mlxintro.protocol import controls
from mlxintro.tools.dose import Proposal

WORDS = (
    "dust",
    "trumpets",
    "lightning",
    "trees",
    "mirrors",
    "oceans",
    "sugar",
    "poetry",
    "volcanoes",
    "blood",
    "bread",
    "silver",
)
"""Concepts of the default size: they are the units of most tests, so there are twelve."""
REPEATS = 5
"""Trials per concept of the default size."""
FEWEST_REPEATS = 2
MOST_REPEATS = 50
"""More tell nothing that more concepts would not tell better."""
DEPTH = 2 / 3
"""Where published detection peaks; the nearest layer that can be steered is taken."""
DEPTHS = (0.4, 0.5, 0.6, 0.66, 0.75)
DOSES = (0.25, 0.5, 1.0, 2.0)
"""Fractions of the residual norm that are tried."""
ARMS = (
    controls.MATCHED,
    controls.MATCHED_OTHER,
    controls.TAMPERED,
    controls.PROMPT_ONLY,
    controls.ABLATED_LAST,
    controls.ABLATED,
    controls.QUESTION,
    *controls.UNRELATED,
    controls.SPANNING,
    *controls.SHIFTED,
    controls.WITNESS,
    controls.BANK,
)
"""What the ladder needs. Vectors that only have the concept's norm are left out: those of its impact tell more."""


@dataclass(frozen=True, slots=True)
class DosedCell:
    layer: int
    strength: float
    """Fraction of the residual norm."""


def choose_cell(proposals: Sequence[Proposal], layers: int) -> DosedCell:
    """Return the layer nearest to two thirds of the depth that can be steered, at the strongest usable dose.

    Raises:
        UsageError: no layer can be steered and leaves replies readable.
    """
    usable = [one for one in proposals if one.usable]
    if not usable:
        raise UsageError(
            "no dose that was tried steers this model and leaves its replies readable: look at `mlxintro dose`, and "
            "give --layer and --strength"
        )
    best = min(usable, key=lambda one: abs(one.layer / layers - DEPTH))
    return DosedCell(best.layer, max(best.usable))


def settings(model: str, cell: DosedCell, words: Sequence[str], repeats: int, **given: Any) -> dict[str, Any]:
    """Return the settings of the study without what calibration finds; see ``placeholders``."""
    arms = (*ARMS, controls.SWAPPED) if given.get("thinking") == "on" else ARMS
    return {
        "model": model,
        "concepts": tuple(words),
        "layers": (cell.layer,),
        "strengths": (cell.strength,),
        "unit": "resid",
        "trials": repeats,
        "controls": arms,
        **given,
    }


def placeholders(words: int, repeats: int, strength: float) -> dict[str, Any]:
    """Return the options in the place of what calibration finds.

    Every question there is, and the concept's own strength.
    """
    pairs = words * repeats
    return {
        "spanning": list(controls.bank()),
        "matched": [strength] * pairs,
        "matched_other": [strength] * pairs,
        "impacts": [[1.0, 1.0, 1.0]] * pairs,
        "partners": {},
    }


def fit_repeats(wanted: int | None, budget: int | None, count: Callable[[int], int]) -> int:
    """Return the trials per concept, as many as a budget of trials allows.

    Args:
        wanted: without a budget; ``None`` for the default.
        budget: most trials of the whole study.
        count: trials of a study with so many per concept.

    Raises:
        UsageError: not even the smallest study fits.
    """
    if budget is None:
        return wanted or REPEATS
    repeats = range(FEWEST_REPEATS, MOST_REPEATS + 1)
    fitting = bisect_right(repeats, budget, key=count)
    if not fitting:
        least = count(FEWEST_REPEATS)
        raise UsageError(f"the smallest ladder takes {least} trials: give --trials {least}, or fewer --concepts")
    return repeats[fitting - 1]


def sought_replies(sought: Sequence[str], words: int = 3, questions: int = 3) -> int:
    """Return the short replies that a search for the dose takes at most.

    Args:
        sought: of ``layer`` and ``strength``, what is not given.
        words: concepts that are tried.
        questions: neutral questions they are tried on.
    """
    if not sought:
        return 0
    cells = (len(DEPTHS) if "layer" in sought else 1) * (len(DOSES) if "strength" in sought else 1)
    return cells * words * questions


def power_lines(pairs: int, false_alarms: float = 0.02, *, thinks: bool = False) -> list[str]:
    """Return what a ladder of this size could exclude, a line per rung.

    Args:
        pairs: concepts x trials.
        false_alarms: the rate that is reckoned with.
        thinks: whether the subject thinks before it answers.
    """
    alarms = rate(round(false_alarms * pairs), pairs)
    found = detectable(pairs, alarms, ALPHA)
    enough = "no detection rate" if found is None else f"a detection rate of {found:.0%}"
    over = f"{enough} or more, {POWER:.0%} of the time, at p < {ALPHA:g} and {false_alarms:.0%} false alarms"
    needs = {
        "chance": over,
        "any disturbance": f"{over}; random vectors that claim as often are not",
        "text alone": f"{over}; and a first person's yes above a third person's over concepts",
        "own notes": "where the answer moves although the thought before it is that of an uninjected trial",
        "naming by luck": f"the concept named in {enough.removeprefix('a detection rate of ')} of replies or more",
        "own words": "naming as frequent with the vector off",
        "a reader": f"only where a probe on the state reaches an AUROC of 0.60, over {pairs} transcripts",
        "a patchwork": "only where all rivals together explain clearly less than every claim",
    }
    return [f"{name}: {needs.get(name, RIVALS[name] + ', judged over concepts')}" for name in rungs_of(thinks=thinks)]
