"""The decoding step of fixed shapes against the eager one, on the CPU.

A CUDA graph repeats recorded kernels on fixed memory without running any Python. ``Recording`` does the same here: it
traces the step's tensor operations once and replays those. What Python computed while tracing is frozen into the trace
as it would be into a graph, and whatever asks for a value on the host is refused, as it is by capture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from mlxintro.backends import engine
from mlxintro.backends.base import OPERATIONS, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import ModelError
from mlxintro.backends.models.sources import read_folder
from mlxintro.backends.pytorch import backend as torch_backend
from mlxintro.backends.pytorch import graph as torch_graph
from mlxintro.backends.pytorch.backend import TorchBackend
from mlxintro.backends.pytorch.batch import PromptReader, TorchDecoder
from mlxintro.backends.pytorch.graph import Body, CudaRecorder, GraphDecoder, Graphs, StaticStep, Structure
from tests.tiny import make_tiny

WIDTH = 64
MODELS = (
    pytest.param(("llama", None), id="llama", marks=pytest.mark.slow),
    pytest.param(("qwen2", None), id="qwen2", marks=pytest.mark.slow),
    pytest.param(("qwen3", None), id="qwen3", marks=pytest.mark.slow),
    pytest.param(("mistral", 24), id="mistral", marks=pytest.mark.slow),
    pytest.param(("gemma2", 24), id="gemma2", marks=pytest.mark.slow),
    pytest.param(("gemma3", 32), id="gemma3"),
)
"""Prompts and replies are longer than these windows. Tracing takes seconds a family: one has windows, one is below."""


@pytest.fixture(scope="module", params=MODELS)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchBackend]:
    family, window = request.param
    folder = make_tiny(family, tmp_path_factory.mktemp(family), sliding_window=window)
    with torch_backend.load(read_folder(folder, name="tiny", repository=str(folder)), device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchBackend]:
    # As many layers as are injected into: the time that tracing takes grows with them.
    folder = make_tiny("llama", tmp_path_factory.mktemp("llama"), layers=3)
    with torch_backend.load(read_folder(folder, name="tiny", repository=str(folder)), device="cpu") as opened:
        yield opened


def _waits(node: Any) -> bool:
    """Whether an operation's shape depends on values, which tracing takes and a GPU asks the host for."""
    if node.target in (torch.ops.aten.nonzero.default, torch.ops.aten.masked_select.default):
        return True
    if node.target is not torch.ops.aten.index.Tensor:
        return False
    return any(index is not None and index.meta["val"].dtype == torch.bool for index in node.args[1])


