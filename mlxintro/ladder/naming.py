"""Rungs about the word that is named: by luck, and with the vector off while it is said."""

from __future__ import annotations

from collections.abc import Sequence

from mlxintro.analysis.naming_test import NamingTest, naming
from mlxintro.analysis.reply_tally import detects, names, share
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Rate, rate
from mlxintro.ladder.case import FEW, MARK, Case, in_words, versus
from mlxintro.ladder.rungs import Finding
from mlxintro.ladder.shifts import above, trial_shift
from mlxintro.protocol import controls


def naming_by_luck(case: Case) -> Finding:
    """Claims name what was injected: more than elsewhere, than with concepts exchanged, and when asked about it."""
    claims = _claims(case.injected)
    specific = _tested(claims)
    beyond = case.exceeds(case.identification, case.guessed)
    said = f"named {versus(case.identification, case.guessed, case.guessed_from)}"
    more = f"against {case.guessed_from} p = {beyond:.2g}"
    if specific is None:
        return Finding("not tested", f"{said}; claims of at least two concepts are needed", needs=case.more_trials)
    said += f"; of claims {specific.right.value or 0:.0%}, with concepts exchanged {specific.by_luck:.0%}"
    more += f"; with concepts exchanged p = {specific.p:.2g}"
    p = max(beyond, specific.p)
    asked = _asked_about(case)
    if asked is not None:
        more += f"; asked about its own concept {asked[0]:+.2f} more than about another, p = {asked[1]:.2g}"
        p = max(p, asked[1])
    habit = len(claims) >= FEW and specific.p > 0.05
    return Finding("excluded" if p < case.alpha else "not excluded", said, habit, p, more)


def _asked_about(case: Case) -> tuple[float, float] | None:
    """Return how much more yes "a thought about X?" gets with X injected than with another concept, with its p value.

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
    # Beyond luck elsewhere, and following what was injected: a guess among few words is right now and then.
    p = {arm: max(case.exceeds(one, case.guessed), _follows(case.arm(arm))) for arm, one in off.items()}
    said = (
        f"named {case.identification.value or 0:.0%}; with the vector off in the reply "
        f"{in_words(off[controls.PROMPT_ONLY])}, removed at the last layer {in_words(off[controls.ABLATED_LAST])}"
    )
    every = share(case.arm(controls.ABLATED), names)
    more = "; ".join(f"{arm} p = {one:.2g}" for arm, one in p.items())
    if every.trials:
        more += f"; removed after every later layer {in_words(every)}"
    worst = max(p.values())
    if worst < case.alpha:
        return Finding("excluded", said, p=worst, more=more)
    if not all(_could_tell(case, one) for one in off.values()):
        return Finding("not tested", f"{said}: too few to tell", p=worst, more=more, needs=case.more_trials)
    lost = [case.exceeds(case.identification, one) for arm, one in off.items() if p[arm] >= case.alpha]
    return Finding("not excluded", said, max(lost) < MARK, worst, more)


def _claims(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if detects(row) and row.concept]


def _tested(claims: Sequence[Row]) -> NamingTest | None:
    return naming([(row.concept or "", row.response) for row in claims], claims[0].library if claims else None)


def _follows(rows: Sequence[Row]) -> float:
    """P value that the claims of an arm name what was injected no more often than with concepts exchanged."""
    found = _tested(_claims(rows))
    return 1.0 if found is None else found.p


def _could_tell(case: Case, arm: Rate) -> bool:
    """Tell whether an arm of this size would have shown the naming, had it survived in full."""
    if arm.trials < FEW:
        return False
    kept = rate(round((case.identification.value or 0.0) * arm.trials), arm.trials)
    return case.exceeds(kept, case.guessed) < case.alpha
