"""The verdict: what a ladder comes to, and the words it is told in.

A subject is given the name of a rival only where that rival's own mark was seen; a rival that could merely not be
excluded is said to be left.
"""

from __future__ import annotations

from mlxintro.analysis.results import Verdict, VerdictKind
from mlxintro.ladder.case import FEW, Case, in_words
from mlxintro.ladder.rungs import DETECTION, Ladder, RungName

RISES = 0.05
"""Level at which claims are said to point upwards, though no effect is shown."""
SHOWN: dict[str, VerdictKind] = {
    "yes-bias": "yes-bias",
    "steering leak": "steering only",
    "compression": "compression",
    "any disturbance": "any disturbance",
    "text alone": "text alone",
    "own notes": "text alone",
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
        case "text alone" if not ladder["text alone"].shown:
            return "The answer follows the text of the thought, whoever thought it: a reader could answer the same."
        case _:
            return HEADLINES[kind] + (missing if kind == "anomaly noticed but not named" else "")


def _evidence(case: Case, ladder: Ladder) -> list[str]:
    judged = f"judged on {case.where}, at p < {ladder.alpha:g}; names the concept {in_words(case.identification)}"
    return [judged, *ladder.lines]
