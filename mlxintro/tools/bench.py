"""How fast this machine runs trials with a model, what injection costs, and how far that is from the machine's floor.

Everything goes through the backend contract, as an experiment does: rows that each inject at another layer and
strength, from the last tokens of the prompt through the reply, sampled so that no two rows are alike. Runs with and
without injection alternate, and what is reported of several is the median, because a machine is rarely idle.

It refuses to call a simulated subject's speed a speed: there is no floor for one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from mlxintro.backends.base import Backend, Completion, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import UsageError
from mlxintro.backends.machine.roofline import Roofline

BATCHES = (1, 16, 64)
TOKENS = 32
REPEATS = 3
WINDOW = 30
"""The injection begins this many tokens before the end of the prompt."""
TEMPERATURE = 1.0

STORY = (
    "I am putting together a small book for children who live near the sea, and I would like your help with one "
    "chapter. Please write a long story about an old lighthouse keeper, her old grey cat and the winter in which the "
    "lamp would not burn. Tell it slowly, from the first evening to the last, with the weather, the sounds of the "
    "house and what the two had for supper. Do not stop before the ship has come home."
)
"""Asks for more than is generated, so that few rows end early. 121 tokens in the embedded model's template."""


@dataclass(frozen=True, slots=True)
class TimedPass:
    """Times one forward pass over a batch, as far as its cost goes."""

    tokens: int
    """Positions computed, in all rows."""
    predicted: int
    """Positions whose next token is wanted."""
    cached: int
    """Positions read from the cache, in all rows."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Says how fast one batch size is, with or without injection; times are medians."""

    rows: int
    injected: bool
    prompt_tokens: int
    """Tokens of one row's prompt."""
    tokens: int
    """Generated in all rows of the last repeat; rows that end early have fewer than were asked for."""
    first_seconds: float
    """Seconds from the request until every row has its first token."""
    seconds: float
    """Whole batch, prompt and reply."""
    prompt_rate: float
    """Prompt tokens per second, each row's counted in full although what rows share is read once."""
    decode_rate: float
    """Generated tokens per second after the first."""
    trial_rate: float
    """Trials per second."""
    floor_seconds: float | None
    """The least the whole batch could take here; ``None`` for a simulated subject."""
    share: float | None
    """``floor_seconds`` over ``seconds``: 1 is as fast as this machine can be."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Says what injection costs at one batch size: median of the ratios of neighbouring runs."""

    rows: int
    decode: float
    """Seconds per generated token with injection over those without."""
    trial: float
    """Seconds per whole trial with injection over those without; the injected part of a prompt is read in every row."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    roofline: Roofline | None
    speeds: tuple[Speed, ...]
    costs: tuple[Cost, ...]


def story(backend: Backend) -> tuple[int, ...]:
    """Return the prompt that is timed."""
    return backend.tokenizer.render([{"role": "user", "content": STORY}]).tokens


def batch(
    backend: Backend, rows: int, *, tokens: int, injected: bool, temperature: float = TEMPERATURE
) -> list[Request]:
    """Return the requests that share a prompt.

    Injected rows go through the layers, beginning at two thirds of the depth.
    """
    prompt = story(backend)
    start = max(0, len(prompt) - WINDOW)
    info = backend.info
    requests = []
    for row in range(rows):
        injections: tuple[Injection, ...] = ()
        if injected:
            layer = (info.layer(2 / 3) + row) % info.layers
            injections = (Injection(layer, _vector(backend, row), start),)
        sampling = Sampling(max_tokens=tokens, temperature=temperature, seed=row)
        requests.append(Request(Prompt(prompt, injections), sampling))
    return requests


def _vector(backend: Backend, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A direction of this row's own; the lengths are mild, so that the text stays text."""
    direction = np.random.Generator(np.random.Philox(row)).standard_normal(backend.info.width)
    length = 1.0 + row % 4
    return (direction / np.linalg.norm(direction) * length).astype(np.float32)


