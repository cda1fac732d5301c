"""``mlxintro train``: what it refuses before a model is loaded, what it says when it is stopped, and its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxintro.backends.registry import open_backend
from mlxintro.cli.models.train import plan_of
from mlxintro.training import loop
from mlxintro.training.loop import TrainingStep
from tests.cli import Call

TRAIN = ("train", "-m", "detector", "--backend", "fake")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(("--adapter", "nowhere"), "no adapter nowhere"), (("--steps", "2", "--minutes", "1"), "either --steps or")],
)
def test_what_cannot_be_is_refused_before_the_model_is_loaded(
    call: Call, tmp_path: Path, wrong: tuple[str, ...], said: str
) -> None:
    done = call(*TRAIN, "-o", str(tmp_path / "out"), *wrong)
    assert done.code == 2
    assert said in done.err
    assert "loading" not in done.err
    assert not (tmp_path / "out").exists()


def test_a_training_that_is_stopped_says_how_to_go_on(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> Iterator[TrainingStep]:
        yield TrainingStep(1, 240, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", stopped)
    out = tmp_path / "out"
    done = call(*TRAIN, "-o", str(out))
    assert done.code == 130
    assert f"kept in {out}: give the same line again" in done.err
    assert (out / "training.json").exists()
    assert "going on with the training" in call(*TRAIN, "-o", str(out)).err, "the same line goes on"


@pytest.mark.parametrize(("steps", "words"), [(None, 600), (2, 48), (25, 600)])
def test_a_short_training_reads_no_more_words_than_it_injects(steps: int | None, words: int) -> None:
    with open_backend("detector", "fake") as backend:
        assert plan_of(backend.info, {"rows": 24, "steps": steps, "words": None}).words == words
