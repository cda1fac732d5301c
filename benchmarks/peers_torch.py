"""PyTorch contestants: what people inject with today, one trial at a time unless it says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.workload import WINDOW, Run, Trial, Work, folder


def _transformers_model() -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder("torch"), dtype=torch.float32).eval()


def _generate(model: Any, prompts: Any, new: int) -> list[list[int]]:
    import torch

    with torch.inference_mode():
        tokens = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
        )
    return [row[prompts.shape[1] :] for row in tokens.tolist()]


def plain_hooks(work: Work) -> Run:
    """A forward hook on one block: (1, width) vectors, or (rows, width) for a batch."""
    import torch

    model = _transformers_model()

    def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
        vectors = torch.from_numpy(np.stack([trial.vector for trial in trials]))[:, None]

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            # The prompt is read in one call, its last tokens are in the window; every later call is one token in it.
            stream = (output[0] if isinstance(output, tuple) else output).clone()
            stream[:, -WINDOW:] += vectors
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        handle = model.model.layers[trials[0].layer].register_forward_hook(hook)
        try:
            return _generate(model, torch.tensor([work.prompt] * len(trials)), new)
        finally:
            handle.remove()

    return run


def nnsight(work: Work) -> Run:
    import torch
    from nnsight import LanguageModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = LanguageModel(folder("torch"), dispatch=True, dtype=torch.float32)
    prompt = torch.tensor([work.prompt])

    def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
        [trial] = trials
        vector = torch.from_numpy(trial.vector)
        with (
            torch.no_grad(),
            model.generate(prompt, max_new_tokens=new, min_new_tokens=new, do_sample=False) as tracer,
        ):
            for _ in tracer.iter[:new]:
                model.model.layers[trial.layer].output[:, -WINDOW:] += vector
            tokens = tracer.result.save()
        return [tokens[0, len(work.prompt) :].tolist()]

    return run


def transformer_lens(work: Work) -> Run:
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = TransformerBridge.boot_transformers(folder("torch"), device="cpu", dtype=torch.float32)
    prompt = torch.tensor([work.prompt])

    def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
        [trial] = trials
        vector = torch.from_numpy(trial.vector)

        def hook(stream: Any, hook: Any) -> Any:
            stream = stream.clone()
            stream[:, -WINDOW:] += vector
            return stream

        with torch.inference_mode(), model.hooks(fwd_hooks=[(f"blocks.{trial.layer}.hook_out", hook)]):
            tokens = model.generate(
                prompt,
                max_new_tokens=new,
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

    def run(trials: Sequence[Trial], new: int) -> list[list[int]]:
        [trial] = trials
        vector = SteeringVector({trial.layer: torch.from_numpy(trial.vector)}, "decoder_block")
        # A slice from the end covers every later call of one token too; its first index would count from each call.
        with vector.apply(model, min_token_index=None, token_indices=slice(-WINDOW, None)):
            return _generate(model, prompt, new)

    return run
