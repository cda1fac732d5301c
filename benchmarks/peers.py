"""The same injected trials through mlxintro and through the libraries people use for it, side by side.

The work: the embedded model in float32, one prompt of 121 tokens, a vector added to the residual stream from the
prompt's last 30 tokens through the reply, 60 greedy tokens, every trial with a vector of its own and, where the library
can, a layer of its own. Every contestant runs in a fresh process, one at a time, in rounds, so that a machine that gets
busier or quieter meets them all; figures are medians over rounds of ratios within a round. The tokens of every
contestant are compared with mlxintro's: one that says something else has not done the same work.

    python benchmarks/peers.py [--rounds 3] [--only NAME ...] [--write docs/benchmarks.md]

A library that is not installed becomes a row with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mlxintro.bench import STORY, WINDOW

NEW = 60
LAYER = 20
"""Of the first trial, and of all trials of a batch that can only inject at one."""
LARGEST = 128

Run = Callable[[Sequence["Trial"]], list[list[int]]]


@dataclass(frozen=True)
class Trial:
    layer: int
    vector: Any
    """float32 (width,)."""


@dataclass(frozen=True)
class Work:
    prompt: list[int]
    trials: list[Trial]
    expected: list[list[int]]
    """mlxintro's tokens of every trial, from one batch."""
    plain: list[int]
    """Tokens without any injection."""

    @property
    def start(self) -> int:
        return len(self.prompt) - WINDOW


@dataclass(frozen=True)
class Contestant:
    title: str
    packages: tuple[str, ...]
    make: Callable[[Work], Run]
    rows: int = 1
    """Trials that run together."""
    trials: int = 6
    injected: bool = True
    note: str = ""


# --- PyTorch, one trial at a time --------------------------------------------------------------------------------


def _transformers_model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(_folder("torch"), dtype=torch.float32).eval()


def _generate(model: Any, prompts: Any) -> list[list[int]]:
    import torch

    with torch.inference_mode():
        tokens = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=NEW,
            min_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
        )
    return [row[prompts.shape[1] :] for row in tokens.tolist()]


def plain_hooks(work: Work) -> Run:
    """A forward hook on one block: (1, width) vectors, or (rows, width) for a batch."""
    import torch

    model = _transformers_model()

    def run(trials: Sequence[Trial]) -> list[list[int]]:
        vectors = torch.from_numpy(np.stack([trial.vector for trial in trials]))[:, None]

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            # The prompt is read in one call, its last tokens are in the window; every later call is one token in it.
            stream = (output[0] if isinstance(output, tuple) else output).clone()
            stream[:, -WINDOW:] += vectors
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        handle = model.model.layers[trials[0].layer].register_forward_hook(hook)
        try:
            return _generate(model, torch.tensor([work.prompt] * len(trials)))
        finally:
            handle.remove()

    return run


def nnsight(work: Work) -> Run:
    import torch
    from nnsight import LanguageModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = LanguageModel(_folder("torch"), dispatch=True, dtype=torch.float32)
    prompt = torch.tensor([work.prompt])

    def run(trials: Sequence[Trial]) -> list[list[int]]:
        [trial] = trials
        vector = torch.from_numpy(trial.vector)
        with (
            torch.no_grad(),
            model.generate(prompt, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False) as tracer,
        ):
            for _ in tracer.iter[:NEW]:
                model.model.layers[trial.layer].output[:, -WINDOW:] += vector
            tokens = tracer.result.save()
        return [tokens[0, len(work.prompt) :].tolist()]

    return run


def transformer_lens(work: Work) -> Run:
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = TransformerBridge.boot_transformers(_folder("torch"), device="cpu", dtype=torch.float32)
    prompt = torch.tensor([work.prompt])

    def run(trials: Sequence[Trial]) -> list[list[int]]:
        [trial] = trials
        vector = torch.from_numpy(trial.vector)

        def hook(stream: Any, hook: Any) -> Any:
            stream = stream.clone()
            stream[:, -WINDOW:] += vector
            return stream

        with torch.inference_mode(), model.hooks(fwd_hooks=[(f"blocks.{trial.layer}.hook_out", hook)]):
            tokens = model.generate(
                prompt,
                max_new_tokens=NEW,
                do_sample=False,
                stop_at_eos=False,
                prepend_bos=False,
                return_type="tokens",
                verbose=False,
            )
        return [tokens[0, len(work.prompt) :].tolist()]

    return run


