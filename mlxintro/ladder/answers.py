"""Rungs about yes and no: a bias of every answer, and a compression of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.analysis.stats import rate
from mlxintro.ladder.case import HABIT, MARK, Case, is_mark
from mlxintro.ladder.rungs import Finding
from mlxintro.ladder.shifts import FEWEST_QUESTIONS, Residual, TrialShift, above, beyond, residual, trial_shift
from mlxintro.protocol import controls

FEWEST_OF_A_KIND = 3
GOOD_PART = 0.25
"""A rise of clear questions is a yes-bias's mark from this share of the trial question's own rise on. Every subject
that is trained to answer one question moves the others a little; that does not explain what it says to this one."""


def yes_bias(case: Case) -> Finding:
    """The trial question moves further than clear-no and than clear-yes questions, and less so when turned around."""
    trial = case.trial_question
    moved = {kind: case.shifts_of(kind) for kind in ("clear-no", "clear-yes")}
    habit = says_yes_anyway(case)
    if trial is None or min(map(len, moved.values())) < FEWEST_OF_A_KIND:
        if habit:
            return Finding("not excluded", "claims come whether or not there is a thought", shown=True)
        return Finding("not tested", "the trial question and clear questions were not scored")
    against = {kind: beyond(trial.values, shifts) for kind, shifts in moved.items()}
    p = max(1.0 if one is None else one for one in against.values())
    said = f"yes rises by {trial.mean:+.2f} for the trial question, " + ", ".join(
        f"{statistics.fmean(shifts):+.2f} {kind}" for kind, shifts in moved.items()
    )
    more = "; ".join(f"against {kind} p = {one:.2g}" for kind, one in against.items() if one is not None)
    turned = _turned(case)
    if turned.p is not None:
        more += f"; with yes and no exchanged {turned.half:+.2f}, p = {turned.p:.2g}"
        p = max(p, turned.p)
    elif turned.asked and p < case.alpha and not habit:
        said += "; asked in other words it does not rise, so exchanging yes and no tells nothing"
        return Finding("not tested", said, p=p, more=more, needs=case.more_trials)
    marks = habit or all(_rises(trial.mean, shifts) for shifts in moved.values())
    return Finding("excluded" if p < case.alpha and not habit else "not excluded", said, marks, p, more)


def _rises(own: float, shifts: Sequence[float]) -> bool:
    """Tell whether answers of one kind rise, and by a good part of what the trial question does."""
    return is_mark(above(shifts)) and statistics.fmean(shifts) >= GOOD_PART * own


def says_yes_anyway(case: Case) -> bool:
    """Claims come without an injection: by false alarms alone, or by all replies together once they do not differ."""
    alarms = case.false_alarms
    if case.above_alarms(case.detection) < case.alpha:
        return False
    pools = [alarms, case.detection, *(one for one in (case.claims("random"),) if one.trials)]
    everywhere = rate(sum(one.successes for one in pools), sum(one.trials for one in pools))
    return alarms.low > HABIT or ((alarms.value or 0.0) > HABIT and everywhere.low > HABIT)


@dataclass(frozen=True, slots=True)
class Turned:
    """Says what the trial question comes to in other words, with yes and no exchanged."""

    asked: bool
    """Whether the question and its opposite were asked."""
    half: float = 0.0
    """Half the difference between their shifts, in nats."""
    p: float | None = None
    """One-sided p value that it is not above zero; ``None`` where the injection does not move the question asked this
    way, so that its opposite cannot tell."""


def _turned(case: Case) -> Turned:
    """Compare the question with its opposite."""
    present = trial_shift(case.run.arms.get(controls.PRESENT, ()))
    absent = trial_shift(case.run.arms.get(controls.ABSENT, ()))
    if present is None or absent is None:
        return Turned(asked=False)
    moved = above(present.values)
    if moved is None or moved >= case.alpha:
        return Turned(asked=True)
    both = sorted(set(present.by_concept) & set(absent.by_concept))
    halves = [(present.by_concept[word] - absent.by_concept[word]) / 2 for word in both]
    # Two questions, each with a shift of its own; half their difference has half the variance of one.
    p = above(halves, variance=case.question_variance / 2)
    return Turned(True, statistics.fmean(halves) if halves else 0.0, p)


def compression(case: Case) -> Finding:
    """The trial question moves further than the line through unrelated questions predicts at its own logit."""
    trial, questions = case.trial_question, case.questions
    found = None if trial is None else residual(trial, questions)
    if found is None or trial is None:
        what = f"fewer than {FEWEST_QUESTIONS} unrelated questions at different logits were scored"
        return Finding("not tested", what)
    said = f"{trial.mean:+.2f} against {found.predicted:+.2f} that others predict at its logit {trial.base:+.1f}"
    more = f"{len(questions)} unrelated questions, slope {found.slope:+.2f}, p = {found.p:.2g}"
    p = found.p
    if _entropies(case):
        with_entropy = residual(trial, questions, entropy=True)
        if with_entropy is not None:
            p = max(p, with_entropy.p)
            more += f"; entropy {trial.entropy:+.2f} nats, with it p = {with_entropy.p:.2g}"
    shown = found.p >= case.alpha and _pulls_together(case, found)
    if p >= case.alpha:
        return Finding("not excluded", said, shown, p, more)
    if not found.spans:
        most, further = _beyond_the_most(case, trial, found)
        if further < case.alpha:
            line = f"{trial.mean:+.2f}; if all answers were pulled to one point it would be {most:+.2f}"
            return Finding("excluded", line, p=max(p, further), more=more)
        reach = f"{said}; but they only reach from {found.low:+.1f} to {found.high:+.1f}"
        return Finding("not tested", reach, p=p, more=more, needs=None)
    return Finding("excluded", said, p=p, more=more)


def _beyond_the_most(case: Case, trial: TrialShift, found: Residual) -> tuple[float, float]:
    """How far the strongest compression that the questions allow would move the trial question, and whether it moves
    further (one-sided p value); for questions that do not reach its logit."""
    count = len(case.questions)
    middle = statistics.fmean(one.base for one in case.questions)
    most = statistics.fmean(one.shift for one in case.questions) + found.steepest * (trial.base - middle)
    p = above(trial.values, most, variance=case.question_variance * (1 + 1 / count))
    return most, 1.0 if p is None else p


def _pulls_together(case: Case, found: Residual) -> bool:
    """Answers that are no rise and answers that are yes fall, along a line.

    A small model's answers are not those that a question is clear to us for, so its own logits tell them apart.
    """
    rises = [one.shift for one in case.questions if one.base < 0]
    falls = [-one.shift for one in case.questions if one.base > 0]
    sides = (above(rises), above(falls))
    return found.slope_p < MARK and found.slope < 0 and all(p is not None and p < MARK for p in sides)


def _entropies(case: Case) -> bool:
    """Whether entropies were measured everywhere, and differ enough between questions to regress on."""
    known = [one.entropy for one in case.questions]
    trial = case.trial_question
    if trial is None or trial.entropy is None or any(one is None for one in known):
        return False
    return statistics.pstdev([one for one in known if one is not None]) > 1e-3
