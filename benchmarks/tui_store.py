"""How long the terminal app takes to open over a large store, and each filter of Review to bring a screenful.

    python benchmarks/tui_store.py HOME [--run large] [--times 3]

HOME holds ``mlxintro.db``, e.g. one made by ``benchmarks/large_store.py``. Opening is timed from the start of the
process to the first run's name on a terminal. A filter is timed from the store's side: every step that the screen would
ask for, one after the other, in milliseconds of the wall and of this process.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import signal
import statistics
import sys
import termios
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from benchmarks.large_store import NEEDLE
from mlxintro.store.store import Store
from mlxintro.tui.trials.filter_line import parse
from mlxintro.tui.trials.trial_scan import ScannedTrials

SCREENFUL = 50
LIMIT = 30.0
FILTERS = (
    "",
    "injected",
    "control",
    "concept:youths",
    "layer:19",
    "strength:16",
    "grade:denies",
    "grade:claims",
    "grade:refuses",
    "grade:unclear",
    "grade:none",
    "disputed",
    "agreed",
    "labelled",
    "unlabelled",
    "failed",
    "the",
    NEEDLE.split()[0],
    f'"{NEEDLE}"',
    "no-such-word",
    "concept:youths grade:refuses",
    "layer:5 disputed",
    "control grade:claims",
)


@dataclass(frozen=True, slots=True)
class Search:
    hits: int
    screenful: float
    """Seconds until a screen was full, or until the search was over."""
    everything: float
    work: float
    """Seconds of this process until a screen was full."""


def opening(home: Path) -> tuple[float, float]:
    """Seconds from the start of the process until a run stands on a terminal of 120 by 40, and those it worked."""
    with Store(home / "mlxintro.db", read_only=True) as store:
        name = store.runs.all()[0].name.encode()
    # The app goes back to the screen it was left on; here it is to begin with the list of runs.
    (home / "tui.json").unlink(missing_ok=True)
    began = time.perf_counter()
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        command = [sys.executable, "-m", "mlxintro", "--db", str(home / "mlxintro.db"), "tui"]
        os.execv(sys.executable, command)
    termios.tcsetwinsize(terminal, (40, 120))
    seen = b""
    try:
        while name not in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", seen):
            if not select.select([terminal], [], [], LIMIT)[0] or time.perf_counter() - began > LIMIT:
                raise RuntimeError("the app shows no run")
            seen += os.read(terminal, 65536)
        used = psutil.Process(child).cpu_times()
        return time.perf_counter() - began, used.user + used.system
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def search(db: Path, run: str, line: str) -> Search:
    """Go through a run with a filter as the screen does, opening the store for every step."""
    where = parse(line)
    if where.verdict is not None:
        where = replace(where, grader="rules")
    finding = ScannedTrials(run, where)
    began, worked = time.perf_counter(), time.process_time()
    full: tuple[float, float] | None = None
    while not finding.over:
        with Store(db, read_only=True) as store:
            finding.rows.extend(finding.step(store))
        if full is None and (len(finding.rows) >= SCREENFUL or finding.over):
            full = time.perf_counter() - began, time.process_time() - worked
    assert full is not None
    return Search(len(finding.rows), full[0], time.perf_counter() - began, full[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--run", default="large")
    parser.add_argument("--times", type=int, default=3)
    chosen = parser.parse_args()
    db = chosen.home / "mlxintro.db"
    with Store(db, read_only=True) as store:
        run = store.runs.find(chosen.run)
        print(f"{len(store.runs.all())} runs; {run.name} has {run.done:,} trials")
    opened = [opening(chosen.home) for _ in range(chosen.times)]
    wall, work = (statistics.median(one) for one in zip(*opened, strict=True))
    print(f"opened after {wall:.2f} s, {work:.2f} s of work (medians of {chosen.times}; load {os.getloadavg()[0]:.1f})")
    print(f"{'filter':<32} {'hits':>9} {'screenful':>10} {'its work':>9} {'all':>8}  load")
    for line in FILTERS:
        found = sorted((search(db, run.id, line) for _ in range(chosen.times)), key=lambda one: one.screenful)
        middle = found[len(found) // 2]
        print(
            f"{line or '(none)':<32} {middle.hits:>9,} {1000 * middle.screenful:>7.0f} ms "
            f"{1000 * middle.work:>6.0f} ms {1000 * middle.everything:>5.0f} ms  {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
