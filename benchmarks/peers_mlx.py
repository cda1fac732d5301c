"""MLX contestants: what mlx-lm offers by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.workload import Run, Trial, Work, folder


def _mlx_model() -> tuple[Any, Any]:
    from mlx_lm import load

    return load(folder("mlx"))  # type: ignore[no-any-return]


def mlx_patched(work: Work) -> Run:
    """One block's class replaced by one that adds the vector, under mlx-lm's own loop."""
    import mlx.core as mx
    from mlx_lm.generate import generate_step

    model, _ = _mlx_model()
    block = type(model.layers[0])
    prompt = mx.array(work.prompt)

    def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
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
            return [[int(token) for token, _ in generate_step(prompt, model, max_tokens=new)]]
        finally:
            layer.__class__ = block

    return run


def mlx_lens(work: Work) -> Run:
    """``LensModel.steer`` around mlx-lm's ``stream_generate``, which its ``generate`` joins to a text."""
    from mlx_lens import LensModel
    from mlx_lm import stream_generate

    lens = LensModel(folder("mlx"))
    # A reply that ended early would be another amount of work.
    lens.tokenizer._eos_token_ids = set()

    def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
        [trial] = trials
        with lens.steer(layer=trial.layer, vector=trial.vector, scale=1.0):
            return [[one.token for one in stream_generate(lens.model, lens.tokenizer, work.prompt, max_tokens=new)]]

    return run


def mlx_batch(work: Work) -> Run:
    """mlx-lm's own batches, without injection: what batching alone gives."""
    from mlx_lm import batch_generate

    model, tokenizer = _mlx_model()

    def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
        prompts = [list(work.prompt) for _ in trials]
        found = batch_generate(
            model, tokenizer, prompts, max_tokens=new, return_token_ids=True, prefill_batch_size=len(prompts)
        )
        return [list(tokens) for tokens in found.token_ids]

    return run
