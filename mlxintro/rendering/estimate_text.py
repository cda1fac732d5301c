"""What a study would take, as lines of text, from the record that ``run --dry-run --json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlxintro.analysis.power import POWER
from mlxintro.rendering.quantities import duration, size


def estimate_lines(record: Mapping[str, Any]) -> list[str]:
    """Say batches, memory, time, power and what is wrong with the concepts in words.

    Args:
        record: ``StudyEstimate.as_dict()``, in bytes and seconds.
    """
    rows = f"{record['rows']} row{'s' * (record['rows'] != 1)}"
    longest = record["workload"]["prompt_tokens"]
    lines = [f"batches:   {record['batches']} of up to {rows}, prompts of up to {longest} tokens"]
    if (memory := record["memory"]) is not None:
        weights, beside = memory["weights"], memory["total"] - memory["weights"]
        lines.append(
            f"memory:    about {size(beside)} beside {size(weights)} of weights; {size(record['free'])} are free"
        )
    seconds = record["seconds"]
    shorter = "if every reply has full length" if record["replies"] else "for all readouts"
    extraction = f"{duration(seconds['extraction'])} of it for concept vectors"
    lines.append(f"time:      about {duration(seconds['total'])} {shorter}, {extraction}")
    if record["power"] is not None:
        lines.append(f"power:     {_power(record['power'])}")
    if record["warning"] is not None:
        lines.append(f"warning:   {record['warning']}")
    return lines


def _power(power: Mapping[str, Any]) -> str:
    if not power["trials"]:
        return "no cell has injected trials, so nothing can be detected"
    said = f"n = {power['trials']} per cell (95 % interval up to ±{100 * power['margin']:.0f} points). "
    if power["power"] is None:
        return f"{said}Without controls a difference cannot be found."
    above = power["false_alarms"] + power["difference"]
    return (
        f"{said}Power to see {above:.0%} over {power['false_alarms']:.0%} false alarms, with {power['controls']} "
        f"controls: {power['power']:.2f}; {POWER:.2f} takes n = {power['needed']}."
    )
