"""Blocks shared out over workers give what one process gives: every trial once, with the same texts, whoever dies."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlxintro.backends.errors import KnownError, OutOfMemory, UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.experiments.base import Plan
from mlxintro.protocol.study import make_study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running import launch
from mlxintro.running.blocks import BATCHES, NothingMeasures
from mlxintro.running.events import Notice, RunEvent, TrialFinished
from mlxintro.running.session import Session
from mlxintro.running.workers.cluster import Cluster
from mlxintro.running.workers.pool import BLOCKS_EACH, DEATHS, WorkerDied, WorkerPool
from mlxintro.running.workers.processes import ProcessLink
from mlxintro.running.workers.worker import TrialWorker, WorkerFacts, WorkerSetup
from mlxintro.store.store import Store
from tests.cli import RUN, events, mlxintro, started, until

ROWS = 2
MODEL = "detector?hit=0.6"


@dataclass(frozen=True)
class Study:
    """A study on the simulated subject, planned, with what workers need."""

    checked: launch.Checked
    plan: Plan
    session: Session

    @property
    def setup(self) -> WorkerSetup:
        session = self.session
        return WorkerSetup(self.checked.study, ROWS, None, dict(session.prompts), dict(session.vectors))

    def begin(self, store: Store) -> str:
        return launch.begin(store, self.checked, self.session.backend, self.plan).id

    def run(self, store: Store, run: str, workers: WorkerPool | None = None) -> Iterator[RunEvent]:
        self.session.backend.batch_size = ROWS
        yield from launch.execute(store, store.runs.get(run), self.checked, self.plan, self.session, workers=workers)


@contextmanager
def planned(folder: Path, model: str) -> Iterator[Study]:
    with FakeBackend(model, batch_size=ROWS) as backend, Store(folder / "a.db") as store:
        settings = make_study(
            model=model, backend="fake", concepts=("dust", "trumpets"), layers=(4, 5), strengths=(1.0, 2.0),
            unit="resid", trials=5, controls=10, temperature=1.0, max_tokens=20,
        )  # fmt: skip
        checked = launch.check(settings)
        plan = launch.plan(checked, backend)
        yield Study(checked, plan, launch.prepare(store, backend, plan))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    with planned(tmp_path_factory.mktemp("plan"), MODEL) as found:
        yield found


@pytest.fixture(scope="module")
def alone(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Texts of a run of one process, by trial."""
    with Store(tmp_path_factory.mktemp("alone") / "a.db") as store:
        run = study.begin(store)
        list(study.run(store, run))
        found = texts(store, run)
    assert len(found) == len(study.plan) >= 6 * BATCHES * ROWS
    return found


def texts(store: Store, run: str) -> dict[str, str]:
    return {trial.key: trial.response for trial in store.trials.of_run(run)}


@dataclass
class Near:
    """A worker in this process, which dies or runs out of memory where a test says so."""

    setup: WorkerSetup
    name: str = "near"
    dies_at: set[int] = field(default_factory=set)
    """Blocks, counted from 1, in whose middle it dies."""
    most_rows: int = 99
    starts: int = 0
    stays_dead: bool = False
    kind: dict[str, str] = field(default_factory=dict)
    blocks: int = 0
    under_way: int = 0

    def start(self) -> WorkerFacts:
        self.starts += 1
        if self.starts > 1 and self.stays_dead:
            raise WorkerDied(self.name)
        self.worker = TrialWorker(self.setup)
        return WorkerFacts(self.worker.facts.model, {**self.worker.facts.kind, **self.kind})

    def measure(self, specs: Sequence[TrialSpec], batch_size: int) -> Iterator[list[Outcome]]:
        self.blocks += 1
        block = self.blocks
        if batch_size > self.most_rows:
            raise OutOfMemory("too many rows")
        for kind, value in self.worker.measure(specs, batch_size):
            if kind == "failed":
                raise value
            if kind == "done":
                return
            half = len(value) // 2
            yield value[:half]
            if block in self.dies_at:
                raise WorkerDied(self.name)
            yield value[half:]

    def stop(self) -> None: ...


def near_pool(study: Study, count: int = 2, **more: Any) -> tuple[WorkerPool, list[Near], list[str]]:
    links = [Near(study.setup, f"near {number}", **more) for number in range(count)]
    told: list[str] = []
    return WorkerPool(links, ROWS, told.append, mixed=False), links, told


@pytest.mark.parametrize("dies_at", [set(), {1, 3}])
def test_every_trial_is_there_once_with_the_text_of_a_single_process(
    study: Study, alone: dict[str, str], tmp_path: Path, dies_at: set[int]
) -> None:
    pool, links, told = near_pool(study, dies_at=dies_at)
    with pool, Store(tmp_path / "a.db") as store:
        run = study.begin(store)
        finished = [event.key for event in study.run(store, run, pool) if isinstance(event, TrialFinished)]
        assert texts(store, run) == alone
        assert store.runs.get(run).state == "done"
    assert sorted(finished) == sorted(alone)
    assert len(told) == sum(link.starts - 1 for link in links) == 2 * len(dies_at)
    assert all(link.blocks for link in links)


