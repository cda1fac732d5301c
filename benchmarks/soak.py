"""Does a model load and speak the same in every fresh process? Many processes, one after the other.

    python -m benchmarks.soak --processes 200

Each process loads tiny random models in bfloat16 on PyTorch, generates with and without an injection, and must come to
the very tokens of the first. Every second process has its memory filled with a pattern when it is allocated
(``MALLOC_PERTURB_`` of glibc), a different one each time, so that a number that is read before it is written shows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

FAMILIES = ("gemma3", "llama")


def speak(folders: list[str]) -> None:
    """Load every folder, generate, and print the tokens as JSON; what a child process does."""
    import numpy as np

    from mlxintro.backends.base import Injection, Prompt, Request, Sampling
    from mlxintro.backends.models.sources import read_folder
    from mlxintro.backends.pytorch.backend import load

    found = []
    for folder in folders:
        with load(read_folder(Path(folder), name="tiny", repository=folder), device="cpu", dtype="bfloat16") as backend:
            vector = np.linspace(-1, 1, backend.info.width, dtype=np.float32)
            prompts = [Prompt((5, 6, 7, 8, 9)), Prompt((9, 8, 7), (Injection(1, vector, 1),))]
            requests = [Request(prompt, Sampling(max_tokens=12, temperature=0.8, seed=3)) for prompt in prompts]
            replies = sorted(backend.generate(requests), key=lambda reply: reply.index)
            found.append([list(reply.tokens) for reply in replies])
    print(json.dumps(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--child", nargs="*")
    arguments = parser.parse_args()
    if arguments.child:
        speak(arguments.child)
        return 0
    from tests.tiny import make_tiny

    said: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [str(make_tiny(family, Path(scratch) / family)) for family in FAMILIES]
        for number in range(arguments.processes):
            more = {"MALLOC_PERTURB_": str(1 + number % 255)} if number % 2 else {}
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.soak", "--child", *folders],
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **more},
            )
            outcome = done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
            said[outcome] += 1
            print(f"{number + 1}: {len(said)} different outcomes", file=sys.stderr, flush=True)
    for outcome, count in said.most_common():
        print(f"{count} of {arguments.processes}: {outcome}")
    return 0 if len(said) == 1 and next(iter(said)).startswith("[") else 1


if __name__ == "__main__":
    sys.exit(main())
