"""The parts of the PyTorch backend that its contract does not show: hooks, padding, sampling, loading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM

from mlxintro.backends.base import SITES, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import KnownError, ModelError, PrerequisiteError, UsageError
from mlxintro.backends.models.sources import ModelSource, read_folder
from mlxintro.backends.prefix import groups, shared_prefix, usable
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.pytorch import loading
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.pytorch.batch import PromptReader, TorchBatch
from mlxintro.backends.pytorch.hooks import Injector, hooked
from mlxintro.backends.pytorch.model import Network
from mlxintro.backends.pytorch.sampling import choose
from mlxintro.backends.sampling import choose as reference_choice
from tests.tiny import FAMILIES, make_tiny

WIDTH = 64


def source_of(folder: Path) -> ModelSource:
    return read_folder(folder, name="tiny", repository=str(folder))


def tokens(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(4, 448, length).tolist())


def vector(seed: int = 0, scale: float = 1.0) -> Any:
    return (np.random.default_rng(seed).normal(size=WIDTH) * scale).astype(np.float32)


@pytest.fixture(scope="module", params=FAMILIES)
def backend(request: pytest.FixtureRequest, tiny: Callable[[str], Path]) -> Iterator[TorchBackend]:
    with torch_backend.load(source_of(tiny(request.param)), device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def llama(tiny: Callable[[str], Path]) -> Iterator[TorchBackend]:
    with torch_backend.load(source_of(tiny("llama")), device="cpu") as opened:
        yield opened


# A module that answers with a tuple, as decoder layers did before transformers 5.
class _Old(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, str]:
        return self.block(*args, **kwargs), "kept"


def test_tensors_and_tuples_are_edited_alike(llama: TorchBackend) -> None:
    network = llama.network
    wrapped = replace(network, blocks=(_Old(network.blocks[0]), *network.blocks[1:]))
    stream = torch.randn(1, 3, WIDTH)
    position = network.trunk.rotary_emb(stream, torch.arange(3)[None])  # type: ignore[operator]
    for subject, pick in ((network, lambda out: out), (wrapped, lambda out: out[0])):
        plain = pick(subject.blocks[0](stream, position_embeddings=position))
        with hooked(subject, {(0, "resid_post"): [lambda x: x + 1, lambda x: x * 2]}):
            edited = subject.blocks[0](stream, position_embeddings=position)
        torch.testing.assert_close(pick(edited), (plain + 1) * 2)
        if subject is wrapped:
            assert edited[1] == "kept"


def test_handles_of_others_survive_and_ours_do_not(llama: TorchBackend) -> None:
    block = llama.network.blocks[1]
    calls = []
    handle = block.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ZeroDivisionError), hooked(llama.network, {(1, "resid_post"): [lambda x: x / (1 // 0)]}):
        llama.network.model(torch.tensor([[1, 2]]))
    assert list(block._forward_hooks) == [handle.id]
    llama.network.model(torch.tensor([[1, 2]]))
    handle.remove()
    assert calls


def test_strength_zero_keeps_even_the_sign_of_zero(llama: TorchBackend) -> None:
    prompt = Prompt(tokens(3), (Injection(0, np.zeros(WIDTH, np.float32), start=0),))
    [[edit]] = (
        Injector(llama.network, [prompt]).begin(torch.arange(3)[None], np.array([0]), np.array([3])).edits.values()
    )
    assert torch.signbit(edit(torch.full((1, 3, WIDTH), -0.0))).all()


def test_a_site_that_a_block_lacks_leaves_no_handle_behind(llama: TorchBackend) -> None:
    bare = replace(llama.network, blocks=(llama.network.blocks[0], nn.Identity()))
    with (
        pytest.raises(UsageError, match="resid_post"),
        hooked(bare, {(0, "resid_post"): [lambda x: x], (1, "mlp_out"): [lambda x: x]}),
    ):
        pass
    assert not llama.network.blocks[0]._forward_hooks


@pytest.mark.parametrize("tail", [(1, 1, 1), (1, 30, 12)])
def test_a_shared_prefix_gives_the_logits_of_a_full_prefill(backend: TorchBackend, tail: tuple[int, ...]) -> None:
    head = tokens(50)
    prompts = [
        Prompt(head + tokens(length, row + 1), (Injection(1, vector(row), start=40 + 3 * row, site=SITES[row]),))
        for row, length in enumerate(tail)
    ]
    results = []
    for stream in (
        TorchBatch(backend.network, prompts, chunk=16).prefill(),
        PromptReader(backend.network, prompts, chunk=16).read(prompts),
    ):
        results.append((stream.logits.numpy(), [stream.proofs(row) for row in range(3)]))
    (plain, plain_proofs), (shared, shared_proofs) = results
    np.testing.assert_allclose(plain, shared, rtol=1e-4, atol=2e-5)
    for ours, theirs in zip(plain_proofs, shared_proofs, strict=True):
        assert (ours[0].positions, ours[0].first) == (theirs[0].positions, theirs[0].first)


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3"])
def test_padded_rows_keep_their_sliding_window(family: str, tmp_path: Path) -> None:
    folder = make_tiny(family, tmp_path, sliding_window=8)
    with torch_backend.load(source_of(folder), device="cpu") as opened:
        requests = [Request(Prompt(tokens(n, n)), Sampling(max_tokens=20)) for n in (40, 3, 9, 21)]
        replies = sorted(opened.generate(requests), key=lambda completion: completion.index)
        model = opened.network.model
        for request, reply in zip(requests, replies, strict=True):
            sequence = list(request.prompt.tokens)
            while len(sequence) < reply.forwarded + (reply.finish == "length"):
                with torch.no_grad():
                    sequence.append(int(model(torch.tensor([sequence]), use_cache=False).logits[0, -1].argmax()))
            assert tuple(sequence[len(request.prompt.tokens) :]) == reply.tokens


def test_the_prefix_ends_before_the_first_injection_and_leaves_every_row_a_token() -> None:
    head = tokens(30)
    assert shared_prefix([Prompt(head), Prompt(head)]) == head[:29]
    assert shared_prefix([Prompt(head), Prompt((*head, 5), (Injection(0, vector(), start=12),))]) == head[:12]
    assert shared_prefix([Prompt(head), Prompt((head[0] + 1, *head[1:]))]) == ()
    assert shared_prefix([Prompt(head), Prompt(head[:20])]) == head[:19]
    assert shared_prefix([Prompt(head)]) == shared_prefix([]) == ()
    # An outlier does not spoil it for the rest.
    assert shared_prefix([Prompt(head), Prompt(head[:3]), Prompt(head)]) == head[:29]
    assert usable(Prompt(head, (Injection(0, vector(), start=15),)), head[:29]) == 15
    assert usable(Prompt(head[:20]), head[:29]) == 19


def test_prompts_are_read_together_unless_padding_would_cost_too_much() -> None:
    assert groups([50, 50, 50], [40, 40, 40]) == [(40, [0, 1, 2])]
    assert groups([50, 300, 50], [0, 0, 0]) == [(0, [0, 2]), (0, [1])]
    assert groups([50, 50, 50], [40, 0, 40]) == [(40, [0, 2]), (0, [1])]


def test_choices_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 300)).astype(np.float32) * 3
    logits[::7, 100:200] = logits[::7, :100]
    samplings = [
        Sampling(temperature=float(t), top_p=float(p))
        for t, p in zip(rng.choice([0, 0.3, 1, 2.5], 400), rng.choice([1e-6, 0.1, 0.5, 0.95, 1], 400), strict=True)
    ]
    draws = rng.choice([0.0, 1 - 2**-53, *rng.random(50)], 400)
    expected = [
        reference_choice(row, s.temperature, s.top_p, float(u))
        for row, s, u in zip(logits, samplings, draws, strict=True)
    ]
    assert choose(torch.from_numpy(logits), samplings, draws) == expected


def test_the_lowest_of_equal_logits_is_greedy() -> None:
    assert choose(torch.tensor([[0.0, 2.0, 2.0], [5.0, 5.0, 5.0]]), [Sampling()] * 2, np.zeros(2)) == [1, 0]


def test_logits_that_are_not_numbers_are_no_token() -> None:
    table = torch.tensor([[0.0, 1.0], [float("nan"), 1.0]])
    assert choose(table, [Sampling()] * 2, np.zeros(2)) == [1, None]
    assert choose(table, [Sampling(temperature=1.0)] * 2, np.zeros(2)) == [0, None]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_adds_in_float32_and_rounds_once(tiny: Callable[[str], Path], dtype: str) -> None:
    with torch_backend.load(source_of(tiny("llama")), device="cpu", dtype=dtype) as opened:
        assert opened.info.dtype == dtype
        plain = Prompt(tokens(12))
        v = vector(1, 0.37)
        injected = replace(plain, injections=(Injection(2, v, start=4, stop=9),))
        before, after = (opened.capture([p], layers=[2])[0]["resid_post"][0] for p in (plain, injected))
        kind = loading.DTYPES[dtype]
        expected = before.copy()
        expected[4:9] = torch.from_numpy(before[4:9] + v).to(kind).float().numpy()
        np.testing.assert_array_equal(after, expected)


def test_a_change_lost_in_rounding_is_an_error_and_not_a_control(tiny: Callable[[str], Path]) -> None:
    with torch_backend.load(source_of(tiny("llama")), device="cpu", dtype="bfloat16") as opened:
        stream = opened.capture([Prompt(tokens(12))], layers=[2])[0]["resid_post"][0, 4:]
        # Half of the last of bfloat16's eight bits is 2**-9 of a number: this is nothing to every number of the window.
        lost = np.abs(stream).min(axis=0) * np.float32(2**-12)
        assert lost.any()
        with pytest.raises(KnownError, match="larger strength"):
            opened.capture([Prompt(tokens(12), (Injection(2, lost, start=4),))])


def test_an_overflow_is_reported_and_spares_the_model(tiny: Callable[[str], Path]) -> None:
    with torch_backend.load(source_of(tiny("llama")), device="cpu", dtype="float16") as opened:
        fine = Request(Prompt(tokens(12)), Sampling(max_tokens=4))
        before = next(opened.generate([fine]))
        with pytest.raises(ModelError, match="overflowed"):
            list(opened.generate([Request(Prompt(tokens(12), (Injection(1, vector(1, 1e6), start=4),)))]))
        assert next(opened.generate([fine])) == before


def test_memory_is_freed_with_the_backend(tiny: Callable[[str], Path]) -> None:
    import weakref

    opened = torch_backend.load(source_of(tiny("qwen2")), device="cpu")
    list(opened.generate([Request(Prompt(tokens(12)), Sampling(max_tokens=3))]))
    weights = weakref.ref(opened.network.model.get_input_embeddings().weight)
    opened.close()
    assert weights() is None


def edited(folder: Path, target: Path, **changes: Any) -> ModelSource:
    shutil.copytree(folder, target)
    path = target / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(config))
    return replace(source_of(folder), folder=target, config=config)


def test_damaged_weights_are_one_line(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    source = edited(tiny("llama"), tmp_path / "damaged")
    weights = source.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be loaded") as raised:
        torch_backend.load(source, device="cpu")
    assert "\n" not in str(raised.value)


def test_missing_weights_are_not_filled_with_random_numbers(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"incomplete.*layers\.4"):
        torch_backend.load(
            edited(tiny("llama"), tmp_path / "more", num_hidden_layers=5, layer_types=None), device="cpu"
        )


def test_an_unknown_architecture_is_one_line_that_names_it(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    source = edited(tiny("llama"), tmp_path / "unknown", model_type="brainfuse", architectures=["BrainFuse"])
    with pytest.raises(ModelError, match="brainfuse") as raised:
        torch_backend.load(source, device="cpu")
    assert "\n" not in str(raised.value)


def test_a_model_laid_out_otherwise_is_refused_by_name() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("rwkv", vocab_size=64, hidden_size=16, num_hidden_layers=2, attention_hidden_size=16)
    with pytest.raises(ModelError, match=r"(?i)rwkv"):
        Network.of(AutoModelForCausalLM.from_config(config)).verify()


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox", "phi3", "olmo2", "cohere", "granite"])
def test_other_architectures_are_found_and_read_right(model_type: str) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        model_type,
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    if model_type == "granite":
        config.logits_scaling, config.residual_multiplier = 8.0, 0.2
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    network = Network.of(model)
    network.verify()
    prompts = [Prompt((5, 6, 7, 8, 9)), Prompt((5, 6))]
    stream = TorchBatch(network, prompts, chunk=3).prefill()
    assert stream._logits is not None
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            expected = model(torch.tensor([prompt.tokens])).logits[0, -1]
        torch.testing.assert_close(stream._logits[row], expected, rtol=1e-4, atol=2e-5)


def test_weights_for_mlx_are_sent_to_mlx(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    source = edited(tiny("llama"), tmp_path / "mlx", quantization={"group_size": 64, "bits": 4})
    with pytest.raises(ModelError, match="--backend mlx"):
        torch_backend.load(source, device="cpu")


@pytest.mark.parametrize(
    ("settings", "error", "complaint"),
    [
        ({"device": "tpu"}, UsageError, "cuda, cuda:0, mps or cpu"),
        ({"device": "cuda:x"}, UsageError, "no device"),
        ({"dtype": "float8", "device": "cpu"}, UsageError, "no dtype"),
        ({"quantize": "3bit", "device": "cpu"}, UsageError, "knows 4bit"),
        ({"quantize": "4bit", "device": "cpu"}, PrerequisiteError, "CUDA"),
    ],
)
def test_settings_that_cannot_be_are_one_line(
    tiny: Callable[[str], Path], settings: dict[str, str], error: type[KnownError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint) as raised:
        torch_backend.load(source_of(tiny("llama")), **settings)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_gpu_is_one_line(tiny: Callable[[str], Path]) -> None:
    with pytest.raises(PrerequisiteError, match="--device cpu"):
        torch_backend.load(source_of(tiny("llama")), device="cuda")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_says_what_the_cpu_says(tiny: Callable[[str], Path]) -> None:
    requests = [
        Request(Prompt(tokens(10 + 7 * row, row), (Injection(row % 4, vector(row), start=5),)), Sampling(max_tokens=12))
        for row in range(5)
    ]
    said = []
    for device in ("cpu", "cuda"):
        with torch_backend.load(source_of(tiny("llama")), device=device, dtype="float32") as opened:
            said.append(sorted(opened.generate(requests), key=lambda completion: completion.index))
    assert [c.tokens for c in said[0]] == [c.tokens for c in said[1]]


def test_a_family_with_a_bias_from_a_mask_per_prompt_is_refused_in_one_line() -> None:
    config = BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4)
    with pytest.raises(ModelError, match=r"does not take a mask per token and row.*neither backend") as refused:
        Network.of(BloomForCausalLM(config).eval()).verify()
    assert "\n" not in str(refused.value)


def test_a_model_whose_layers_hand_on_several_streams_is_refused() -> None:
    """Gemma 3n: there is no one residual stream to read, and what was injected would go into all or the wrong one."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    settings |= {"vocab_size": 64, "vocab_size_per_layer_input": 64, "hidden_size_per_layer_input": 8, "head_dim": 8}
    settings |= {"num_kv_shared_layers": 0, "laurel_rank": 8, "num_key_value_heads": 2}
    config = AutoConfig.for_model("gemma3n_text", **settings, activation_sparsity_pattern=[0.0] * 2)
    with pytest.raises(ModelError, match=r"4 x 2 x 3 x 32") as refused:
        Network.of(AutoModelForCausalLM.from_config(config).eval()).verify()
    assert "\n" not in str(refused.value)


def test_rows_that_see_later_tokens_are_told_from_single_rows() -> None:
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    network = Network.of(LlamaForCausalLM(config).eval())
    network.verify()

    class Blind(Network):
        def read(self, ids: torch.Tensor, positions: torch.Tensor, width: int, cache: Any = None) -> torch.Tensor:
            everything = torch.ones(len(ids), 1, ids.shape[1], width, dtype=torch.bool)
            read: torch.Tensor = self.trunk(input_ids=ids, attention_mask=everything, use_cache=False).last_hidden_state
            return read

    with pytest.raises(ModelError, match="positions, masks or logits"):
        Blind.of(network.model).verify()
