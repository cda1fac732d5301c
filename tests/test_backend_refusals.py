"""What every backend refuses, in one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.base import (
    Backend,
    Injection,
    Prompt,
    Request,
    Sampling,
)
from mlxintro.backends.errors import UsageError
from tests.contract import (
    HEAD_WIDTH,
    HEADS,
    LAYERS,
    WIDTH,
    Subject,
    by_position,
    mixture,
    of_the_loop,
    together,
    tokens,
    vector,
)
from tests.tiny import VOCABULARY


@of_the_loop
@pytest.mark.parametrize(
    ("injection", "complaint"),
    [
        (Injection(LAYERS, vector(1), start=0), "out of range"),
        (Injection(0, vector(1)[:-1], start=0), "shape"),
        (Injection(0, vector(1).astype(np.float64), start=0), "float32"),
        (Injection(0, vector(1, np.inf), start=0), "NaN or infinity"),
        (Injection(0, vector(1), start=3, stop=3), "empty"),
        (Injection(0, vector(1), start=-1), "negative"),
        (Injection(0, vector(1), start=500), "past the last"),
        (Injection(0, vector(1, 0.0), start=0, operation="ablate"), "no direction"),
        (Injection(0, vector(1), start=0, site="nowhere"), "no such site"),  # type: ignore[arg-type]
        (Injection(0, vector(1), start=0, head=1), "only the site head_out has heads"),
        (Injection(0, vector(1)[:HEAD_WIDTH], start=0, site="head_out", head=HEADS), "heads 0 to 3"),
        (Injection(0, vector(1), start=0, site="head_out", head=1), "shape"),
        (Injection(0, by_position(1, 3, WIDTH), start=0), "one for each of its positions"),
        (Injection(0, by_position(1, 3, WIDTH), start=0, stop=4), "one for each of its positions"),
        (Injection(0, by_position(1, 3, WIDTH), start=6, stop=9), "ends with the prompt"),
        (Injection(0, by_position(1, 3, WIDTH) * 0, 1, 4, operation="ablate"), "no direction"),
    ],
)
def test_an_injection_that_does_not_fit_is_refused_in_one_line(
    subject: Subject, injection: Injection, complaint: str
) -> None:
    for call in (
        lambda p: list(subject.backend.generate([Request(p)])),
        lambda p: subject.backend.capture([p]),
        lambda p: subject.backend.score([p], [[(5,)]]),
    ):
        with pytest.raises(UsageError, match=complaint) as raised:
            call(Prompt(tokens(8), (injection,)))
        assert "\n" not in str(raised.value)


@of_the_loop
@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda b: list(b.generate([Request(Prompt(()))])), "no tokens"),
        (lambda b: list(b.generate([Request(Prompt((VOCABULARY,)))])), "vocabulary"),
        (lambda b: list(b.generate([Request(Prompt((5,)), Sampling(max_tokens=9999))])), "context"),
        (lambda b: list(b.generate([Request(Prompt((5,)), Sampling(temperature=-1.0))])), "temperature"),
        (lambda b: list(b.generate([Request(Prompt((5,)), Sampling(top_p=0.0))])), "top_p"),
        (lambda b: b.capture([Prompt((5, 6))], layers=[LAYERS]), "out of range"),
        (lambda b: b.capture([Prompt((5, 6))], positions=[2]), "outside"),
        (lambda b: b.score([Prompt((5,))], [[()]]), "no tokens"),
        (lambda b: b.score([Prompt((5,))], []), "1 prompts"),
        (lambda b: b.lens(np.zeros((2, WIDTH - 1), np.float32)), "columns|width|shape"),
        (lambda b: b.lens(np.zeros((2, WIDTH), np.float32), [VOCABULARY]), "vocabulary"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(subject: Subject, call: Callable[[Backend], Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        call(subject.backend)
    assert "\n" not in str(raised.value)


@of_the_loop
def test_nothing_asked_is_nothing_done(subject: Subject) -> None:
    assert list(subject.backend.generate([])) == []
    assert subject.backend.capture([]) == []
    assert subject.backend.score([Prompt((5,))], [[]]) == [[]]


@of_the_loop
def test_a_closed_backend_says_so(tiny: Callable[[str], Path], subject: Subject) -> None:
    backend = subject.rechunked(64)
    backend.close()
    backend.close()
    with pytest.raises(UsageError, match="closed"):
        list(backend.generate([Request(Prompt((5,)))]))
    assert len(together(subject.backend, mixture())) == len(mixture()), "the model itself is still held by its owner"
