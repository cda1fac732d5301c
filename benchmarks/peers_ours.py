"""mlxintro itself, through its public contract: a layer and a vector of its own for every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.workload import LARGEST, Run, Trial, Work


def mlxintro(backend: str, *, injected: bool = True) -> Callable[[Work], Run]:
    def make(work: Work) -> Run:
        from mlxintro.backends.base import Injection, Prompt, Request, Sampling
        from mlxintro.backends.registry import open_backend

        model = open_backend("smollm2", backend, dtype="float32", batch_size=LARGEST)

        def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
            prompts = [
                Prompt(tuple(work.prompt), (Injection(trial.layer, trial.vector, work.start),) if injected else ())
                for trial in trials
            ]
            requests = [Request(prompt, Sampling(max_tokens=new)) for prompt in prompts]
            done = sorted(model.generate(requests), key=lambda completion: completion.index)
            return [list(completion.tokens) for completion in done]

        return run

    return make
