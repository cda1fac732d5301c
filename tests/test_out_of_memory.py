"""A process that may not have more memory: the allocator itself refuses, and the run goes on with fewer rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlxintro.store import Store

ROOT = Path(__file__).parents[1]

CODE = """
import resource, sys
import psutil
from backends.base import Prompt, Request, Sampling
from backends.registry import open_backend
from mlxintro import launch
from mlxintro.events import Notice
from mlxintro.store import Store
from mlxintro.study import make_study

study = make_study(
    model="smollm2", backend="torch", strengths=(2.0,), layers=(12,), trials=2, max_tokens=3, controls=22
)
checked = launch.check(study)
with open_backend("smollm2", "torch", device="cpu", batch_size=32) as backend, Store(sys.argv[1]) as store:
    planned = launch.plan(checked, backend)
    run = launch.begin(store, checked, backend, planned)
    session = launch.prepare(store, backend, planned)
    list(backend.generate([Request(Prompt((5, 6, 7)), Sampling(2))]))
    held = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (held + 300_000_000, resource.RLIM_INFINITY))
    for event in launch.execute(store, run, checked, planned, session):
        if isinstance(event, Notice):
            print(event.text)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on address space is Linux's")
def test_a_run_that_is_refused_memory_goes_on_with_fewer_rows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "store.db")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("going on with 16 rows at a time, nothing is lost: cpu has no memory left")
    with Store(tmp_path / "store.db", read_only=True) as store:
        [run] = store.runs()
    assert (run.state, run.done, run.errors) == ("done", 32, 0)
    assert run.batch_size is not None
    assert run.batch_size < 32
