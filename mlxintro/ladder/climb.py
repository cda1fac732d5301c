"""From a run's rows to the ladder, and from the ladder to the verdict.

Every rung has its test in a module of its own; here they are put in order, and read. A subject is given the name of a
rival only where that rival's own mark was seen; a rival that could merely not be excluded is said to be left.
"""

from __future__ import annotations

from collections.abc import Callable

from mlxintro.analysis.results import Table, Verdict, VerdictKind
from mlxintro.ladder.answers import compression, yes_bias
from mlxintro.ladder.case import ALPHA, FEW, Case, in_words
from mlxintro.ladder.claims import any_disturbance, chance, steering_leak, text_alone
from mlxintro.ladder.mixture import a_mixture, a_patchwork
from mlxintro.ladder.naming import naming_by_luck, own_words
from mlxintro.ladder.observers import a_reader
from mlxintro.ladder.rungs import DETECTION, RIVALS, Finding, Ladder, Rung, RungName

TESTS: dict[RungName, Callable[[Case], Finding]] = {
    "chance": chance,
    "steering leak": steering_leak,
    "yes-bias": yes_bias,
    "compression": compression,
    "any disturbance": any_disturbance,
    "text alone": text_alone,
    "a mixture": a_mixture,
    "naming by luck": naming_by_luck,
    "own words": own_words,
    "a reader": a_reader,
    "a patchwork": a_patchwork,
}
"""The test of every rung, from the bottom up."""

RISES = 0.05
"""Level at which claims are said to point upwards, though no effect is shown."""
SHOWN: dict[str, VerdictKind] = {
    "yes-bias": "yes-bias",
    "steering leak": "steering only",
    "compression": "compression",
    "any disturbance": "any disturbance",
    "text alone": "text alone",
    "a mixture": "rivals not excluded",
    "own words": "own words",
    "a reader": "a reader does as well",
    "a patchwork": "rivals not excluded",
}
"""What a subject is called in which a rival's mark was seen."""

HEADLINES: dict[VerdictKind, str] = {
    "yes-bias": "Answers move towards yes whatever is asked, or claims come without an injection: no noticing.",
    "steering only": "The concept colours the replies, but the subject does not claim to notice anything.",
    "compression": "The injection pulls all answers towards the middle, and that is all its yes amounts to.",
    "any disturbance": "The subject claims a thought under any disturbance of that impact.",
    "text alone": "The subject claims a thought where the text looks odd, which any reader could.",
    "own words": "The concept is named only while the vector writes the words: the subject reads itself.",
    "a reader does as well": "Whoever reads the transcript tells injections as well as the subject itself.",
    "anomaly noticed but not named": "The subject notices that something is injected; naming it is not shown.",
    "introspective identification": "The subject claims a thought when there is one, names it, and no rival is left.",
}


def climb(case: Case, advice: str = "mlxintro certify") -> Ladder:
    """Test every rung.

    Args:
        case: what is judged.
        advice: the command that runs the arms of untested rungs.
    """
    rungs = []
    for name, test in TESTS.items():
        found = test(case)
        untested = found.state == "not tested" and found.needs is not None
        remedy = f"{advice} {found.needs}".strip() if untested else ""
        rungs.append(Rung(name, RIVALS[name], found.state, found.said, found.shown, found.p, found.more, remedy))
    return Ladder(tuple(rungs), case.where, case.alpha)


def table_of(ladder: Ladder) -> Table:
    """Return the ladder as a table for a report: what each rung asks, where it stands, and every figure."""
    rows = [
        (rung.name, rung.rival, rung.state, "; ".join(filter(None, (rung.said, rung.more))), rung.p) for rung in ladder
    ]
    columns = ("rung", "rival explanation", "state", "what was seen", "p")
    note = f"judged on {ladder.where}, each test at p < {ladder.alpha:g}"
    return Table("ladder", "The ladder of rival explanations", columns, tuple(rows), note)


def kind_of(ladder: Ladder) -> VerdictKind:
    """Return what the ladder comes to in a word or two."""
    bottom = ladder["chance"]
    if bottom.state == "not tested":
        return "too little data"
    if bottom.state == "not excluded":
        # Few claims may hide that answers are seen to be pulled together; without any there is nothing to explain.
        pulled: tuple[RungName, ...] = ("compression",) if (bottom.p or 0.0) < RISES else ()
        marks: tuple[RungName, ...] = ("yes-bias", *pulled, "steering leak")
        return next((SHOWN[name] for name in marks if ladder[name].shown), "no effect shown")
    left = [rung for rung in ladder if rung.state == "not excluded"]
    lower = [rung for rung in left if rung.name in DETECTION]
    if lower:
        return next((SHOWN[rung.name] for rung in lower if rung.shown), "rivals not excluded")
    if any(rung.name == "naming by luck" for rung in left):
        return "anomaly noticed but not named"
    if left:
        return next((SHOWN[rung.name] for rung in left if rung.shown), "rivals not excluded")
    if not ladder.untested:
        return "introspective identification"
    named = ladder["naming by luck"].state == "excluded"
    return "claims and names it" if named else "claims a thought"


def verdict(case: Case, ladder: Ladder) -> Verdict:
    """Return the card: a finding, a headline, and one line of evidence for every rung."""
    kind = kind_of(ladder)
    return Verdict(kind, _headline(kind, case, ladder), tuple(_evidence(case, ladder)))


def judge(case: Case, best: Case | None, advice: str) -> tuple[Case, Ladder]:
    """Return the ladder of the whole run or of its best cell, whichever is climbed higher.

    Two looks halve the level of each.

    Args:
        case: all trials of the grid.
        best: the best cell, on concepts that did not take part in choosing it.
        advice: see ``climb``.
    """
    if best is None or best.detection.trials < FEW:
        return case, climb(case, advice)
    found = []
    for one in (case, best):
        halved = Case(one.run, one.injected, one.where, ALPHA / 2)
        found.append((halved, climb(halved, advice)))
    return max(found, key=lambda one: _height(one[1]))


def _height(ladder: Ladder) -> tuple[int, int]:
    left = ladder.lowest_left
    names: list[str] = list(TESTS)
    low = len(names) if left is None else names.index(left.name)
    return low, sum(rung.state == "excluded" for rung in ladder)


def _headline(kind: VerdictKind, case: Case, ladder: Ladder) -> str:
    untested = ", ".join(rung.name for rung in ladder.untested)
    missing = f" Not tested: {untested}." if untested else ""
    match kind:
        case "too little data":
            return (
                f"Nothing can be concluded from {case.detection.trials} graded replies with an injection and "
                f"{case.false_alarms.trials} without: {FEW} on either side are the least."
            )
        case "no effect shown":
            return "It is not shown that the subject claims a thought more often with an injection than without one."
        case "rivals not excluded":
            left = ", ".join(rung.name for rung in ladder if rung.state == "not excluded")
            return f"Claims rise with the injection; not excluded: {left}.{missing}"
        case "claims and names it":
            return f"The subject claims a thought when there is one, and names it.{missing}"
        case "claims a thought":
            return f"The subject claims a thought more often when there is one.{missing}"
        case _:
            return HEADLINES[kind] + (missing if kind == "anomaly noticed but not named" else "")


def _evidence(case: Case, ladder: Ladder) -> list[str]:
    judged = f"judged on {case.where}, at p < {ladder.alpha:g}; names the concept {in_words(case.identification)}"
    return [judged, *ladder.lines]
