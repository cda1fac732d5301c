"""The lab process: answers equal direct calls, a newer order ends the one at work, and no order ends the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mlxintro.backends import registry
from mlxintro.backends.base import Backend, Prompt, Sampling
from mlxintro.backends.errors import UsageError
from mlxintro.lab.messages import (
    Ask,
    Cancel,
    Done,
    Error,
    Extracting,
    LabEvent,
    Load,
    Loading,
    Ready,
    Started,
    Stopped,
    Token,
    Trace,
    ask,
    read_event,
    read_order,
)
from mlxintro.lab.process import Process
from mlxintro.protocol import presets
from mlxintro.store.records import VectorRecord
from mlxintro.store.store import Store
from mlxintro.vectors import steering
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.settings import recipe_for
from tests.cli import StartedProcess, code_started, environment

PROMPT = "Tell me about tea."


class Speaker:
    """The process as its reader sees it."""

    def __init__(self, process: StartedProcess) -> None:
        self.process = process

    def say(self, *orders: Load | Ask | Cancel | str) -> None:
        assert self.process.stdin is not None
        for order in orders:
            line = order if isinstance(order, str) else order.model_dump_json()
            self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> LabEvent:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process is gone"
        return read_event(line)

    def until(self, *kinds: type[LabEvent]) -> list[LabEvent]:
        """Everything up to the first of these."""
        heard = [self.hear()]
        while not isinstance(heard[-1], kinds):
            heard.append(self.hear())
        return heard


@contextmanager
def lab(folder: Path) -> Iterator[Speaker]:
    store = str(folder / "mlxintro.db")
    code = f"from mlxintro.lab.process import main; main({store!r})"
    process = code_started(code, environment(folder), speaking=True)
    try:
        yield Speaker(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        rest = process.stdout.read()
        assert all(read_event(line) for line in rest.splitlines())
        assert process.wait(30) == 0
        said = process.stderr.read()
        assert "Traceback" not in said, said
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def expected(backend: Backend, order: Ask, vectors: Path) -> tuple[steering.Steered, list[list[float]]]:
    """Replies by ``steer``, with the vector that the lab extracted; cosines from a capture and their definition."""
    recipe = recipe_for(presets.load("lindsey").extraction, order.concept, backend.info)
    vector = extract(backend, [recipe], VectorCache(vectors))[recipe.key]
    sampling = Sampling(order.max_tokens, order.temperature, seed=order.seed, stop=backend.tokenizer.stop_strings)
    messages = [{"role": "user", "content": order.prompt}]
    dose = {"layer": order.layer, "strength": order.strength, "unit": order.unit}
    replies = steering.steer(backend, vector, messages, sampling=sampling, **dose)  # type: ignore[arg-type]
    pair = steering.pair(backend, vector, messages, sampling=sampling, **dose)  # type: ignore[arg-type]
    layer = backend.info.layer(order.readout)
    direction = vector.direction[layer].astype(np.float64)
    cosines = []
    for completion in sorted(backend.generate([pair.plain, pair.steered]), key=lambda one: one.index):
        asked = (pair.plain, pair.steered)[completion.index].prompt
        row = []
        for at in range(len(completion.tokens)):
            whole = Prompt((*asked.tokens, *completion.tokens[: at + 1]), asked.injections)
            (read,) = backend.capture([whole], layers=[layer], positions=[-1])
            stream = read["resid_post"][0, 0].astype(np.float64)
            row.append(float(stream @ direction / (np.linalg.norm(stream) * np.linalg.norm(direction))))
        cosines.append(row)
    return replies, cosines


@pytest.mark.parametrize(
    ("model", "backend", "strength", "tolerance"),
    [
        ("detector", "fake", 2.0, 1e-5),
        pytest.param("tiny", "torch", 6.0, 1e-3, marks=pytest.mark.slow),
        pytest.param("smollm2", "torch", 6.0, 1e-3, marks=pytest.mark.slow),
    ],
)
def test_replies_and_cosines_equal_direct_calls(
    tmp_path: Path, tiny: Callable[[str], Path], model: str, backend: str, strength: float, tolerance: float
) -> None:
    model = str(tiny("llama")) if model == "tiny" else model
    order = ask(
        3, concept="ocean", prompt=PROMPT, layer=0.66, strength=strength, max_tokens=16, temperature=0.8, seed=11
    )
    with lab(tmp_path) as speaker:
        speaker.say(Load(model=model, backend=backend))
        assert isinstance(speaker.until(Ready, Error)[-1], Ready)
        speaker.say(order)
        heard = speaker.until(Done, Error)
    with registry.open_backend(model, backend) as opened:
        replies, cosines = expected(opened, order, tmp_path / "vectors")
    spoken = {
        side: "".join(one.text for one in heard if isinstance(one, Token) and one.side == side)
        for side in ("control", "injected")
    }
    assert spoken == {"control": replies.plain, "injected": replies.steered}
    assert spoken["control"] != spoken["injected"]
    (trace,) = (one for one in heard if isinstance(one, Trace))
    for told, direct in zip((trace.control, trace.injected), cosines, strict=True):
        np.testing.assert_allclose(told, direct, atol=tolerance)
    (started,) = (one for one in heard if isinstance(one, Started))
    assert started.layer == replies.layer
    assert started.norm == pytest.approx(replies.dose.norm, rel=1e-4)
    last = heard[-1]
    assert isinstance(last, Done)
    assert last.positions == replies.proof.positions
    assert any(isinstance(one, Extracting) for one in heard)


def test_a_vector_that_is_not_what_the_store_recorded_is_read_anew(tmp_path: Path) -> None:
    order = ask(1, concept="ocean", prompt=PROMPT, layer=4, strength=1.0, max_tokens=4)
    norms = []
    for forged in (False, True):
        if forged:
            cache = VectorCache(tmp_path / "vectors")
            with registry.open_backend("detector", "fake") as backend:
                recipe = recipe_for(presets.load("lindsey").extraction, "ocean", backend.info)
                (right,) = extract(backend, [recipe], cache).values()
            with Store(tmp_path / "mlxintro.db") as store:
                store.vectors.add(VectorRecord(recipe.key, {}, cache.path(recipe.key).name, right.content_hash))
            # The file vouches for itself; only the store knows better.
            cache.save_vector(replace(right, direction=right.direction * np.float32(-3)))
        with lab(tmp_path) as speaker:
            speaker.say(Load(model="detector", backend="fake"), order)
            heard = speaker.until(Done, Error)
        (started,) = (one for one in heard if isinstance(one, Started))
        norms.append(started.vector_norm)
    assert norms[0] == pytest.approx(norms[1])


def test_the_vector_of_a_word_is_read_once(tmp_path: Path) -> None:
    orders = [ask(i, concept="Ocean", prompt=PROMPT, layer=i, strength=1.0, max_tokens=4) for i in (4, 5)]
    with lab(tmp_path) as speaker:
        speaker.say(Load(model="detector", backend="fake"), orders[0])
        first = speaker.until(Done)
        speaker.say(orders[1])
        second = speaker.until(Done)
    assert any(isinstance(one, Extracting) for one in first)
    assert not any(isinstance(one, Extracting) for one in second)
    with lab(tmp_path) as speaker:
        speaker.say(Load(model="detector", backend="fake"), orders[0])
        assert not any(isinstance(one, Extracting) for one in speaker.until(Done))


def test_a_newer_order_ends_the_one_at_work_and_only_the_newest_is_answered(tmp_path: Path) -> None:
    slow = "detector?delay=0.05"
    orders = [ask(i, concept="ocean", prompt=PROMPT, layer=5, strength=float(i), max_tokens=80) for i in (1, 2, 3)]
    with lab(tmp_path) as speaker:
        speaker.say(Load(model=slow, backend="fake"), orders[0])
        speaker.until(Token)
        asked = time.monotonic()
        speaker.say(orders[1], orders[2])
        heard = speaker.until(Stopped)
        # At most the step that is being computed and one that was, not the seconds that the reply takes.
        assert time.monotonic() - asked < 0.5
        assert {one.number for one in heard if isinstance(one, Token | Stopped)} == {1}
        answered = speaker.until(Done)
        assert {one.number for one in answered if isinstance(one, Started | Done)} == {3}
        speaker.say(orders[0])
        speaker.until(Token)
        speaker.say(Cancel())
        speaker.until(Stopped)


def test_another_model_takes_the_place_of_the_first(tmp_path: Path) -> None:
    order = ask(1, concept="ocean", prompt=PROMPT, layer=3, strength=1.0, max_tokens=4)
    with lab(tmp_path) as speaker:
        speaker.say(Load(model="detector", backend="fake"), Load(model="null?layers=4", backend="fake"), order)
        ready = [one for one in speaker.until(Done) if isinstance(one, Ready)]
    assert ready[-1].layers == 4


def test_errors_are_told_and_the_process_goes_on(tmp_path: Path) -> None:
    good = ask(9, concept="ocean", prompt=PROMPT, layer=3, strength=1.0, max_tokens=4)
    with lab(tmp_path) as speaker:
        speaker.say(good)
        nothing = speaker.until(Error)[-1]
        speaker.say(Load(model="no-such-subject", backend="fake"))
        absent = speaker.until(Error)[-1]
        speaker.say("{}", "garbage", '{"do": "ask", "number": 1}')
        wrong = [speaker.hear() for _ in range(3)]
        speaker.say(Load(model="detector", backend="fake"))
        speaker.until(Ready)
        speaker.say(good.model_copy(update={"layer": 99}))
        outside = speaker.until(Error)[-1]
        speaker.say(good)
        assert isinstance(speaker.until(Done, Error)[-1], Done)
    assert isinstance(nothing, Error)
    assert nothing.number == 9
    assert isinstance(absent, Error)
    assert "no-such-subject" in absent.text
    assert all(isinstance(one, Error) and one.known for one in wrong)
    assert isinstance(outside, Error)
    assert "0 to 7" in outside.text


def test_it_ends_when_nobody_speaks_to_it_any_more(tmp_path: Path) -> None:
    long = ask(1, concept="ocean", prompt=PROMPT, layer=5, strength=1.0, max_tokens=80)
    with lab(tmp_path) as speaker:
        speaker.say(Load(model="detector?delay=1", backend="fake"), long)
        speaker.until(Token)
        closed = time.monotonic()
    assert time.monotonic() - closed < 5


@pytest.mark.parametrize(
    "wrong", [{"strength": float("nan")}, {"strength": 1e39}, {"seed": -1}, {"prompt": ""}, {"unit": "grams"}]
)
def test_settings_that_cannot_be_are_refused_before_they_are_sent(wrong: dict[str, object]) -> None:
    settings = {"concept": "ocean", "prompt": PROMPT, "layer": 3, "strength": 1.0, **wrong}
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ask(1, **settings)


def test_what_is_sent_is_what_is_read() -> None:
    order = ask(1, concept="thé 🍵", prompt="a\nb", layer=0.5, strength=-2.0, unit="resid", window="generation")
    assert read_order(order.model_dump_json()) == order
    event = Loading(model="x\ny")
    assert "\n" not in event.model_dump_json()
    assert read_event(event.model_dump_json()) == event


def test_the_model_is_opened_with_its_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(model: str, backend: str, **options: object) -> None:
        asked.append((model, backend, options["adapter"]))
        raise UsageError("enough")

    monkeypatch.setattr(registry, "open_backend", refuse)

    def lines() -> Iterator[bytes]:
        yield Load(model="smollm2", backend="torch", adapter="smollm2-control").model_dump_json().encode()
        # An end of the lines would be taken for an end of the lab.
        while not asked:
            time.sleep(0.01)

    out = StringIO()
    Process(tmp_path / "mlxintro.db", cast(Any, lines()), out).run()
    assert asked == [("smollm2", "torch", "smollm2-control")]
    assert "enough" in out.getvalue()
