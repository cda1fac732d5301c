"""What a study will take before it is run: trials, rows, memory, time; and what its numbers can show.

Time is measured, not assumed: the first trials of the plan run for a few tokens at the batch size of the study, with
placeholders for the concept vectors, which cost as much to add as the real ones. Nothing is stored.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, pairwise
from statistics import median
from typing import Any

import numpy as np

from mlxintro.analysis.power import Power, power_of
from mlxintro.backends.base import Backend, Injection, Prompt, TokenEvent
from mlxintro.backends.machine.footprint import MOST_ROWS, Footprint, predict, rows_that_fit
from mlxintro.backends.prefix import shared_prefix
from mlxintro.experiments.base import Plan
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running.launch import Checked
from mlxintro.running.preview.preflight import concept_warning
from mlxintro.running.session import Session
from mlxintro.vectors.recipe import VectorRecipe
from mlxintro.vectors.vector import ConceptVector

TOKENS = 6
"""New tokens per row while time is measured."""
_WORDS = 8
"""Words read while the time of an extraction is measured."""
_SAMPLE = 16
"""Trials without a reply that are timed."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Duration:
    """Holds times in seconds, for this machine as busy as it is now."""

    extraction: float
    """Seconds to extract all concept vectors; fewer where some are cached."""
    replies: float
    """Time of the replies if each is as long as it may be; replies that end early make it shorter."""
    readouts: float
    """Seconds for trials that are measured without a reply."""
    per_token: float
    """A decoding step of a full batch, over its rows."""

    @property
    def total(self) -> float:
        return self.extraction + self.replies + self.readouts

    def as_dict(self) -> dict[str, float]:
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True, slots=True)
class Workload:
    """Says what decides memory: the longest of each."""

    prompt_tokens: int
    new_tokens: int
    shared_prefix: int


@dataclass(frozen=True, slots=True)
class StudyEstimate:
    trials: int
    injected: int
    replies: int
    """Trials that are measured by a reply."""
    rows: int
    """Number of rows that run together."""
    batches: int
    workload: Workload
    memory: Footprint | None
    """Memory in bytes, by cause; ``None`` for a simulated subject."""
    free: int
    """Bytes that are free now, with the weights loaded."""
    seconds: Duration
    power: Power | None
    """Power of the study; ``None`` for experiments whose replies are not graded as claims."""
    warning: str | None
    """What is wrong with its concepts, though it can be run; ``None`` where nothing is."""

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON takes. Keys are those of the fields, in bytes and seconds."""
        return {
            **{name: getattr(self, name) for name in ("trials", "injected", "replies", "rows", "batches", "free")},
            "workload": asdict(self.workload),
            "memory": None if self.memory is None else self.memory.as_dict(),
            "seconds": self.seconds.as_dict(),
            "power": None if self.power is None else self.power.as_dict(),
            "warning": self.warning,
        }


def workload_of(planned: Plan) -> Workload:
    """Return the lengths of a plan's prompts and replies, and what its first trials share."""
    specs = list(islice(planned, MOST_ROWS))
    prompts = [Prompt(planned.prompts[s.prompt].tokens, tuple(_injection(i) for i in s.injections)) for s in specs]
    return Workload(
        prompt_tokens=max((len(prompt.tokens) for prompt in planned.prompts.values()), default=1),
        new_tokens=max((spec.thinking_tokens + spec.max_tokens for spec in specs), default=1),
        shared_prefix=len(shared_prefix(prompts)) if len(prompts) > 1 else 0,
    )


def rows_for(backend: Backend, planned: Plan) -> int:
    """Return how many rows of this plan may run together on this backend now."""
    if backend.shape is None or backend.batch_size_given:
        return backend.batch_size
    return rows_that_fit(backend.shape, backend.memory().free, **asdict(workload_of(planned)))


