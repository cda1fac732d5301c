"""Run one set of injected trials through mlxintro and through the libraries people use for it, side by side.

The work: the embedded model in float32 on two threads, one prompt of 121 tokens, a vector added to the residual stream
from the prompt's last 30 tokens through the reply, 60 greedy tokens, every trial with a vector of its own and, where
the library can, a layer of its own. Every contestant runs in a fresh process, one at a time, in rounds, so that a
machine that gets busier or quieter meets them all; figures are medians over rounds, ratios are taken within a round.
The tokens of every contestant are compared with mlxintro's: one that says something else has not done the same work.

    python -m benchmarks.peers [--quick] [--rounds 2] [--only NAME ...] [--write docs/benchmarks.md]

A library that is not installed becomes a row with the reason. ``make bench`` installs them all and writes the document.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import peers_mlx, peers_torch
from benchmarks.peers_ours import mlxintro
from benchmarks.report import Missing, Timing, machine, table, version, write
from benchmarks.workload import LARGEST, LAYER, NEW, Contestant, Trial, prepare, read

CONTESTANTS = {
    "hooks": Contestant("plain hooks", ("transformers", "torch"), peers_torch.plain_hooks),
    "nnsight": Contestant("nnsight", ("nnsight",), peers_torch.nnsight),
    "transformer-lens": Contestant(
        "TransformerLens (bridge)", ("transformer-lens",), peers_torch.transformer_lens, trials=1
    ),
    "steering-vectors": Contestant("steering-vectors", ("steering-vectors",), peers_torch.steering_vectors),
    "hooks-64": Contestant(
        "plain hooks, 64 rows",
        ("transformers", "torch"),
        peers_torch.plain_hooks,
        rows=64,
        trials=64,
        one_layer=True,
    ),
    **{
        f"mlxintro-torch-{rows}": Contestant(
            f"**mlxintro**, torch, {rows} row{'s' * (rows > 1)}",
            ("torch",),
            mlxintro("torch"),
            rows=rows,
            trials=max(rows, 3),
        )
        for rows in (1, 64, LARGEST)
    },
    "mlx-patched": Contestant("patched mlx-lm", ("mlx-lm",), peers_mlx.mlx_patched),
    "mlx-lens": Contestant("mlx-lens", ("mlx-lens",), peers_mlx.mlx_lens, everywhere=True),
    "mlx-batch-16": Contestant(
        "mlx-lm batch, 16 rows", ("mlx-lm",), peers_mlx.mlx_batch, rows=16, trials=16, injected=False
    ),
    "mlxintro-mlx-16-off": Contestant(
        "**mlxintro**, mlx, 16 rows",
        ("mlx-lm",),
        mlxintro("mlx", injected=False),
        rows=16,
        trials=16,
        injected=False,
    ),
    "mlxintro-mlx-16": Contestant("**mlxintro**, mlx, 16 rows", ("mlx-lm",), mlxintro("mlx"), rows=16, trials=16),
    "mlxintro-mlx-1": Contestant("**mlxintro**, mlx, 1 row", ("mlx-lm",), mlxintro("mlx"), trials=3),
}
BASES = {"hooks": "plain hooks", "hooks-64": "batched hooks", "mlx-patched": "patched mlx-lm"}
PACKAGES = (
    "torch",
    "transformers",
    "nnsight",
    "transformer-lens",
    "steering-vectors",
    "mlx",
    "mlx-lm",
    "mlx-lens",
    "numpy",
)
WARM_UP = 4
"""Tokens generated before the clock starts."""
QUICK_TOKENS, QUICK_TRIALS = 8, 8
"""Tokens and trials with which the benchmark itself is tried; larger batches are cut to so many."""


def compete(name: str, path: Path, new: int) -> Timing | Missing:
    """Run one contestant in this process.

    Args:
        new: tokens of a reply.
    """
    contestant = CONTESTANTS[name]
    for package in contestant.packages:
        if version(package) is None:
            return Missing(f"{package} is not installed")
    work = read(path)
    run = contestant.make(work)
    trials = work.trials[: contestant.trials]
    if contestant.one_layer:
        trials = [Trial(LAYER, trial.vector) for trial in trials]
    batches = [trials[at : at + contestant.rows] for at in range(0, len(trials), contestant.rows)]
    run(trials[: contestant.rows], WARM_UP)
    started, cpu = time.perf_counter(), time.process_time()
    tokens = [row for batch in batches for row in run(batch, new)]
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    if any(len(row) != new for row in tokens):
        return Missing("a reply ended early")
    # At one layer only the first trial is the one everybody runs; at every position none is.
    compared = tokens[:1] if contestant.one_layer else [] if contestant.everywhere else tokens
    wanted = work.expected[: len(compared)] if contestant.injected else [work.plain] * len(compared)
    same = sum(found == expected[:new] for found, expected in zip(compared, wanted, strict=True))
    return Timing(len(trials), seconds, cpu, same, len(compared))


def compare(names: Sequence[str], rounds: int, new: int, path: Path) -> tuple[dict[str, list[Any]], list[float]]:
    """All contestants, ``rounds`` times in turn; also the machine's load before each."""
    results: dict[str, list[Timing | Missing]] = {name: [] for name in names}
    loads = []
    for number in range(rounds):
        for name in names:
            loads.append(os.getloadavg()[0])
            blas = CONTESTANTS[name].packages[0].startswith("mlx")
            one = _child("--compete", name, str(path), "--tokens", str(new), blas=blas)
            found = Missing(one["reason"]) if "reason" in one else Timing(**one)
            results[name].append(found)
            said = found.reason if isinstance(found, Missing) else f"{found.rate:.2f} trials/s"
            print(f"round {number + 1} of {rounds}, {name}: {said}", file=sys.stderr)
    return results, loads