class Recording:
    """Counts what was recorded and replayed."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, body: Body) -> Body:
        body()
        unused = torch.zeros(())  # make_fx wants an argument
        trace = make_fx(lambda _: body())(unused)
        self.recorded += 1
        waiting = [node.target for node in trace.graph.nodes if _waits(node)]
        if waiting:
            raise RuntimeError(f"shapes that depend on values: {waiting}")

        def replay() -> Tensor:
            self.replayed += 1
            found: Tensor = trace(unused)
            return found

        return replay


def requests(count: int, length: int = 40) -> list[Request]:
    """Rows of several lengths, layers, windows and operations, two injections at one place among them."""
    random = np.random.default_rng(5)
    result = []
    for index in range(count):
        size = 12 + 7 * (index % 4)
        start = (0, size - 2, size + 9, size + 20)[index % 4]
        vector = random.normal(size=WIDTH).astype(np.float32)
        first = Injection(
            index % 3,
            vector * 3,
            start,
            None if index % 2 else start + 25,
            operation=OPERATIONS[index % 3],
        )
        others = [Injection(index % 3, vector * 2, size + 4, None)] if index % 5 == 1 else []
        prompt = Prompt(tuple(random.integers(4, 448, size).tolist()), (first, *others) if index % 6 else ())
        result.append(Request(prompt, Sampling(max_tokens=length - 9 * (index % 3), temperature=0.0)))
    return result


def run(backend: TorchBackend, asked: list[Request], graphs: Graphs | None, rows: int = 4) -> list[Any]:
    prompts = [request.prompt for request in asked]
    reader = PromptReader(backend.network, prompts, chunk=64)
    decoder = TorchDecoder(reader) if graphs is None else GraphDecoder(backend.network, reader, prompts, graphs)
    return sorted(engine.run(asked, decoder, backend.tokenizer, rows, None), key=lambda each: each.index)


def same(found: list[Any], expected: list[Any]) -> None:
    assert [each.tokens for each in found] == [each.tokens for each in expected]
    for one, other in zip(found, expected, strict=True):
        for mine, theirs in zip(one.proofs, other.proofs, strict=True):
            assert (mine.layer, mine.operation, mine.positions) == (theirs.layer, theirs.operation, theirs.positions)
            assert (mine.first, mine.last) == (theirs.first, theirs.last)
            assert mine.change == pytest.approx(theirs.change, rel=1e-4)
            assert mine.relative_change == pytest.approx(theirs.relative_change, rel=1e-4)


def test_replies_and_proofs_are_those_of_the_eager_step(backend: TorchBackend) -> None:
    asked = requests(6)
    recording = Recording()
    graphs = Graphs(recording)
    found = run(backend, asked, graphs)
    same(found, run(backend, asked, None))
    assert graphs.trusted
    # Two replays per record are checks; most steps must have been replays that nothing stood beside.
    assert recording.replayed > 2 * recording.recorded + 20


def test_logits_are_those_of_the_eager_step(backend: TorchBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_graph, "_EAGER_STEPS", 0)
    prompts = [request.prompt for request in requests(3)]
    recording = Recording()
    static = GraphDecoder(backend.network, PromptReader(backend.network, prompts, chunk=64), prompts, Graphs(recording))
    eager = TorchDecoder(PromptReader(backend.network, prompts, chunk=64))
    for decoder in (static, eager):
        decoder.admit(prompts)
    random = np.random.default_rng(0)
    for _ in range(30):
        tokens = random.integers(4, 448, 3).tolist()
        static.step(tokens)
        eager.step(tokens)
        torch.testing.assert_close(static._live.logits, eager._live.logits, rtol=1e-4, atol=1e-4)
    assert (recording.recorded, recording.replayed) == (1, 30)


def test_a_reply_outgrows_its_columns(llama: TorchBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_graph, "_COLUMNS", 32)
    asked = requests(3, 60)
    recording = Recording()
    same(run(llama, asked, Graphs(recording)), run(llama, asked, None))
    assert recording.recorded > 2


def alike(count: int = 4) -> list[Request]:
    """Rows that end together, so that one graph does for all of a call."""
    return [replace(request, sampling=Sampling(max_tokens=14)) for request in requests(count)]


@pytest.fixture(scope="module")
def recorded(llama: TorchBackend) -> tuple[Recording, StaticStep]:
    """The step that one call has recorded and left behind."""
    recording = Recording()
    graphs = Graphs(recording, spare=lambda: 2**40)
    run(llama, alike(), graphs)
    [static] = graphs._kept
    return recording, static


def kept_by(recorded: tuple[Recording, StaticStep]) -> Graphs:
    graphs = Graphs(recorded[0], spare=lambda: 2**40)
    graphs.keep([recorded[1]])
    return graphs


def test_the_next_call_replays_what_the_last_one_recorded(
    llama: TorchBackend, recorded: tuple[Recording, StaticStep]
) -> None:
    """A study is many calls. What they inject differs; where and how it may be injected is in the graph."""
    recording, graphs = recorded[0], kept_by(recorded)
    replayed = recording.replayed
    asked = alike()[::-1]
    same(run(llama, asked, graphs), run(llama, asked, None))
    # From the first step on: nothing has to be made up for.
    assert (recording.recorded, recording.replayed) == (1, replayed + 13)
    # Fewer kinds of injections are a part of what the graph can do, other places and operations are not.
    plain = [replace(request, prompt=Prompt(request.prompt.tokens)) for request in asked]
    same(run(llama, plain, graphs), run(llama, plain, None))
    assert (recording.recorded, recording.replayed) == (1, replayed + 26)
    structure = recorded[1].structure
    assert structure.covers(structure)
    assert not structure.covers(Structure({(3, "resid_post"): 1}, frozenset()))
    assert not structure.covers(Structure({}, frozenset({7})))


def test_a_graph_is_kept_only_where_there_is_room_for_another_cache(
    llama: TorchBackend, recorded: tuple[Recording, StaticStep]
) -> None:
    graphs, static = kept_by(recorded), recorded[1]
    graphs.spare = lambda: 2 * static.cache.bytes - 1
    graphs.keep([static])
    assert not graphs._kept
    graphs.spare = lambda: 2 * static.cache.bytes
    graphs.keep([static])
    assert graphs._kept
    # Memory that runs short takes it back.
    backend = TorchBackend(llama.network.model, llama.tokenizer, llama.info)
    backend._graphs = graphs
    backend._release()
    assert not graphs._kept


def test_a_kept_graph_that_has_gone_wrong_is_noticed(
    llama: TorchBackend, recorded: tuple[Recording, StaticStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call compares it once with the eager step before it goes by it."""
    graphs = kept_by(recorded)
    replay: Any = recorded[1]._replay
    monkeypatch.setattr(recorded[1], "_replay", lambda: replay() + 1)
    same(run(llama, alike(), graphs), run(llama, alike(), None))
    assert not graphs.trusted