def steering_vectors(work: Work) -> Run:
    import torch
    from steering_vectors import SteeringVector

    model = _transformers_model()
    prompt = torch.tensor([work.prompt])

    def run(trials: Sequence[Trial]) -> list[list[int]]:
        [trial] = trials
        vector = SteeringVector({trial.layer: torch.from_numpy(trial.vector)}, "decoder_block")
        # A slice from the end covers every later call of one token too; its first index would count from each call.
        with vector.apply(model, min_token_index=None, token_indices=slice(-WINDOW, None)):
            return _generate(model, prompt)

    return run


# --- MLX ---------------------------------------------------------------------------------------------------------


def _mlx_model() -> tuple[Any, Any]:
    from mlx_lm import load

    return load(_folder("mlx"))  # type: ignore[no-any-return]


def mlx_patched(work: Work) -> Run:
    """One block's class replaced by one that adds the vector, under mlx-lm's own loop."""
    import mlx.core as mx
    from mlx_lm.generate import generate_step

    model, _ = _mlx_model()
    block = type(model.layers[0])
    prompt = mx.array(work.prompt)

    def run(trials: Sequence[Trial]) -> list[list[int]]:
        [trial] = trials
        vector = mx.array(trial.vector)

        class Injected(block):  # type: ignore[misc,valid-type]
            def __call__(self, x: Any, mask: Any = None, cache: Any = None) -> Any:
                first = cache.offset
                stream = block.__call__(self, x, mask, cache)
                positions = first + mx.arange(x.shape[1])
                return mx.where((positions >= work.start)[:, None], stream + vector, stream)

        layer = model.layers[trial.layer]
        layer.__class__ = Injected
        try:
            return [[int(token) for token, _ in generate_step(prompt, model, max_tokens=NEW)]]
        finally:
            layer.__class__ = block

    return run


def mlx_batch(work: Work) -> Run:
    """mlx-lm's own batches, without injection: what batching alone gives."""
    from mlx_lm import batch_generate

    model, tokenizer = _mlx_model()

    def run(trials: Sequence[Trial]) -> list[list[int]]:
        prompts = [list(work.prompt) for _ in trials]
        found = batch_generate(model, tokenizer, prompts, max_tokens=NEW, return_token_ids=True)
        return [list(tokens) for tokens in found.token_ids]

    return run


# --- mlxintro ----------------------------------------------------------------------------------------------------


def mlxintro(backend: str, *, injected: bool = True) -> Callable[[Work], Run]:
    def make(work: Work) -> Run:
        from backends.base import Injection, Prompt, Request, Sampling
        from backends.registry import open_backend

        model = open_backend("smollm2", backend, dtype="float32", batch_size=LARGEST)

        def run(trials: Sequence[Trial]) -> list[list[int]]:
            prompts = [
                Prompt(tuple(work.prompt), (Injection(trial.layer, trial.vector, work.start),) if injected else ())
                for trial in trials
            ]
            requests = [Request(prompt, Sampling(max_tokens=NEW)) for prompt in prompts]
            done = sorted(model.generate(requests), key=lambda completion: completion.index)
            return [list(completion.tokens) for completion in done]

        return run

    return make