def _child(*arguments: str, blas: bool = False) -> dict[str, Any]:
    """Run this module in a process of its own, on two threads and without a network.

    Args:
        blas: with OpenBLAS preloaded, where Debian's package has it: MLX's own on Linux is a reference implementation.
            In place of PyTorch's MKL it would be slower.
    """
    settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    found = sorted(Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0")) if blas else []
    if found:
        settings["LD_PRELOAD"] = " ".join(filter(None, [os.environ.get("LD_PRELOAD"), str(found[0])]))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **settings, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"},
    )
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return {"reason": lines[-1][:200] if lines else f"exit code {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one round of short replies: does everything run?")
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--write", type=Path, help="a document with markers for the results")
    parser.add_argument("--compete", nargs=2, metavar=("NAME", "WORK"), help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, default=NEW, help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, default=LARGEST, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, metavar="WORK", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare, arguments.trials, arguments.tokens)
        print("{}")
        return
    if arguments.compete:
        print(json.dumps(asdict(compete(arguments.compete[0], Path(arguments.compete[1]), arguments.tokens))))
        return
    rounds, new = (1, QUICK_TOKENS) if arguments.quick else (arguments.rounds, arguments.tokens)
    names = list(dict.fromkeys(arguments.only))
    with TemporaryDirectory() as temporary:
        path = Path(temporary, "work.npz")
        count = QUICK_TRIALS if arguments.quick else LARGEST
        failed = _child("--prepare", str(path), "--trials", str(count), "--tokens", str(new))
        if "reason" in failed:
            raise SystemExit(f"the work could not be laid out: {failed['reason']}")
        results, loads = compare(names, rounds, new, path)
        work = read(path)
    ceiling = work.matmul / work.operations
    command = f"python -m benchmarks.peers --rounds {rounds}" + " --quick" * arguments.quick
    bases = {base: said for base, said in BASES.items() if base in results}
    found = table(CONTESTANTS, results, bases, ceiling)
    text = f"{machine(command, PACKAGES, loads, work.matmul, ceiling)}\n\n{found}"
    print(text)
    if arguments.write and not arguments.quick:
        write(arguments.write, text)


if __name__ == "__main__":
    main()