@pytest.mark.parametrize("killed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_processes_of_this_machine_give_the_same_texts_when_one_is_killed(
    study: Study, alone: dict[str, str], tmp_path: Path, killed: bool
) -> None:
    links = [ProcessLink(study.setup, f"worker {number}") for number in (1, 2)]
    told: list[str] = []
    with WorkerPool(links, ROWS, told.append, mixed=False) as pool, Store(tmp_path / "a.db") as store:
        pids = [link.pid for link in links]
        run = study.begin(store)
        seen = 0
        for event in study.run(store, run, pool):
            seen += isinstance(event, TrialFinished)
            if killed and seen == 20 and pids[0] == links[0].pid:
                assert pids[0] is not None
                os.kill(pids[0], signal.SIGKILL)
        assert texts(store, run) == alone
    assert seen == len(alone)
    if killed:
        assert told == ["worker 1 has died: it is started again, and its block is measured anew"]


def test_processes_end_with_the_pool(study: Study) -> None:
    links = [ProcessLink(study.setup, "worker 1")]
    with WorkerPool(links, ROWS, print, mixed=False) as pool:
        pool.expect(list(study.plan)[:8])
        process = links[0]._process
        assert process.is_alive()
    assert not process.is_alive()


def test_a_run_ends_and_loses_nothing_when_no_worker_is_left(
    study: Study, alone: dict[str, str], tmp_path: Path
) -> None:
    pool, _, told = near_pool(study, dies_at={2}, stays_dead=True)
    with Store(tmp_path / "a.db") as store:
        run = study.begin(store)
        with pool, pytest.raises(NothingMeasures, match=r"no worker is left.*--resume"):
            list(study.run(store, run, pool))
        stopped = store.runs.get(run)
        assert (stopped.state, stopped.errors) == ("failed", 0)
        assert 0 < stopped.done < len(alone)
        list(study.run(store, run))
        assert texts(store, run) == alone
    assert [line.split(":")[0] for line in told if "cannot" in line][-1].startswith("near")
    assert any("0 workers go on" in line for line in told)


def test_one_worker_goes_on_when_the_other_stays_dead(study: Study, alone: dict[str, str], tmp_path: Path) -> None:
    links = [Near(study.setup, "weak", dies_at={1}, stays_dead=True), Near(study.setup, "strong")]
    with WorkerPool(links, ROWS, print, mixed=False) as pool, Store(tmp_path / "a.db") as store:
        run = study.begin(store)
        list(study.run(store, run, pool))
        assert texts(store, run) == alone


def test_fewer_rows_run_together_after_memory_ran_out_in_a_worker(study: Study, tmp_path: Path) -> None:
    pool, _, _ = near_pool(study, most_rows=1)
    with pool, Store(tmp_path / "a.db") as store:
        run = study.begin(store)
        notices = [event.text for event in study.run(store, run, pool) if isinstance(event, Notice)]
        assert store.runs.get(run).batch_size == 1
        assert store.runs.get(run).done == len(study.plan)
    assert len([line for line in notices if "going on with 1 rows" in line]) == 1


def test_a_block_that_ends_several_workers_is_taken_for_too_large(study: Study) -> None:
    pool, links, _ = near_pool(study, count=1, dies_at=set(range(1, DEATHS + 1)))
    with pool, pytest.raises(OutOfMemory, match="for memory perhaps"):
        list(pool(list(study.plan)[:8]))
    assert links[0].blocks == DEATHS


def test_devices_of_different_kinds_are_refused_unless_they_are_asked_for(study: Study) -> None:
    def links() -> list[Near]:
        return [Near(study.setup, "first"), Near(study.setup, "second", kind={"device": "another card"})]

    with pytest.raises(KnownError, match=r"second is of another kind.*device cpu and another card.*--mixed-devices"):
        WorkerPool(links(), ROWS, print, mixed=False)
    WorkerPool(links(), ROWS, print, mixed=True).close()


def test_another_model_is_refused_always(study: Study) -> None:
    other = WorkerSetup(make_study(model="null", backend="fake"), ROWS, None, {}, {})
    with pytest.raises(KnownError, match="second runs another model than the first worker: model"):
        WorkerPool([Near(study.setup, "first"), Near(other, "second")], ROWS, print, mixed=True)


def test_no_more_blocks_are_under_way_than_workers_can_take(study: Study, tmp_path: Path) -> None:
    """Outcomes wait in memory until they are stored, so how many there are must not grow with the run."""
    pool, links, _ = near_pool(study)
    waiting = 0
    with pool, Store(tmp_path / "a.db") as store:
        run = study.begin(store)
        for event in study.run(store, run, pool):
            if isinstance(event, TrialFinished):
                waiting = max(waiting, len(pool._known))
    assert waiting <= BLOCKS_EACH * len(links) + 1


