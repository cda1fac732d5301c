"""What a study would take, as lines of text, from the record that ``run --dry-run --json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlxintro.analysis.power import POWER


def estimate_lines(record: Mapping[str, Any]) -> list[str]:
    """Batches, memory, time and power in words.

    Args:
        record: ``Estimate.as_dict()``, in bytes and seconds.
    """
    rows = f"{record['rows']} row{'s' * (record['rows'] != 1)}"
    longest = record["workload"]["prompt_tokens"]
    lines = [f"batches:   {record['batches']} of up to {rows}, prompts of up to {longest} tokens"]
    if (memory := record["memory"]) is not None:
        lines.append(
            f"memory:    about {_size(memory['work'])} beside {_size(memory['weights'])} of weights; "
            f"{_size(record['free'])} are free"
        )
    seconds = record["seconds"]
    shorter = "if every reply has full length" if record["replies"] else "for all readouts"
    extraction = f"{_time(seconds['extraction'])} of it for concept vectors"
    lines.append(f"time:      about {_time(seconds['total'])} {shorter}, {extraction}")
    if record["power"] is not None:
        lines.append(f"power:     {_power(record['power'])}")
    return lines


def _power(power: Mapping[str, Any]) -> str:
    if not power["trials"]:
        return "no cell has injected trials, so nothing can be detected"
    said = f"n={power['trials']} per cell: 95 % interval up to +-{100 * power['margin']:.0f} points; "
    more = f"{100 * power['difference']:.0f} points more than {power['false_alarms']:.0%} false alarms are found with"
    if power["power"] is None:
        return f"{said}without controls a difference cannot be found"
    return (
        f"{said}{more} {power['power']:.0%} probability against {power['controls']} controls, "
        f"with {POWER:.0%} at n={power['needed']}"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
