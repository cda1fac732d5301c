"""What storing, showing and grading a run costs beside generating it, in CPU time.

    python -m benchmarks.streaming [--rows 16] [--trials 64] [--repeats 5]

Generation is timed once per repeat, by ``backend.generate`` alone, and its tokens and proofs are kept. Then a decoder
that returns them without computing takes the model's place, under the same engine, tokeniser and runner, and the same
trials run through ever more of what `mlxintro run` puts around the model. What a layer adds is a difference of two
such replays, which take milliseconds, so it is known far better than from two runs of the model that differ by a
per cent. The live file is written ten times a second whatever is generated, so the cost of one write is measured and
charged by wall time. One thread computes: with more, waiting threads spin, and spinning is CPU time too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from mlxintro.backends import engine
from mlxintro.backends.base import Backend, Completion, OnToken, Prompt, Proof, Request, Sampling
from mlxintro.backends.registry import open_backend
from mlxintro.cli.running.progress import follow
from mlxintro.experiments.base import Plan
from mlxintro.grading.alongside import graded_alongside
from mlxintro.grading.passes import find_grader
from mlxintro.protocol.study import make_study
from mlxintro.running import launch, live
from mlxintro.running.events import RunEvent, TokenGenerated
from mlxintro.running.preview.estimate import Placeholders
from mlxintro.running.readouts import prompt_of
from mlxintro.running.runner import BEAT_SECONDS, run_trials
from mlxintro.running.session import Session
from mlxintro.store.store import Store

NEW = 60


class Replayed:
    """``engine.Decoder`` that says what was said before. Prompts are admitted in the order of the call."""

    def __init__(self, kept: Sequence[Completion], end: int) -> None:
        """
        Args:
            end: the token after the last, for those that ended by themselves.
        """
        self._coming = iter(kept)
        self._end = end
        self._rows: list[tuple[Completion, Iterator[int]]] = []

    def admit(self, prompts: Sequence[Prompt]) -> None:
        self._rows += [(one, chain(one.tokens, [self._end])) for one in (next(self._coming) for _ in prompts)]

    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
        return [next(tokens) for _, tokens in self._rows]

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return self._rows[row][0].proofs

    def keep(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[row] for row in rows]

    def step(self, tokens: Sequence[int]) -> None:
        """The tokens are known."""


@dataclass
class Layers:
    """Times a set of trials through ever more of what a run consists of."""

    folder: Path
    backend: Backend
    checked: launch.Checked
    planned: Plan

    def __post_init__(self) -> None:
        self._number = 0
        self.session = Session(self.backend, self.planned.prompts, Placeholders(self.planned.recipes, self.backend))

    def generated(self, on_token: OnToken | None = None) -> Callable[[], None]:
        specs = list(self.planned)
        requests = [
            Request(prompt_of(self.session, s)[0], Sampling(s.max_tokens, s.temperature, s.top_p, s.seed, s.stop))
            for s in specs
        ]

        def run() -> None:
            self.kept = sorted(self.backend.generate(requests, on_token), key=lambda completion: completion.index)

        return run

    def stored(self) -> Callable[[], None]:
        return self._run(
            lambda store, run: run_trials(
                store,
                run,
                self.planned,
                partial(self.checked.experiment.measure, self.session),
                batch_size=self.backend.batch_size,
            )
        )

    def watched(self) -> Callable[[], None]:
        return self._run(
            lambda store, run: launch.execute(store, store.runs.get(run), self.checked, self.planned, self.session)
        )

    def graded(self) -> Callable[[], None]:
        return self._run(
            lambda store, run: graded_alongside(
                store,
                run,
                find_grader("rules"),
                launch.execute(store, store.runs.get(run), self.checked, self.planned, self.session),
            )
        )

    def _run(self, events: Callable[[Store, str], Generator[RunEvent, None, None]]) -> Callable[[], None]:
        self._number += 1
        store = Store(self.folder / f"{self._number}.db")
        run = launch.begin(store, self.checked, self.backend, self.planned).id

        def go() -> None:
            with closing(store):
                follow(events(store, run))

        return go


@dataclass(frozen=True)
class Cost:
    """CPU seconds, and wall seconds for what is done by the clock."""

    cpu: float
    wall: float

    @classmethod
    def of(cls, run: Callable[[], None]) -> Cost:
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        return cls(time.process_time() - cpu, time.perf_counter() - wall)


def per_call(run: Callable[[], None], times: int = 50) -> float:
    """CPU seconds of one call."""
    run()
    began = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - began) / times


def measure(rows: int, trials: int, repeats: int, echo: Callable[[str], None]) -> None:
    import torch

    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as place,
        open_backend("smollm2", "torch", dtype="float32", batch_size=rows) as backend,
    ):
        study = make_study(
            model="smollm2",
            backend="torch",
            layers=(10, 20),
            strengths=(2.0, 4.0),
            trials=-(-trials // 20),
            controls=0,
            max_tokens=NEW,
        )
        checked = launch.check(study)
        whole = launch.plan(checked, backend)
        planned = Plan(trials, whole.prompts, whole.recipes, lambda: islice(whole, trials))
        layers = Layers(Path(place), backend, checked, planned)
        generate = layers.generated()
        generate()
        tokens = sum(len(one.tokens) for one in layers.kept)
        echo(f"{trials} trials, {rows} rows, {tokens} tokens, {repeats} repeats")
        real: list[Cost] = []
        whole_runs: list[Cost] = []
        for repeat in range(repeats):
            full = layers.graded()
            # Whoever goes first changes with every repeat.
            if repeat % 2:
                whole_runs.append(Cost.of(full))
            real.append(Cost.of(generate))
            if not repeat % 2:
                whole_runs.append(Cost.of(full))
        base = median(one.cpu for one in real)
        pairs = sorted(whole.cpu / alone.cpu for whole, alone in zip(whole_runs, real, strict=True))
        echo(f"generate alone: {1000 * base / trials:.1f} ms CPU a trial ({base / tokens * 1000:.2f} ms a token)")
        echo(f"the whole run over that, pair by pair: {median(pairs):.3f} ({pairs[0]:.3f} to {pairs[-1]:.3f})")

        kept, end = layers.kept, min(backend.tokenizer.end_tokens)
        backend._generate = lambda requests, on_token: engine.run(  # type: ignore[method-assign]
            requests, Replayed(kept, end), backend.tokenizer, backend.batch_size, on_token
        )
        steps: dict[str, Callable[[], Callable[[], None]]] = {
            "replayed": layers.generated,
            "token events": lambda: layers.generated(lambda event: None),
            "stored": layers.stored,
            "watched": layers.watched,
            "graded": layers.graded,
        }
        found = {name: median(Cost.of(make()).cpu for _ in range(2 * repeats + 1)) for name, make in steps.items()}
        with Store(Path(place) / "clock.db") as store:
            write, beat = by_the_clock(store, layers)
        seconds = median(one.wall for one in real)
        events = found["token events"] - found["replayed"]
        costs = {
            "token events: text of every row at every step": events,
            "store and run events, a commit per trial": found["stored"] - found["replayed"],
            "what is done with token events": found["watched"] - found["stored"] - events,
            "grading alongside": found["graded"] - found["watched"],
            f"live file, every {live.EVERY_SECONDS} s": write * seconds / live.EVERY_SECONDS,
            f"heartbeat, every {BEAT_SECONDS:.0f} s": beat * seconds / BEAT_SECONDS,
        }
        for what, cost in {**costs, "together": sum(costs.values())}.items():
            echo(f"  {what:<48}{1e6 * cost / trials:8.0f} us a trial{100 * cost / base:8.2f} %")


def by_the_clock(store: Store, layers: Layers) -> tuple[float, float]:
    """CPU seconds of one live file, at the middle of a reply, and of one heartbeat."""
    run = launch.begin(store, layers.checked, layers.backend, layers.planned).id
    broadcast = live.Broadcast(store.path, run, layers.planned.prompts)
    specs = list(layers.planned)
    list(broadcast.measuring(lambda specs, on_token: iter(()))(specs, None))
    for piece in range(NEW // 2):
        broadcast.token(TokenGenerated(specs[0].key, f" word{piece}"))

    def beat() -> None:
        with Store(store.path) as own:
            own.runs.beat(run)

    return per_call(broadcast._write), per_call(beat)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    measure(chosen.rows, chosen.trials, chosen.repeats, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
