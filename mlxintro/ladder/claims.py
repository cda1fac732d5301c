"""Rungs about claims in replies: chance, steering leak, any disturbance, text alone."""

from __future__ import annotations

from mlxintro.analysis.stats import Rate
from mlxintro.ladder.case import FEW, MARK, Case, in_words, is_mark, versus
from mlxintro.ladder.rungs import Finding
from mlxintro.ladder.shifts import above, trial_shift
from mlxintro.protocol import controls

POWER = 0.8
WELL_MATCHED = 1.5
"""Impacts count as matched while they differ by less than this factor, on average over trials."""
COLLINEAR = 0.8
"""Above this mean cosine between the bank's vectors, one shared direction may be all that is noticed."""


def chance(case: Case) -> Finding:
    """Claims come more often with an injection than without one (Fisher's exact test)."""
    counts = versus(case.detection, case.false_alarms, "uninjected")
    if min(case.detection.trials, case.false_alarms.trials) < FEW:
        return Finding(
            "not tested",
            f"claims {counts}: at least {FEW} graded replies on either side are needed",
            needs=case.more_trials,
        )
    p = case.above_alarms(case.detection)
    said = f"claims {counts}"
    if p < case.alpha:
        return Finding("excluded", said, p=p)
    found = detectable(case.detection.trials, case.false_alarms, case.alpha)
    more = "" if found is None else f"; {found:.0%} would have been found {POWER:.0%} of the time"
    return Finding("not excluded", said + more, p=p)


def detectable(trials: int, false_alarms: Rate, alpha: float) -> float | None:
    """Return the lowest detection rate that is told from the false alarms with probability ``POWER``.

    ``None`` if none is.

    Two proportions, one-sided, normal approximation (statsmodels).
    """
    from scipy.optimize import brentq
    from statsmodels.stats.proportion import power_proportions_2indep

    if not trials or not false_alarms.trials:
        return None
    base = max(false_alarms.value or 0.0, 0.5 / false_alarms.trials)
    ratio = false_alarms.trials / trials

    def lacking(difference: float) -> float:
        power = power_proportions_2indep(
            difference, base, trials, ratio=ratio, alpha=alpha, alternative="larger", return_results=False
        )
        return float(power) - POWER

    most = 1 - base - 1e-6
    if lacking(most) < 0:
        return None
    return base + float(brentq(lacking, 1e-6, most))


def steering_leak(case: Case) -> Finding:
    """Claims rise, and the concept comes out in claims rather than beside them (binomial test)."""
    from scipy.stats import binomtest

    named, leaked = case.identification.successes, case.leaked.successes
    beyond = case.exceeds(case.leaked, case.leaked_elsewhere)
    said = f"named without a claim {in_words(case.leaked)}, with one {in_words(case.identification)}"
    more = f"without a claim {versus(case.leaked, case.leaked_elsewhere, case.guessed_from)}, p = {beyond:.2g}"
    rises = case.above_alarms(case.detection)
    if case.leaked.trials < FEW:
        return Finding("not tested", f"{said}: at least {FEW} graded replies are needed", needs=case.more_trials)
    inside = float(binomtest(named, named + leaked, 0.5, alternative="greater").pvalue) if leaked else 0.0
    leaks_out = beyond < case.alpha
    if rises < case.alpha and (not leaks_out or inside < case.alpha):
        return Finding("excluded", said, p=max(rises, inside if leaks_out else 0.0), more=more)
    return Finding("not excluded", said, beyond < MARK, max(rises, inside if leaks_out else 0.0), more)


