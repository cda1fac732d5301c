"""How long a study takes on this machine, without its model: a stand-in is timed in its place.

The stand-in has the model's width, vocabulary, heads and tokenizer, random weights and few layers. It is timed at the
study's batch size by what ``run --dry-run`` times the model itself with; two stand-ins of different depth say what a
layer costs, and the rest is a straight line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mlxintro.backends.errors import ModelError
from mlxintro.backends.machine import memory
from mlxintro.backends.machine.footprint import Shape, predict, rows_that_fit
from mlxintro.backends.pytorch.yardsticks.stand_in import write_stand_in
from mlxintro.backends.registry import open_backend, place_of
from mlxintro.experiments.base import Plan
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running.preview.estimate import Clock, Duration, estimate, workload_of
from mlxintro.tools.forecast.outline import StudyOutline
from mlxintro.tools.forecast.rated import Forecast

_DEPTHS = (2, 5)
"""Layers of the two stand-ins."""
_WITHIN = 2.0
"""Factor within which the measured time has lain."""


def forecast_here(outline: StudyOutline, *, clock: Clock = time.perf_counter) -> Forecast:
    """Say what a run takes on this machine, with PyTorch.

    Args:
        clock: seconds; another one than the wall's where the machine is busy.

    Raises:
        ModelError: the model's configuration and tokenizer are not on disk, or nothing can stand in for it.
    """
    study, files = outline.checked.study, outline.files
    place = place_of("torch", study.device)
    dtype = study.dtype or ("float32" if place == "cpu" else None)
    room = memory.room(place)
    alone = memory.needed(files.weight_bytes, files.config, dtype=dtype, quantize=study.quantize, backend="torch")
    trials = len(outline.planned)
    shape = Shape.of(files.config, files.weight_bytes, dtype=dtype, quantize=study.quantize, backend="torch")
    if shape is None or alone > room.total:
        return Forecast(False, alone, room.total, 0, trials, None)
    work = workload_of(outline.planned)
    lengths = {"prompt_tokens": work.prompt_tokens, "new_tokens": work.new_tokens, "shared_prefix": work.shared_prefix}
    rows = rows_that_fit(shape, room.free - shape.weights, **lengths)
    seconds = _extrapolated(outline, rows, dtype, clock)
    total = predict(shape, rows=min(rows, trials), **lengths).total
    note = "measured with a stand-in, on this machine as busy as it is now"
    return Forecast(True, total, room.total, rows, trials, (seconds / _WITHIN, seconds * _WITHIN), note, seconds)


def _extrapolated(outline: StudyOutline, rows: int, dtype: str | None, clock: Clock) -> float:
    depths = [depth for depth in _DEPTHS if depth < outline.layers] or [outline.layers]
    if len(depths) < len(_DEPTHS) and outline.layers not in depths:
        depths.append(outline.layers)
    found = [_timed(outline, depth, rows, dtype, clock).total for depth in depths]
    if len(found) == 1:
        return found[0]
    each = max(0.0, (found[1] - found[0]) / (depths[1] - depths[0]))
    return found[1] + each * (outline.layers - depths[1])


def _timed(outline: StudyOutline, layers: int, rows: int, dtype: str | None, clock: Clock) -> Duration:
    source = outline.files.folder
    if source is None:
        raise ModelError(
            f"{outline.checked.study.model} has to be on disk to be timed here (its tokenizer is used): "
            f"run `mlxintro models fetch {outline.checked.study.model}` first, or plan it --on other machines"
        )
    with TemporaryDirectory(prefix="mlxintro-plan-") as home:
        folder = Path(home) / "stand-in"
        write_stand_in(outline.files.config, layers, source, folder)
        device = outline.checked.study.device
        with open_backend(str(folder), "torch", device=device, dtype=dtype, batch_size=rows) as backend:
            return estimate(outline.checked, _shortened(outline.planned, layers), backend, clock=clock).seconds


def _shortened(planned: Plan, layers: int) -> Plan:
    """The plan with every injection at a layer that the stand-in has."""

    def expand() -> Iterator[TrialSpec]:
        for spec in planned:
            yield replace(
                spec,
                injections=tuple(replace(one, layer=min(one.layer, layers - 1)) for one in spec.injections),
            )

    return Plan(planned.count, planned.prompts, planned.recipes, expand)