def estimate(checked: Checked, planned: Plan, backend: Backend, *, clock: Clock = time.perf_counter) -> StudyEstimate:
    """Estimate a study on a loaded model. Runs a few tokens, and leaves the backend's batch size as it should be.

    Args:
        clock: seconds.
    """
    backend.batch_size = rows = rows_for(backend, planned)
    work = workload_of(planned)
    counts = _count(planned)
    together = min(rows, counts.replies) or 1
    return StudyEstimate(
        trials=len(planned),
        injected=counts.injected,
        replies=counts.replies,
        rows=rows,
        batches=-(-len(planned) // rows),
        workload=work,
        memory=None if backend.shape is None else predict(backend.shape, rows=together, **asdict(work)),
        free=backend.memory().free,
        seconds=_duration(checked, planned, backend, counts, work, clock),
        power=power_of(counts.smallest_cell, counts.controls) if checked.experiment.graded else None,
        warning=concept_warning(checked.study),
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    replies: int
    injected: int
    controls: int
    smallest_cell: int


def _count(planned: Iterable[TrialSpec]) -> _Counts:
    kinds: Counter[str] = Counter()
    cells: Counter[tuple[int, float]] = Counter()
    for spec in planned:
        kinds["injected"] += bool(spec.injections)
        if spec.readout == "text":
            kinds["replies"] += 1
            if spec.arm == "":
                kinds["controls"] += spec.condition == "control"
                if spec.injections:
                    cells[spec.injections[0].layer, spec.injections[0].strength] += 1
    return _Counts(kinds["replies"], kinds["injected"], kinds["controls"], min(cells.values(), default=0))


def _duration(
    checked: Checked, planned: Plan, backend: Backend, counts: _Counts, work: Workload, clock: Clock
) -> Duration:
    session = Session(backend, planned.prompts, Placeholders(planned.recipes, backend))

    def start(rows: int, readout: Callable[[TrialSpec], bool]) -> list[TrialSpec]:
        return list(islice((spec for spec in planned if readout(spec)), rows))

    def timed(specs: Sequence[TrialSpec], tokens: int) -> tuple[float, float]:
        """Measure the seconds to the first token, and per step after it."""
        moments: list[float] = []
        heard: Counter[int] = Counter()

        def on_token(event: TokenEvent) -> None:
            heard[event.index] += 1
            if heard[event.index] > len(moments):
                moments.append(clock())

        begun = clock()
        # A thought costs per token what an answer does: it is counted in ``new_tokens``, and not written here.
        short = [replace(spec, max_tokens=min(spec.max_tokens, tokens), thinking_tokens=0) for spec in specs]
        for _ in checked.experiment.measure(session, short, on_token):
            pass
        steps = [after - before for before, after in pairwise(moments)]
        return (moments[0] if moments else clock()) - begun, median(steps) if steps else 0.0

    replies = per_token = 0.0
    if counts.replies:
        full = min(backend.batch_size, counts.replies)
        timed(start(1, _replied), 2)
        # Blocks hold whole batches, so only the last batch of a study is smaller.
        for rows, batches in ((full, counts.replies // full), (counts.replies % full, 1)):
            if rows:
                first, step = timed(start(rows, _replied), TOKENS)
                replies += batches * (first + (work.new_tokens - 1) * step)
                per_token = per_token or step / rows
    # From all over the plan: its first trials may be the cheapest, as the layers of a map below the injection are.
    every = max(1, (len(planned) - counts.replies) // _SAMPLE)
    silent = list(islice((spec for spec in planned if not _replied(spec)), every // 2, None, every))[:_SAMPLE]
    readouts = 0.0
    if silent:
        begun = clock()
        for _ in checked.experiment.measure(session, silent):
            pass
        readouts = (clock() - begun) / len(silent) * (len(planned) - counts.replies)
    return Duration(_extraction(planned.recipes, backend, clock), replies, readouts, per_token)


def reading_count(planned: Plan) -> int:
    """Count the words and texts that are read for a plan's concept vectors."""
    return len(_readings(planned.recipes))


def _readings(recipes: Mapping[str, VectorRecipe]) -> list[Any]:
    return list(
        dict.fromkeys(reading for recipe in recipes.values() for reading in (*recipe.positives(), *recipe.negatives()))
    )


def _extraction(recipes: Mapping[str, VectorRecipe], backend: Backend, clock: Clock) -> float:
    readings = _readings(recipes)
    if not readings:
        return 0.0
    prompts = [Prompt(reading.place(backend.tokenizer)[0]) for reading in readings[:_WORDS]]
    begun = clock()
    backend.capture(prompts, positions=(-1,))
    return (clock() - begun) / len(prompts) * len(readings)


def _replied(spec: TrialSpec) -> bool:
    return spec.readout == "text"


def _injection(planned: Any) -> Injection:
    return Injection(planned.layer, np.zeros(1, np.float32), planned.start, planned.stop)


class Placeholders(Mapping[str, ConceptVector]):
    """Gives every recipe a small vector of length 1 at every layer, so that replies go on as without it."""

    def __init__(self, recipes: Mapping[str, VectorRecipe], backend: Backend) -> None:
        self._recipes = recipes
        layers, width = backend.info.layers, backend.info.width
        drawn = np.random.Generator(np.random.Philox(0)).standard_normal((layers, width))
        self._direction = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    def __getitem__(self, key: str) -> ConceptVector:
        return ConceptVector(self._recipes[key], self._direction, np.ones(len(self._direction), np.float32))

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)