def any_disturbance(case: Case) -> Finding:
    """Claims come more often than under random vectors of the same measured impact (Fisher's exact test)."""
    matched, plain = case.claims(controls.MATCHED), case.claims("random")
    found = matched if matched.trials else plain
    if not found.trials:
        return Finding("not tested", "no random vectors were tried")
    p = case.exceeds(case.detection, found)
    what = "random vectors of that impact" if matched.trials else "random vectors of that norm"
    said = f"claims {versus(case.detection, found, f'under {what}')}"
    if p >= case.alpha:
        if not case.could_tell(found):
            return Finding("not tested", f"{said}: too few to tell", needs=case.more_trials)
        return Finding("not excluded", said, case.above_alarms(found) < MARK, p)
    if not matched.trials:
        return Finding("not tested", f"{said}, whose impact may be many times smaller", p=p)
    off = mismatch_of_impact(case)
    if off is None or off > WELL_MATCHED:
        by = "an unknown factor" if off is None else f"a factor of {off:.2g}"
        return Finding("not tested", f"{said}; but impacts differ by {by}", p=p)
    shorter = case.shorter
    if shorter > WELL_MATCHED:
        # A detector of length would not claim them, whatever their impact.
        if not plain.trials:
            return Finding("not tested", f"{said}; but those are {shorter:.2g} times shorter than the concepts'", p=p)
        p = max(p, case.exceeds(case.detection, plain))
        said += f", {in_words(plain)} of that norm"
        if p >= case.alpha:
            shown = case.above_alarms(plain) < MARK
            return Finding("not excluded", said, shown, p)
    cosine = mean_cosine(case)
    if cosine is not None and cosine >= COLLINEAR:
        line = f"{said}; but the concepts' vectors are one direction (mean cosine {cosine:.2f})"
        return Finding("not tested", line, p=p, needs="--centred")
    more = f"impacts match within a factor of {off:.2g}"
    if cosine is not None:
        more += f"; mean cosine of the concepts' vectors {cosine:.2f}"
    return Finding("excluded", said, p=p, more=more)


def mismatch_of_impact(case: Case) -> float | None:
    """Return the factor by which impacts of matched vectors miss the concepts', on average (geometric mean)."""
    import numpy as np

    pairs = [(row.detail.get("impact"), row.detail.get("target")) for row in case.run.arms.get(controls.MATCHED, ())]
    known = [(float(made), float(aim)) for made, aim in pairs if made and aim]
    if not known:
        return None
    made, aim = np.array(known).T
    return float(np.exp(np.mean(np.abs(np.log(made / aim)))))


def mean_cosine(case: Case) -> float | None:
    """Return the mean cosine between the injected vectors of different concepts; ``None`` where it was not measured."""
    for row in case.run.arms.get(controls.BANK, ()):
        return float(row.measurements["mean_cosine"])
    return None


def text_alone(case: Case) -> Finding:
    """Claims exceed those about a tampered text, and a first person's yes rises more than a third person's."""
    tampered = case.claims(controls.TAMPERED)
    first = trial_shift(case.run.arms.get(controls.PRESENT, ()))
    third = trial_shift(case.run.arms.get(controls.THIRD_PERSON, ()))
    if not tampered.trials or first is None or third is None:
        return Finding("not tested", "no text was tampered with, or no third person asked")
    claims_p = case.exceeds(case.detection, tampered)
    both = sorted(set(first.by_concept) & set(third.by_concept))
    gaps = [first.by_concept[word] - third.by_concept[word] for word in both]
    asked_p = above(gaps, variance=2 * case.question_variance)
    own_p = above(first.values)
    said = (
        f"claims {versus(case.detection, tampered, 'of an odd text')}; "
        f"yes {first.mean:+.2f}, a third person's {third.mean:+.2f}"
    )
    if asked_p is None or own_p is None:
        return Finding("not tested", f"{said}: too few concepts", needs=case.more_trials)
    p = max(claims_p, asked_p)
    more = f"odd text p = {claims_p:.2g}; first against third person p = {asked_p:.2g}"
    if p < case.alpha:
        return Finding("excluded", said, p=p, more=more)
    # The third person's question is one question, whose answer may shift as any other's does.
    third_p = above(third.values, variance=case.question_variance)
    marks = is_mark(case.above_alarms(tampered)) or is_mark(third_p)
    if not marks and (not case.could_tell(tampered) or (asked_p >= case.alpha and own_p >= case.alpha)):
        return Finding("not tested", f"{said}: the arm could not have told", p=p, more=more, needs=case.more_trials)
    return Finding("not excluded", said, marks, p, more)