def test_a_cancelled_run_leaves_no_thread_behind(study: Study, tmp_path: Path) -> None:
    before = threading.active_count()
    pool, _, _ = near_pool(study)
    with pool, Store(tmp_path / "a.db") as store:
        run = study.begin(store)
        for event in study.run(store, run, pool):
            if isinstance(event, TrialFinished):
                store.runs.set_control(run, "cancel")
        assert store.runs.get(run).state == "cancelled"
    assert threading.active_count() <= before


STUDY = (
    *(*RUN, "-m", "detector?delay=0.02", "--concepts", "ocean,fear", "--strengths", "2,4", "--trials", "6"),
    *("--controls", "8", "--max-tokens", "20", "--batch-size", "2", "--no-grade"),
)
SHARED = ("--executor", "local", "--devices", "cpu,cpu")


@pytest.mark.slow
def test_a_run_whose_leading_process_is_killed_goes_on_with_workers_or_without(tmp_path: Path) -> None:
    """Twice killed and resumed it is like one that was never shared out; no worker outlives the one that led it."""
    assert mlxintro(tmp_path, *STUDY, "--name", "alone").code == 0
    first = started(tmp_path, *STUDY, "--name", "shared", "--json", *SHARED)
    second = None
    for process in (first, second):
        process = process or started(tmp_path, "run", "--resume", "shared", "--json", "--no-grade", *SHARED)
        told = events(process)
        for _ in range(6):
            until(told, "TrialFinished")
        workers = [
            one for one in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in str(one.cmdline())
        ]
        assert len(workers) == 2
        process.kill()
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive
    done = mlxintro(tmp_path, "run", "--resume", "shared", "--no-grade")
    assert done.code == 0
    with Store(tmp_path / "mlxintro.db") as store:
        alone, shared = (store.runs.find(name) for name in ("alone", "shared"))
        assert (shared.state, shared.done, shared.errors) == ("done", shared.planned, 0)
        assert texts(store, shared.id) == texts(store, alone.id)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--devices", "cpu"), "--devices belongs to --executor local"),
        (("--executor", "local", "--workers", "2"), "--workers belongs to --executor ray"),
        (("--executor", "local"), "--executor local needs --devices"),
        (("--executor", "local", "--devices", " , "), "--executor local needs --devices"),
        (("--mixed-devices",), "--mixed-devices belongs to --executor"),
    ],
)
def test_options_of_workers_that_do_not_go_together_are_refused(
    tmp_path: Path, flags: Sequence[str], said: str
) -> None:
    found = mlxintro(tmp_path, *STUDY, *flags)
    assert found.code == 2
    assert said in found.err


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named_before_the_first_trial(tmp_path: Path) -> None:
    found = mlxintro(tmp_path, *STUDY, "--executor", "local", "--devices", "cpu,cuda:7")
    assert found.code == 2
    assert "the fake backend is float32 on the cpu" in found.err


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_ray_gives_the_same_texts_when_an_actor_is_killed(tmp_path: Path, count: int) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    told: list[str] = []
    # Slow enough that the block of the actor that is killed is under way.
    with planned(tmp_path, f"{MODEL}&delay=0.02") as study, Store(tmp_path / "b.db") as store:
        first = study.begin(store)
        list(study.run(store, first))
        with (
            closing(Cluster(None)) as cluster,
            WorkerPool(cluster.links(study.setup, count), ROWS, told.append, mixed=False) as pool,
        ):
            run = study.begin(store)
            seen = 0
            for event in study.run(store, run, pool):
                seen += isinstance(event, TrialFinished)
                if seen == 1 and not told:
                    _kill_an_actor()
                    told.append("killed")
        assert texts(store, run) == texts(store, first)
    assert seen == len(study.plan)
    assert any("has died: it is started again" in line for line in told)


def _kill_an_actor() -> None:
    for process in psutil.process_iter(["cmdline"]):
        title = (process.info["cmdline"] or [""])[0]
        if title == "ray::_Actor.measure":
            process.kill()
            return


@dataclass
class RayLike:
    """What ``Cluster.links`` asks Ray."""

    resources: dict[str, float]

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def put(self, value: Any) -> Any:
        return value


@pytest.mark.parametrize(
    ("resources", "count", "needs"),
    [
        ({"CPU": 8.0, "GPU": 2.0}, None, [{"num_gpus": 1.0, "num_cpus": 1.0}] * 2),
        ({"CPU": 8.0}, 4, [{"num_cpus": 1.0}] * 4),
        ({"CPU": 2.0}, 4, [{"num_cpus": 0.5}] * 4),
        ({"CPU": 8.0, "GPU": 2.0}, 3, "the Ray cluster has 2 GPUs: choose --workers 2 at most"),
        ({"CPU": 8.0}, None, "has no GPU: say how many workers"),
    ],
)
def test_workers_of_a_cluster_are_one_for_each_card_or_share_the_processors(
    study: Study, resources: dict[str, float], count: int | None, needs: Any
) -> None:
    cluster = object.__new__(Cluster)
    cluster._ray = RayLike(resources)
    if isinstance(needs, str):
        with pytest.raises(UsageError, match=needs):
            cluster.links(study.setup, count)
    else:
        assert [link._needs for link in cluster.links(study.setup, count)] == needs
