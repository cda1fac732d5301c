"""Rungs about readers: of the subject's own thought, and of the transcript.

A thought is text. Once it is written, whoever reads it can answer as it says, and has noticed nothing. So the thought
of a twin that was not injected is put in the place of the injected one's, with the vector on: the answer must still
move towards yes. The other way round, the injected twin's thought with the vector off shows what a reader makes of it.
After the state/text swap of Shah 2026; how it is measured: ``mlxintro.thinking.measuring``.

A reader of the transcript is the same model without the injection: see ``mlxintro.ladder.witnesses``.
"""

from __future__ import annotations

import math

from mlxintro.ladder.case import MARK, Case
from mlxintro.ladder.rungs import Finding
from mlxintro.ladder.shifts import FEWEST_CONCEPTS, above, beyond
from mlxintro.ladder.witnesses import READABLE


def own_notes(case: Case) -> Finding:
    """Hold what the vector does behind another's thought against what both do, and against clear questions.

    It must bring more than half of the shift, and more than it brings to any answer: a state that moves all is a bias.
    """
    swaps = case.swapped
    if not swaps.by_concept:
        return Finding("not tested", "no thought was exchanged for another trial's")
    own, notes, state = (math.fsum(one) / len(one) for one in (swaps.own, swaps.notes, swaps.state))
    said = f"yes {state:+.2f} with the vector and another's thought, {notes:+.2f} with its own thought and no vector"
    if len(swaps.by_concept) < FEWEST_CONCEPTS:
        return Finding("not tested", f"{said}: at least {FEWEST_CONCEPTS} concepts are needed")
    half = [state - both / 2 for state, both in zip(swaps.state, swaps.own, strict=True)]
    against = {
        "none": above(swaps.state, variance=case.question_variance),
        "half of both": above(half),
        **{kind: beyond(swaps.state, case.shifts_of(kind)) for kind in ("clear-no", "clear-yes")},
    }
    known = {what: one for what, one in against.items() if one is not None}
    p = max(known.values())
    more = f"both {own:+.2f}; the state alone above " + ", ".join(
        f"{what} p = {one:.2g}" for what, one in known.items()
    )
    if p < case.alpha:
        return Finding("excluded", said, p=p, more=more)
    follows, moves = above(swaps.notes, variance=case.question_variance), above(swaps.own)
    if moves is None or moves >= case.alpha:
        return Finding("not tested", f"{said}: not even both together move it", p=p, more=more, needs=case.more_trials)
    return Finding("not excluded", said, follows is not None and follows < MARK, p, more)


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
