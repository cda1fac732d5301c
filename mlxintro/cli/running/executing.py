"""One run from its model to its rates, as the command line shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mlxintro.backends.errors import KnownError
from mlxintro.cli.options import load_backend
from mlxintro.cli.output import chatter, shell

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend
    from mlxintro.experiments.base import Plan
    from mlxintro.running.launch import Checked
    from mlxintro.running.study_order import Told
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


_PATIENCE = 12 * 3600.0
"""Seconds for which a run waits for a store that another program holds locked."""


@contextmanager
def planned_on(told: Told, checked: Checked, batch_size: int | None) -> Iterator[tuple[Backend, Plan]]:
    """Load a study's model and plan the study; the model is closed at the end."""
    from mlxintro.running import launch

    with told():
        backend = backend_of(checked.study.model_dump(), batch_size)
    with backend:
        with told():
            planned = launch.plan(checked, backend)
        yield backend, planned


def backend_of(settings: Mapping[str, Any], batch_size: int | None = None) -> Backend:
    """Load the model that the settings of a study name."""
    from mlxintro.running.preview.preflight import LOADING

    loading = {name: settings.get(name) for name in LOADING}
    return load_backend(loading.pop("model"), str(loading.pop("backend")), **loading, batch_size=batch_size)


def go_on_with(store: Store, stored: Run, flags: dict[str, Any]) -> int:
    """Go on with a stored run, on the model and the plan it was begun with; return the exit code.

    Raises:
        KnownError: another process is at it, or the model, the plan or the store is not as it was.
    """
    from mlxintro.running import launch

    if stored.state in ("running", "paused"):
        raise KnownError(f"{stored.name} is being run by process {stored.pid} on {stored.host}: wait for it")
    checked = launch.check_again(stored)
    rows = launch.rows_to_go_on_with(store, stored, flags["batch_size"], chatter)
    with backend_of(stored.study, rows) as backend:
        launch.take_date(stored, backend)
        launch.check_same_model(stored, backend)
        planned = launch.plan(checked, backend)
        launch.check_same_plan(store, stored, planned)
        # A kill right after the run was recorded leaves it without them.
        store.prompts.add(stored.id, planned.prompts.values())
        return execute(store, stored, checked, backend, planned, flags)


def execute(store: Store, run: Run, checked: Checked, backend: Backend, planned: Plan, flags: dict[str, Any]) -> int:
    """Run what is planned and missing, grade it, and print what it comes to."""
    from mlxintro.cli.running.progress import follow, word_progress
    from mlxintro.cli.running.signals import ending_in_order
    from mlxintro.cli.running.workers import open_workers
    from mlxintro.grading.alongside import graded_alongside
    from mlxintro.grading.passes import find_grader, grade_run
    from mlxintro.running import launch
    from mlxintro.running.preparation import PreparationCancelled

    name = shell(run.name)
    chatter(f"run {run.name} ({run.id}): {len(planned)} trials; stop with Ctrl-C, go on with --resume {name}")
    if record := run.environment.get("frozen"):
        chatter(f"frozen as {record['hash']}, analysis {record['analysis']}: {launch.frozen_file(store, run)}")
    try:
        with word_progress() as progress:
            store.database.be_patient(_PATIENCE, chatter)
            session = launch.prepare(store, backend, planned, run=run, progress=progress, notice=chatter)
        with ending_in_order(), open_workers(flags, checked, session) as workers:
            events = launch.execute(store, run, checked, planned, session, workers=workers)
            if not flags["no_grade"]:
                events = graded_alongside(store, run.id, find_grader("rules"), events)
            last = follow(events, as_json=flags["as_json"])
    except PreparationCancelled as cancelled:
        chatter(f"{cancelled}; go on with --resume {name}")
        return 0
    except KeyboardInterrupt:
        # The terminal may be gone.
        with suppress(OSError):
            chatter(f"interrupted; everything finished is stored. Go on with: mlxintro run --resume {name}")
        raise
    if last is not None and last.errors:
        chatter(f"{last.errors} trials failed: `mlxintro runs show {name}` lists them, --resume tries them again")
    if not flags["no_grade"]:
        from mlxintro.cli.results.stats import show_stats

        grade_run(store, run, find_grader("rules"))
        show_stats(store, store.runs.get(run.id), "rules", flags["as_json"])
    if not flags["as_json"]:
        chatter(f"\nread the replies: mlxintro runs show {name}")
    return 0 if last is not None and last.state in ("done", "cancelled") and not last.errors else 1
