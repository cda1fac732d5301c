"""What an injection costs a decoding step: the same batch with and without, step by step in turn.

    python -m benchmarks.injection [--rows 16 64 128] [--steps 40]

Two batches of the same prompt, one with an injection in every row, each at another layer, take steps alternately, and
whoever goes first changes every time: a machine that gets busier or quieter meets both. Reported is the median of the
ratios of neighbouring steps, in CPU time of the process, with their quartiles.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.pytorch.batch import PromptReader, TorchBatch
from mlxintro.backends.registry import open_backend
from mlxintro.tools import bench


def batches(backend: TorchBackend, rows: int) -> tuple[TorchBatch, TorchBatch]:
    """Without and with injections, both past their prompt."""
    found = []
    for injected in (False, True):
        prompts = [one.prompt for one in bench.batch(backend, rows, tokens=2, injected=injected)]
        found.append(PromptReader(backend.network, prompts, chunk=backend.prefill_chunk).read(prompts))
    return found[0], found[1]


def ratios(plain: TorchBatch, injected: TorchBatch, steps: int) -> list[float]:
    """CPU time of injected steps over that of their plain neighbours."""
    found = []
    for number in range(steps):
        seconds = {}
        for batch in (plain, injected) if number % 2 else (injected, plain):
            begun = time.process_time()
            batch.step([number + 5] * len(batch))
            seconds[id(batch)] = time.process_time() - begun
        found.append(seconds[id(injected)] / seconds[id(plain)])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--steps", type=int, default=40)
    chosen = parser.parse_args(arguments)
    with open_backend("smollm2", "torch", dtype="float32", batch_size=max(chosen.rows)) as backend:
        assert isinstance(backend, TorchBackend)
        for rows in chosen.rows:
            plain, injected = batches(backend, rows)
            ratios(plain, injected, 2)
            low, middle, high = np.percentile(ratios(plain, injected, chosen.steps), [25, 50, 75])
            print(f"{rows} rows: a step with injections takes {middle:.3f} ({low:.3f}-{high:.3f}) of one without")


if __name__ == "__main__":
    main()
