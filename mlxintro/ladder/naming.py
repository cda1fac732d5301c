"""Rungs about the word that is named: by luck, and with the vector off while it is said."""

from __future__ import annotations

from mlxintro.analysis.naming_test import naming
from mlxintro.analysis.stats import Rate, rate
from mlxintro.ladder.case import FEW, MARK, Case, in_words, versus
from mlxintro.ladder.rows import detects, names, share
from mlxintro.ladder.rungs import Finding
from mlxintro.ladder.shifts import above, trial_shift
from mlxintro.protocol import controls


def naming_by_luck(case: Case) -> Finding:
    """Claims name what was injected: more than elsewhere, than with concepts exchanged, and when asked about it."""
    claims = [(row.concept, row.response) for row in case.injected if detects(row) and row.concept]
    specific = naming(claims)
    beyond = case.exceeds(case.identification, case.guessed)
    said = f"named {versus(case.identification, case.guessed, case.guessed_from)}, p = {beyond:.2g}"
    if specific is None:
        return Finding("not tested", f"{said}; claims of at least two concepts are needed")
    said += (
        f"; of claims {in_words(specific.right)}, {specific.by_luck:.0%} with concepts exchanged, p = {specific.p:.2g}"
    )
    p = max(beyond, specific.p)
    asked = _asked_about(case)
    if asked is not None:
        said += f"; asked about its own concept {asked[0]:+.2f} more than about another, p = {asked[1]:.2g}"
        p = max(p, asked[1])
    habit = len(claims) >= FEW and specific.p > 0.05
    return Finding("excluded" if p < case.alpha else "not excluded", said, habit, p)


def _asked_about(case: Case) -> tuple[float, float] | None:
    """How much more yes "a thought about X?" gets with X injected than with another concept, with its p value.

    ``None`` where it was not asked, or where even the concept's own vector does not raise the answer.
    """
    own = trial_shift(case.run.arms.get(controls.ASKED_OWN, ()))
    other = trial_shift(case.run.arms.get(controls.ASKED_OTHER, ()))
    if own is None or other is None:
        return None
    moved = above(own.values)
    both = sorted(set(own.by_concept) & set(other.by_concept))
    gaps = [own.by_concept[word] - other.by_concept[word] for word in both]
    p = above(gaps)
    if p is None or moved is None or moved >= case.alpha:
        return None
    return sum(gaps) / len(gaps), p


def own_words(case: Case) -> Finding:
    """Naming survives without the vector in the words: window up to the reply, and removed at the last layer."""
    off = {arm: share(case.arm(arm), names) for arm in (controls.PROMPT_ONLY, controls.ABLATED_LAST)}
    if any(not one.trials for one in off.values()):
        return Finding("not tested", "the concept was never asked for with the vector off")
    p = {arm: case.exceeds(one, case.guessed) for arm, one in off.items()}
    said = (
        f"named {in_words(case.identification)} with the vector on, {in_words(off[controls.PROMPT_ONLY])} with it off "
        f"in the reply, {in_words(off[controls.ABLATED_LAST])} with it removed at the last layer"
    )
    every = share(case.arm(controls.ABLATED), names)
    if every.trials:
        said += f", {in_words(every)} after every later layer"
    worst = max(p.values())
    said += f"; p = {worst:.2g}"
    if worst < case.alpha:
        return Finding("excluded", said, p=worst)
    if not all(_could_tell(case, one) for one in off.values()):
        return Finding("not tested", f"{said}: too few to tell", p=worst)
    lost = [case.exceeds(case.identification, one) for arm, one in off.items() if p[arm] >= case.alpha]
    return Finding("not excluded", said, max(lost) < MARK, worst)


def _could_tell(case: Case, arm: Rate) -> bool:
    """Whether an arm of this size would have shown the naming, had it survived in full."""
    if arm.trials < FEW:
        return False
    kept = rate(round((case.identification.value or 0.0) * arm.trials), arm.trials)
    return case.exceeds(kept, case.guessed) < case.alpha