def measure(
    backend: Backend,
    *,
    batches: Sequence[int] = BATCHES,
    tokens: int = TOKENS,
    repeats: int = REPEATS,
    progress: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> BenchReport:
    """Time a backend whose batches hold at least the largest of ``batches``.

    Args:
        batches: rows that run together.
        tokens: new tokens per row.
        repeats: of every figure; the median counts.
        progress: told, in a few words, what is being timed.
        clock: seconds.

    Raises:
        UsageError: nothing to time.
    """
    if min(batches, default=0) < 1 or tokens < 2 or repeats < 1:
        raise UsageError("a benchmark needs batches of at least 1 row, 2 tokens or more, and 1 repeat or more")
    tell = progress or (lambda _: None)
    tell("memory bandwidth and matrix products")
    roofline = backend.roofline()
    speeds: list[Speed] = []
    costs: list[Cost] = []
    for rows in batches:
        tell(f"{rows} row{'s' * (rows > 1)}")
        timed: dict[bool, list[_TimedRun]] = {False: [], True: []}
        _time(backend, batch(backend, rows, tokens=2, injected=True), clock)
        for repeat in range(repeats):
            # Whoever goes first in a pair changes with every repeat: a machine that gets busier favours neither.
            for injected in (False, True) if repeat % 2 == 0 else (True, False):
                timed[injected].append(_run(backend, rows, tokens, injected, clock))
        speeds += [_speed(backend, rows, injected, timed[injected], roofline) for injected in (False, True)]
        pairs = list(zip(timed[True], timed[False], strict=True))
        costs.append(
            Cost(
                rows,
                decode=median(on.per_token / off.per_token for on, off in pairs),
                trial=median(on.seconds / off.seconds for on, off in pairs),
            )
        )
    return BenchReport(roofline, tuple(speeds), tuple(costs))


@dataclass(frozen=True, slots=True)
class _TimedRun:
    first_seconds: float
    seconds: float
    fed_back: tuple[int, ...]
    """Number of generated tokens of each row that went through the model."""
    generated: int

    @property
    def per_token(self) -> float:
        # Two timings are subtracted: on a busy machine the difference of two short ones can be nothing.
        return max(self.seconds - self.first_seconds, 1e-9) / max(1, sum(self.fed_back))


def _run(backend: Backend, rows: int, tokens: int, injected: bool, clock: Callable[[], float]) -> _TimedRun:
    first, _ = _time(backend, batch(backend, rows, tokens=1, injected=injected), clock)
    requests = batch(backend, rows, tokens=tokens, injected=injected)
    seconds, completions = _time(backend, requests, clock)
    fed_back = tuple(c.forwarded - len(requests[c.index].prompt.tokens) for c in completions)
    return _TimedRun(first, seconds, fed_back, sum(len(c.tokens) for c in completions))


def _time(backend: Backend, requests: list[Request], clock: Callable[[], float]) -> tuple[float, list[Completion]]:
    started = clock()
    completions = list(backend.generate(requests))
    return clock() - started, completions


def _speed(backend: Backend, rows: int, injected: bool, runs: Sequence[_TimedRun], roofline: Roofline | None) -> Speed:
    length = len(story(backend))
    first, seconds = median(run.first_seconds for run in runs), median(run.seconds for run in runs)
    shared = 0 if rows == 1 else length - (min(WINDOW, length) if injected else 1)
    floor = (
        None
        if roofline is None
        else sum(floor_seconds(roofline, one) for one in passes(rows, length, shared, runs[-1].fed_back))
    )
    return Speed(
        rows=rows,
        injected=injected,
        prompt_tokens=length,
        tokens=runs[-1].generated,
        first_seconds=first,
        seconds=seconds,
        prompt_rate=rows * length / first,
        decode_rate=1 / median(run.per_token for run in runs),
        trial_rate=rows / seconds,
        floor_seconds=floor,
        share=None if floor is None else floor / seconds,
    )


def passes(rows: int, length: int, shared: int, fed_back: Sequence[int]) -> Iterator[TimedPass]:
    """List the forward passes no engine can do without.

    They are the shared part of the prompt once, the rest in every row, then one per generated token that is fed back,
    with the rows that are still there.

    Args:
        length: tokens of the prompt, equal in all rows.
        shared: leading ones that are the same in all rows, before any injection.
        fed_back: per row, how many generated tokens went through the model.
    """
    if shared:
        yield TimedPass(shared, 0, 0)
    yield TimedPass(rows * (length - shared), rows, rows * shared)
    for step in range(max(fed_back, default=0)):
        live = sum(count > step for count in fed_back)
        yield TimedPass(live, live, live * (length + step))


def floor_seconds(roofline: Roofline, one: TimedPass) -> float:
    """Return the least a pass can take.

    Its weights and cache must be read, and its products computed, whichever is longer.

    Attention's own products, activations and sampling are left out, so it is a floor and not an estimate.
    """
    moved = roofline.weight_bytes + one.cached * roofline.cache_bytes
    operations = 2 * (one.tokens * roofline.block_parameters + one.predicted * roofline.head_parameters)
    return max(moved / roofline.bandwidth, operations / roofline.matmul)