CONTESTANTS = {
    "hooks": Contestant("transformers `generate`, a forward hook", ("transformers", "torch"), plain_hooks),
    "nnsight": Contestant("nnsight", ("nnsight",), nnsight),
    "transformer-lens": Contestant("TransformerLens (bridge)", ("transformer-lens",), transformer_lens),
    "steering-vectors": Contestant("steering-vectors", ("steering-vectors",), steering_vectors),
    "hooks-64": Contestant(
        "transformers `generate`, a forward hook, 64 rows",
        ("transformers", "torch"),
        plain_hooks,
        rows=64,
        trials=64,
        note="one layer per batch",
    ),
    **{
        f"mlxintro-torch-{rows}": Contestant(
            f"**mlxintro**, torch, {rows} row{'s' * (rows > 1)}",
            ("torch",),
            mlxintro("torch"),
            rows=rows,
            trials=max(rows, 6),
        )
        for rows in (1, 16, 64, LARGEST)
    },
    "mlx-patched": Contestant("mlx-lm `generate_step`, a patched layer", ("mlx-lm",), mlx_patched),
    "mlx-batch-16": Contestant(
        "mlx-lm `batch_generate`, 16 rows", ("mlx-lm",), mlx_batch, rows=16, trials=16, injected=False
    ),
    **{
        f"mlxintro-mlx-{rows}{'' if injected else '-off'}": Contestant(
            f"**mlxintro**, mlx, {rows} row{'s' * (rows > 1)}",
            ("mlx", "mlx-lm"),
            mlxintro("mlx", injected=injected),
            rows=rows,
            trials=max(rows, 6),
            injected=injected,
        )
        for rows in (1, 16)
        for injected in (False, True)
    },
}
BASE = "hooks"


# --- one contestant, in a process of its own -----------------------------------------------------------------------


def compete(name: str, path: Path) -> dict[str, Any]:
    """Run one contestant.

    Returns:
        Trials per second, or the reason why there is none.
    """
    contestant = CONTESTANTS[name]
    for package in contestant.packages:
        if _version(package) is None:
            return {"reason": f"{package} is not installed"}
    work = _read(path)
    run = contestant.make(work)
    trials = work.trials[: contestant.trials]
    if contestant.note:
        trials = [Trial(LAYER, trial.vector) for trial in trials]
    batches = [trials[at : at + contestant.rows] for at in range(0, len(trials), contestant.rows)]
    run(trials[: min(2, contestant.rows)])
    started = time.perf_counter()
    tokens = [row for batch in batches for row in run(batch)]
    seconds = time.perf_counter() - started
    if any(len(row) != NEW for row in tokens):
        return {"reason": "a reply ended early"}
    compared = tokens[:1] if contestant.note else tokens
    wanted = work.expected[: len(compared)] if contestant.injected else [work.plain] * len(compared)
    same = sum(found == expected for found, expected in zip(compared, wanted, strict=True))
    return {"rate": len(trials) / seconds, "trials": len(trials), "same": same, "compared": len(compared)}


def prepare(path: Path) -> None:
    """Lay out the trials: vectors a third as long as the stream at their layer, in directions of their own.

    Those whose reply ends before its 60 tokens are left out, because not every library can be made to go on.
    """
    from backends.base import Injection, Prompt, Request, Sampling
    from backends.registry import open_backend

    candidates = LARGEST * 5 // 4
    with open_backend("smollm2", "torch", dtype="float32", batch_size=candidates) as model:
        prompt = model.tokenizer.render([{"role": "user", "content": STORY}]).tokens
        start = len(prompt) - WINDOW
        residual = model.capture([Prompt(prompt)])[0]["resid_post"]
        norms = np.linalg.norm(residual[:, start:], axis=-1).mean(axis=-1)
        layers = [(LAYER + number) % model.info.layers for number in range(candidates)]
        directions = np.random.default_rng(0).standard_normal((candidates, model.info.width))
        lengths = norms[layers] / 3 / np.linalg.norm(directions, axis=1)
        vectors = (directions * lengths[:, None]).astype(np.float32)
        prompts = [Prompt(prompt, (Injection(layers[at], vectors[at], start),)) for at in range(candidates)]
        sampling = Sampling(max_tokens=NEW)
        replies = {c.index: c.tokens for c in model.generate([Request(one, sampling) for one in prompts])}
        [plain] = model.generate([Request(Prompt(prompt), sampling)])
    kept = [at for at in range(candidates) if len(replies[at]) == NEW and replies[at] != plain.tokens]
    # The batch that injects at one layer shares its first trial with everybody.
    kept.sort(key=lambda at: layers[at] != LAYER)
    kept = [kept[0], *sorted(kept[1:])][:LARGEST]
    if len(kept) < LARGEST or layers[kept[0]] != LAYER or len(plain.tokens) != NEW:
        raise SystemExit(
            f"only {len(kept)} of {candidates} replies are {NEW} tokens long and differ from the plain one"
        )
    np.savez(
        path,
        prompt=prompt,
        layers=[layers[at] for at in kept],
        vectors=vectors[kept],
        expected=[replies[at] for at in kept],
        plain=plain.tokens,
    )


