"""What a model should say, worked out the slow and obvious way.

One row, no cache, no batch: the whole sequence is computed anew for every token, with plain hooks written for each
family by hand. The backends share no code with this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from mlxintro.backends.base import Injection, Prompt, Sampling
from mlxintro.backends.sampling import choose, uniforms


class Reference:
    def __init__(self, folder: Path, family: str) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        ).eval()
        self.replied: dict[tuple[object, ...], tuple[int, ...]] = {}
        self.sandwiched = family in ("gemma2", "gemma3")

    def module(self, layer: int, site: str) -> Any:
        block = self.model.model.layers[layer]
        if site == "attn_out":
            return block.post_attention_layernorm if self.sandwiched else block.self_attn
        if site == "head_out":
            return block.self_attn.o_proj
        if site == "mlp_out":
            return block.post_feedforward_layernorm if self.sandwiched else block.mlp
        return block

    def logits(self, tokens: Sequence[int], injections: Sequence[Injection] = ()) -> NDArray[np.float32]:
        """(tokens, vocabulary)."""
        with torch.no_grad(), self.injecting(injections, {}):
            result: NDArray[np.float32] = self.model(torch.tensor([list(tokens)]), use_cache=False).logits[0].numpy()
            return result

    def hidden(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """transformers' own record of the output of every block but the last: (layers - 1, tokens, width)."""
        with torch.no_grad():
            output = self.model(torch.tensor([list(tokens)]), use_cache=False, output_hidden_states=True)
        return torch.stack(output.hidden_states[1:-1])[:, 0].numpy()

    def arriving(self, tokens: Sequence[int], injections: Sequence[Injection]) -> NDArray[np.float32]:
        """Return the stream under injection as the next block finds it (transformers records before our hooks run)."""
        found: list[torch.Tensor] = []
        handles = [
            block.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0][0].clone()))
            for block in self.model.model.layers[1:]
        ]
        try:
            with torch.no_grad(), self.injecting(injections, {}):
                self.model(torch.tensor([list(tokens)]), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(found).numpy()

    def changes(self, tokens: Sequence[int], injections: Sequence[Injection]) -> dict[int, NDArray[np.float64]]:
        """Per injection, (touched positions, 2): ||after - before|| and the same relative to ||before||."""
        changes: dict[int, NDArray[np.float64]] = {}
        with torch.no_grad(), self.injecting(injections, changes):
            self.model(torch.tensor([list(tokens)]), use_cache=False)
        return changes

    def reply(self, prompt: Prompt, sampling: Sampling, ends: frozenset[int]) -> tuple[int, ...]:
        """Generated tokens, without the end token. Remembered: several backends are compared with the same reply."""
        values = [(i.layer, i.site, i.operation, i.start, i.stop, i.vector.tobytes()) for i in prompt.injections]
        key = (prompt.tokens, tuple(values), sampling, ends)
        if key not in self.replied:
            self.replied[key] = self._reply(prompt, sampling, ends)
        return self.replied[key]

    def _reply(self, prompt: Prompt, sampling: Sampling, ends: frozenset[int]) -> tuple[int, ...]:
        tokens = list(prompt.tokens)
        for uniform in uniforms(sampling.seed, sampling.max_tokens):
            logits = self.logits(tokens, prompt.injections)[-1]
            token = choose(logits, sampling.temperature, sampling.top_p, float(uniform))
            if token in ends:
                break
            tokens.append(token)
        return tuple(tokens[len(prompt.tokens) :])

    @contextmanager
    def injecting(self, injections: Sequence[Injection], changes: dict[int, NDArray[np.float64]]) -> Iterator[None]:
        handles = []
        for number, injection in enumerate(injections):
            module, changed = self.module(injection.layer, injection.site), _changed(injection, number, changes)
            if injection.site == "head_out":
                handles.append(module.register_forward_pre_hook(functools.partial(_on_input, changed)))
            else:
                handles.append(module.register_forward_hook(changed))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _on_input(changed: Callable[..., Any], module: Any, inputs: Any) -> Any:
    return changed(module, (), inputs)


def _changed(injection: Injection, number: int, changes: dict[int, NDArray[np.float64]]) -> Callable[..., Any]:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        stream = (output[0] if isinstance(output, tuple) else output).clone()
        vector = torch.tensor(injection.vector)
        size = injection.vector.shape[-1]
        columns = slice(None) if injection.head is None else slice(injection.head * size, (injection.head + 1) * size)
        window = (0, slice(injection.start, injection.stop), columns)
        before = stream[window].clone()
        if injection.operation == "add":
            stream[window] += vector
        elif injection.operation == "replace":
            stream[window] = vector
        else:
            direction = torch.atleast_2d(vector)
            along = (before * direction).sum(1, keepdim=True) / (direction * direction).sum(1, keepdim=True)
            stream[window] -= along * direction
        moved = (stream[window] - before).norm(dim=1)
        changes[number] = torch.stack([moved, moved / before.norm(dim=1)], dim=1).double().numpy()
        return (stream, *output[1:]) if isinstance(output, tuple) else stream

    return hook
