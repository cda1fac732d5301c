"""How long a study takes on a machine that is known by its data sheet: a range, and said as such.

A decoding step reads every weight once and the keys and values of every row, or computes on every row, whichever takes
longer, and pays an overhead for each layer; prompts are computed. Source of the model: Williams, Waterman, Patterson
2009, "Roofline". What real programs reach of a data sheet lies between the two shares below; replies end somewhere
between half of what they may be and all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from mlxintro.backends.machine.footprint import Footprint, Shape, predict, rows_that_fit
from mlxintro.backends.machine.memory import needed
from mlxintro.running.preview.estimate import reading_count, workload_of
from mlxintro.tools.forecast.machines import RatedMachine
from mlxintro.tools.forecast.outline import StudyOutline

_READING = (0.85, 0.4)
"""Shares of the bandwidth that are reached, at best and at worst."""
_COMPUTING = (0.6, 0.15)
_OVERHEAD = (0.5, 3.0)
"""Factors of the overhead per layer and step."""
_LENGTH = (0.5, 1.0)
"""Shares of the longest reply that replies have."""
_SAMPLING = 4e-9
"""Seconds per row and token of the vocabulary in a step, on the machine's processor."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Says what one run takes on one machine."""

    fits: bool
    needed: int
    """Bytes of memory with the batch; without it where the model alone does not fit."""
    usable: int
    """Bytes that there are."""
    rows: int
    trials: int
    seconds: tuple[float, float] | None
    """Seconds, from the quickest to the slowest; ``None`` where it does not fit."""
    note: str = ""
    likely: float | None = None
    """Seconds in the middle of the range, where they were measured."""

    def dollars(self, price: tuple[float, float] | None) -> tuple[float, float] | None:
        """Return its price: the quickest at the lowest rate, the slowest at the highest."""
        if price is None or self.seconds is None:
            return None
        return price[0] * self.seconds[0] / 3600, price[1] * self.seconds[1] / 3600


def forecast(outline: StudyOutline, machine: RatedMachine) -> Forecast:
    """Say what a run takes on a machine that is not there."""
    study, files = outline.checked.study, outline.files
    how = {"dtype": study.dtype, "quantize": study.quantize, "backend": machine.backend}
    alone = needed(files.weight_bytes, files.config, **how)  # type: ignore[arg-type]
    shape = Shape.of(files.config, files.weight_bytes, kv_bits=study.kv_bits, **how)  # type: ignore[arg-type]
    if shape is None or alone > machine.usable:
        return Forecast(False, alone, machine.usable, 0, len(outline.planned), None)
    work = workload_of(outline.planned)
    lengths = {"prompt_tokens": work.prompt_tokens, "new_tokens": work.new_tokens, "shared_prefix": work.shared_prefix}
    rows = min(rows_that_fit(shape, machine.usable - shape.weights, **lengths), len(outline.planned))
    footprint = predict(shape, rows=rows, **lengths)
    quick, slow = (_seconds(outline, machine, shape, rows, worst) for worst in (0, 1))
    return Forecast(True, footprint.total, machine.usable, rows, len(outline.planned), (quick, slow), _note(footprint))


def _seconds(outline: StudyOutline, machine: RatedMachine, shape: Shape, rows: int, worst: int) -> float:
    """Seconds at best (0) or at worst (1)."""
    work = workload_of(outline.planned)
    replies = sum(spec.readout == "text" for spec in outline.planned)
    silent = len(outline.planned) - replies
    parameters = shape.weights / shape.item
    bandwidth, compute = machine.bandwidth * _READING[worst], machine.compute * _COMPUTING[worst]
    overhead = machine.overhead * outline.layers * _OVERHEAD[worst]
    own = max(1, work.prompt_tokens - work.shared_prefix)
    steps = max(1.0, work.new_tokens * _LENGTH[worst])

    def passed(tokens: float) -> float:
        """Return the seconds to read so many tokens in one pass."""
        return max(2 * parameters * tokens / compute, shape.weights / bandwidth) + overhead

    held = rows * (work.prompt_tokens + steps / 2) * shape.cached
    step = max((shape.weights + held) / bandwidth, 2 * parameters * rows / compute) + overhead
    step += rows * shape.vocabulary * _SAMPLING
    batch = passed(work.shared_prefix + rows * own) + steps * step
    readings = reading_count(outline.planned)
    # A word is read with its template, some forty tokens.
    return (
        ceil(replies / rows) * batch
        + ceil(silent / rows) * passed(rows * own)
        + ceil(readings / rows) * passed(rows * 40)
    )


def _note(footprint: Footprint) -> str:
    return f"{footprint.weights / 1e9:.1f} GB of weights"