def _read(path: Path) -> Work:
    with np.load(path) as found:
        trials = [Trial(int(layer), vector) for layer, vector in zip(found["layers"], found["vectors"], strict=True)]
        return Work(found["prompt"].tolist(), trials, found["expected"].tolist(), found["plain"].tolist())


def _folder(framework: Any) -> str:
    from backends.models import resolve

    return str(resolve("smollm2", framework, dtype="float32").folder)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# --- rounds and the table ------------------------------------------------------------------------------------------


def _child(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return {"reason": lines[-1][:200] if lines else f"exit code {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def compare(names: Sequence[str], rounds: int) -> tuple[dict[str, list[dict[str, Any]]], list[float]]:
    """All contestants, ``rounds`` times in turn; also the machine's load before each."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    loads = []
    with TemporaryDirectory() as folder:
        path = Path(folder, "work.npz")
        failed = _child("--prepare", str(path))
        if "reason" in failed:
            raise SystemExit(f"the work could not be laid out: {failed['reason']}")
        for number in range(rounds):
            for name in names:
                if results[name] and "reason" in results[name][-1]:
                    continue
                loads.append(os.getloadavg()[0])
                results[name].append(_child("--compete", name, str(path)))
                print(f"round {number + 1} {name}: {results[name][-1]} (load {loads[-1]:.1f})", file=sys.stderr)
    return results, loads


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: trials per second, and ratios to plain hooks within the same round."""
    base = [round_.get("rate") for round_ in results.get(BASE, [])]
    lines = [
        "| contestant | version | injects | trials/s | times plain hooks (range) | same tokens | trials x rounds |",
        "|---|---|---|---:|---:|---|---|",
    ]
    for name, rounds in results.items():
        contestant = CONTESTANTS[name]
        version = ", ".join(f"{package} {_version(package)}" for package in contestant.packages if _version(package))
        injects = "no" if not contestant.injected else contestant.note or "yes, a layer per trial"
        timed = [one for one in rounds if "rate" in one]
        if not timed:
            lines.append(f"| {contestant.title} | {version} | {injects} | - | {rounds[-1]['reason']} | - | - |")
            continue
        ratios = [one["rate"] / other for one, other in zip(rounds, base, strict=False) if "rate" in one and other]
        spread = f"{median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})" if ratios else "-"
        same = f"{min(one['same'] for one in timed)} of {timed[0]['compared']}"
        lines.append(
            f"| {contestant.title} | {version} | {injects} | {median(one['rate'] for one in timed):.2f} | {spread} "
            f"| {same} | {timed[0]['trials']} x {len(timed)} |"
        )
    return "\n".join(lines)


def machine(loads: Sequence[float], arguments: argparse.Namespace) -> str:
    import psutil

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(": ")[2] if names else processor
    packages = ("torch", "transformers", "mlx", "mlx-lm", "numpy")
    return "\n".join(
        [
            f"- {datetime.now(UTC):%Y-%m-%d}, `python benchmarks/peers.py --rounds {arguments.rounds}`",
            f"- {processor}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
            f"{platform.system()}, Python {platform.python_version()}",
            "- " + ", ".join(f"{package} {_version(package)}" for package in packages),
            f"- load average before each run: {min(loads):.1f} to {max(loads):.1f}, median {median(loads):.1f}",
        ]
    )


BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def write(path: Path, text: str) -> None:
    """Put the results between the markers of a document."""
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{path} has no {BEGIN} ... {END}: the results are above")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--write", type=Path, help="a document with markers for the results")
    parser.add_argument("--compete", nargs=2, metavar=("NAME", "WORK"), help=argparse.SUPPRESS)
    parser.add_argument("--prepare", type=Path, metavar="WORK", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare)
        print("{}")
        return
    if arguments.compete:
        print(json.dumps(compete(arguments.compete[0], Path(arguments.compete[1]))))
        return
    results, loads = compare(list(dict.fromkeys(arguments.only)), arguments.rounds)
    text = f"{machine(loads, arguments)}\n\n{table(results)}"
    print(text)
    if arguments.write:
        write(arguments.write, text)


if __name__ == "__main__":
    main()
