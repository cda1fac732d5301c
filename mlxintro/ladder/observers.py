"""The rung about a reader: does whoever only reads the transcript do as well as the subject itself?"""

from __future__ import annotations

from mlxintro.ladder.case import MARK, Case
from mlxintro.ladder.rungs import Finding
from mlxintro.ladder.witnesses import READABLE


def a_reader(case: Case) -> Finding:
    """The subject's own answer beats that of the same model reading the transcript, and injected states raise it."""
    seen = case.observed
    if seen is None:
        return Finding("not tested", "no reader was asked about the transcripts")
    said = f"AUROC of its own answer {seen.own:.2f}, a reader's {seen.reader:.2f}"
    if seen.probe is not None:
        said += f", a probe's {seen.probe:.2f}"
    if seen.probe is None or seen.probe < READABLE:
        line = f"{said}: not even a probe finds the injection in the state, so nobody could"
        return Finding("not tested", line, needs=None)
    p = {"reader": max(seen.beyond, seen.gaps["self", "reader"]), "state": seen.gaps["state", "clean"]}
    worst = max(p.values())
    more = f"self above reader p = {p['reader']:.2g}, its state on a clean text p = {p['state']:.2g}"
    if seen.recovery is not None:
        value, low, high = seen.recovery
        more += f"; it reports {value:.0%} of what a probe finds ({low:.0%} to {high:.0%})"
    if worst < case.alpha:
        return Finding("excluded", said, p=worst, more=more)
    # A reader that tells transcripts apart, and whom the subject does not beat, is the rival seen at work.
    reads = p["reader"] >= case.alpha and seen.gaps["reader", "clean"] < MARK
    return Finding("not excluded", said, reads, worst, more)