def test_a_row_that_overflows_leaves_the_others_alone(llama: TorchBackend) -> None:
    asked = requests(4)
    size = len(asked[0].prompt.tokens)
    broken = Injection(0, np.full(WIDTH, 3e38, np.float32), size + 15, None)
    asked[0] = Request(Prompt(asked[0].prompt.tokens, (broken, broken)), asked[0].sampling)
    rest = run(llama, asked[1:], None)
    graphs = Graphs(Recording())
    prompts = [request.prompt for request in asked]
    decoder = GraphDecoder(llama.network, PromptReader(llama.network, prompts, chunk=64), prompts, graphs)
    completions = engine.run(asked, decoder, llama.tokenizer, 4, None)
    found = [next(completions) for _ in rest]
    with pytest.raises(ModelError):
        next(completions)
    assert graphs.trusted
    same(sorted(found, key=lambda each: each.index), rest)


def test_a_step_that_cannot_be_recorded_is_done_eagerly(llama: TorchBackend, caplog: pytest.LogCaptureFixture) -> None:
    tried = []

    def refuses(body: Body) -> Body:
        tried.append(body())
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    asked = requests(6)
    graphs = Graphs(refuses)
    with caplog.at_level(logging.WARNING):
        found = run(llama, asked, graphs)
        again = run(llama, asked, graphs)
    same(found, run(llama, asked, None))
    same(again, found)
    assert len(tried) == 1
    assert not graphs.trusted
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]


@pytest.mark.parametrize("since", [1, 2])
def test_a_graph_that_differs_is_dropped(llama: TorchBackend, caplog: pytest.LogCaptureFixture, since: int) -> None:
    """Wrong from its first or from its second replay on, and it writes wrong keys and values too."""
    replays = []

    def wrong(body: Body) -> Body:
        def replay() -> Tensor:
            replays.append(1)
            if len(replays) < since:
                return body()
            with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
                weight = llama.network.model.get_input_embeddings().weight
                patch.setattr(weight, "data", weight.data.flip(0))
                return body()

        return replay

    asked = requests(6)
    graphs = Graphs(wrong)
    with caplog.at_level(logging.WARNING):
        found = run(llama, asked, graphs)
    same(found, run(llama, asked, None))
    assert len(replays) == since
    assert not graphs.trusted
    assert len(caplog.records) == 1


def test_a_graph_that_counts_wrongly_is_dropped(llama: TorchBackend) -> None:
    def uncounted(body: Body) -> Body:
        def replay() -> Tensor:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("mlxintro.backends.pytorch.lanes.InjectionPass.settle", lambda *_: None)
                return body()

        return replay

    asked = requests(6)
    graphs = Graphs(uncounted)
    same(run(llama, asked, graphs), run(llama, asked, None))
    assert not graphs.trusted


@pytest.mark.parametrize(
    "step",
    [
        lambda x: x * int(x.max()),
        lambda x: x if x.any() else -x,
        lambda x: (x * 2).nonzero(),
        lambda x: x[x > 0],
    ],
)
def test_the_recording_refuses_what_capture_refuses(step: Callable[[Tensor], Tensor]) -> None:
    memory = torch.arange(3.0)
    with pytest.raises(RuntimeError):
        Recording()(lambda: step(memory + 1))


def test_off_where_there_is_no_single_cuda_device(llama: TorchBackend) -> None:
    assert Graphs.on(llama.network) is None


def test_graphs_share_one_pool_and_a_capture_that_fails_leaves_the_device_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With CUDA's interface stood in for: what is asked of it, and that nothing is left half recorded."""
    asked: list[tuple[str, Any]] = []

    class Graph:
        def reset(self) -> None:
            asked.append(("reset", None))
            raise RuntimeError("there is nothing to reset")

        def replay(self) -> None:
            asked.append(("replay", None))

    class Stream:
        def wait_stream(self, other: Any) -> None: ...

    @contextmanager
    def graph(graph: Graph, pool: Any) -> Iterator[None]:
        asked.append(("pool", pool))
        yield

    pools = iter(range(9))
    for name, stand_in in {
        "device": lambda device: nullcontext(),
        "stream": lambda stream: nullcontext(),
        "Stream": Stream,
        "current_stream": Stream,
        "CUDAGraph": Graph,
        "graph": graph,
        "graph_pool_handle": lambda: next(pools),
        "synchronize": lambda device: asked.append(("synchronize", device)),
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    recorder = CudaRecorder(torch.device("cuda:1"))
    for _ in range(2):
        assert torch.equal(recorder(lambda: torch.ones(2))(), torch.ones(2))
    assert [value for name, value in asked if name == "pool"] == [0, 0]
    asked.clear()
    calls = iter(range(99))

    def waits() -> Tensor:
        if next(calls) == 2:
            raise RuntimeError("operation not permitted when stream is capturing")
        return torch.ones(2)

    with pytest.raises(RuntimeError, match="not permitted"):
        recorder(waits)
    assert [name for name, _ in asked] == ["pool", "reset", "synchronize"]
    asked.clear()
    recorder(lambda: torch.ones(2))
    assert asked == [("pool", 1)]
