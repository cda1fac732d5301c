"""What the one process that writes carries when many workers send it trials: trials a second, bytes over the network.

    python -m benchmarks.store_writer [--workers 64] [--trials 20000]

Workers here are threads that answer at once with replies of the length that models write, so all the time that is taken
is the writer's: handing out blocks, receiving, storing. CPU time is reported, so a busy machine does not matter much.
``--grade`` adds the rules, which grade while the run goes on. The bytes are those of the pickled messages.
"""

from __future__ import annotations

import argparse
import pickle
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from benchmarks.large_store import Prose
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.grading.alongside import graded_alongside
from mlxintro.grading.passes import find_grader
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import launch
from mlxintro.running.workers.pool import WorkerPool
from mlxintro.running.workers.worker import WorkerFacts
from mlxintro.store.store import Store


class Answering:
    """A worker that answers at once, as a model would: a reply, doses and proofs."""

    def __init__(self, name: str, pattern: Outcome, replies: Sequence[str]) -> None:
        self.name = name
        self._pattern = pattern
        self._replies = replies

    def start(self) -> WorkerFacts:
        return WorkerFacts({}, {})

    def measure(self, specs: Sequence[TrialSpec], batch_size: int) -> Iterator[list[Outcome]]:
        one = self._pattern
        yield [
            Outcome(spec.key, self._replies[at % len(self._replies)], "stop", 80, proofs=one.proofs, doses=one.doses)
            for at, spec in enumerate(specs)
        ]

    def stop(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--grade", action="store_true")
    chosen = parser.parse_args()
    replies = list(islice(Prose(), 500))
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeBackend("detector", batch_size=64) as backend,
        Store(Path(folder) / "a.db") as store,
    ):
        layers, words = (2, 3, 4, 5), ("set:blueprint",)
        study = make_study(
            model="detector", backend="fake", concepts=words, layers=layers, strengths=(1.0, 2.0), unit="resid",
            trials=chosen.trials // (len(layers) * 2 * 5), controls=0, temperature=1.0,
        )  # fmt: skip
        checked = launch.check(study)
        plan = launch.plan(checked, backend)
        session = launch.prepare(store, backend, plan)
        some = list(islice(plan, 64))
        (pattern, *_) = checked.experiment.measure(session, some[:1])
        run = launch.begin(store, checked, backend, plan)
        links = [Answering(f"worker {number}", pattern, replies) for number in range(chosen.workers)]
        cpu, wall = time.process_time(), time.perf_counter()
        with WorkerPool(links, backend.batch_size, print, mixed=False) as pool:
            events = launch.execute(store, run, checked, plan, session, workers=pool)
            if chosen.grade:
                events = graded_alongside(store, run.id, find_grader("rules"), events)
            for _ in events:
                pass
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        done = store.runs.get(run.id).done
        outcomes = next(iter(links[0].measure(some, 64)))
        size = store.path.stat().st_size
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{done:,} trials from {chosen.workers} workers: {cpu:.1f} s of CPU ({wall:.0f} s), {peak:.0f} MB at most")
    print(f"  {1000 * cpu / done:.2f} ms of CPU a trial: {done / cpu:,.0f} trials a second on one core")
    out, back = len(pickle.dumps(some)) / 64, len(pickle.dumps(outcomes)) / 64
    print(f"  {out:,.0f} bytes a trial to the worker, {back:,.0f} back; {size / done:,.0f} bytes a trial in the store")


if __name__ == "__main__":
    main()
