"""Layers that carry a state from token to token, on torch: what is read and decoded together is what each says alone.

The judge is transformers' own ``generate`` with its own cache, one prompt at a time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mlxintro.backends.base import Injection, Prompt, Request, Sampling
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.pytorch.graph import Graphs
from mlxintro.backends.pytorch.past.slots import SlotCache
from mlxintro.backends.pytorch.past.states import LayerStates
from tests.families import build

SLOW = ("mamba2", "qwen3_5_text", "lfm2", "granitemoehybrid", "nemotron_h", "falcon_h1")
FAMILIES = ("qwen3_next", "mamba", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW))
NEW = 6


class Opened:
    """A tiny model as transformers has it, and as the backend has it."""

    def __init__(self, family: str, folder: Path) -> None:
        self.model = build(family, folder)
        source = read_folder(folder, name=family, repository=family)
        self.backend: TorchBackend = torch_backend.load(source, device="cpu", dtype="float32", batch_size=3)

    def alone(self, tokens: tuple[int, ...]) -> list[int]:
        """What transformers' own generation says, until the backend would end."""
        found = self.model.generate(
            torch.tensor([tokens]), max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        said: list[int] = found[0, len(tokens) :].tolist()
        ends = [at for at, token in enumerate(said) if token in self.backend.tokenizer.end_tokens]
        return said[: ends[0]] if ends else said


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    found = Opened(request.param, tmp_path_factory.mktemp(request.param))
    yield found
    found.backend.close()


def drawn(*lengths: int) -> list[tuple[int, ...]]:
    random = np.random.default_rng(7)
    return [tuple(random.integers(4, 300, length).tolist()) for length in lengths]


def replies(backend: TorchBackend, prompts: list[Prompt], new: int = NEW) -> list[Any]:
    requests = [Request(prompt, Sampling(max_tokens=new)) for prompt in prompts]
    return sorted(backend.generate(requests), key=lambda reply: reply.index)


def test_rows_of_different_lengths_say_what_transformers_says_of_each_alone(opened: Opened) -> None:
    """Seven prompts in batches of three: rows leave, move up and are joined by others."""
    prompts = drawn(20, 22, 21, 3, 20, 22, 1)
    said = replies(opened.backend, [Prompt(tokens) for tokens in prompts])
    assert [list(one.tokens) for one in said] == [opened.alone(tokens) for tokens in prompts]


def test_a_beginning_that_is_shared_is_gone_on_from_where_each_prompt_leaves_it(opened: Opened) -> None:
    """Two lengths of what is shared: a state at the end of the longer cannot be cut back to the shorter."""
    (beginning,) = drawn(40)
    tails = drawn(4, 6, 4, 5)
    prompts = [beginning + tail for tail in tails] + [beginning[:15] + tail for tail in tails[:2]]
    said = replies(opened.backend, [Prompt(tokens) for tokens in prompts])
    assert [list(one.tokens) for one in said] == [opened.alone(tokens) for tokens in prompts]


def test_what_is_read_a_piece_at_a_time_is_what_is_read_at_once(opened: Opened) -> None:
    network, tokenizer = opened.backend.network, opened.backend.tokenizer
    pieces = TorchBackend(network.model, tokenizer, opened.backend.info, batch_size=3, prefill_chunk=5)
    prompts = drawn(17, 12)
    said = replies(pieces, [Prompt(tokens) for tokens in prompts])
    assert [list(one.tokens) for one in said] == [opened.alone(tokens) for tokens in prompts]


def test_continuations_have_the_probabilities_of_one_forward_pass(opened: Opened) -> None:
    """The prompts have lengths that other models read together, padded."""
    prompts = drawn(20, 22, 21)
    continuations = drawn(1, 5, 5)
    found = opened.backend.score([Prompt(tokens) for tokens in prompts], [continuations] * 3)
    for prompt, scores in zip(prompts, found, strict=True):
        for tokens, logprobs in zip(continuations, scores, strict=True):
            with torch.no_grad():
                logits = opened.model(input_ids=torch.tensor([prompt + tokens]), use_cache=False).logits[0]
            whole = torch.log_softmax(logits.double(), -1)
            expected = [whole[len(prompt) - 1 + at, token] for at, token in enumerate(tokens)]
            np.testing.assert_allclose(logprobs, expected, atol=1e-4)


def test_an_injection_changes_its_own_row_only_and_is_proven(opened: Opened) -> None:
    prompts = drawn(10, 10, 13)
    vector = np.random.default_rng(1).normal(size=opened.backend.info.width).astype(np.float32) * 3
    inject = (Injection(1, vector, 4),)
    plain = replies(opened.backend, [Prompt(tokens) for tokens in prompts])
    mixed = replies(opened.backend, [Prompt(prompts[0], inject), Prompt(prompts[1]), Prompt(prompts[2], inject)])
    alone = replies(opened.backend, [Prompt(prompts[0], inject)])
    assert mixed[1].tokens == plain[1].tokens
    assert mixed[0].tokens == alone[0].tokens != plain[0].tokens
    assert mixed[0].proofs[0].positions == mixed[0].forwarded - 4
    assert mixed[0].proofs[0].change == pytest.approx(float(np.linalg.norm(vector)), rel=1e-4)


def test_a_family_that_reads_anew_is_told_from_one_that_reads_on(opened: Opened) -> None:
    """Mamba's scan over several tokens takes no state, that of the others does."""
    assert opened.backend.network.carries
    assert opened.backend.network.resumes == (opened.backend.info.architecture != "mamba")


def test_a_step_that_carries_a_state_is_never_recorded_as_a_graph() -> None:
    """Recording runs a step several times; a state would go on each time."""
    on_card = SimpleNamespace(device=torch.device("cuda:0"))
    model = SimpleNamespace(parameters=lambda: iter([on_card]))
    networks: Any = [SimpleNamespace(model=model, device=on_card.device, carries=carries) for carries in (True, False)]
    assert Graphs.on(networks[0]) is None
    assert Graphs.on(networks[1]) is not None


def test_slots_of_states_move_and_grow() -> None:
    rows = torch.arange(6.0).view(3, 2)
    states, others = LayerStates(), LayerStates()
    states.put(("recurrent", 0), rows)
    states.move([2], [0])
    others.put(("recurrent", 0), rows + 10)
    states.absorb(others, 2, 2)
    held = states.get(("recurrent", 0), 4)
    assert held is not None
    assert held.tolist() == [[4, 5], [2, 3], [10, 11], [12, 13]]
    assert states.chosen([3, 3]).get(("recurrent", 0), 2).tolist() == [[12, 13], [12, 13]]  # type: ignore[union-attr]


def test_the_memory_of_a_batch_is_free_as_soon_as_it_is_done(opened: Opened) -> None:
    """Gigabytes a batch: they cannot wait for the garbage collector, which counts objects and not bytes."""
    prompts = [Prompt(tokens) for tokens in drawn(20, 22, 21)]
    gc.collect()
    gc.disable()
    try:
        opened.backend.score(prompts, [drawn(3, 5)] * 3)
        replies(opened.backend, prompts)
        left = [one for one in gc.get_objects() if type(one) is SlotCache]
    finally:
        gc.enable()
    assert not left
