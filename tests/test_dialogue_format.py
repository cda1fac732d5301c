"""One format of dialogues for base and instruct models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.backends.registry import open_backend
from mlxintro.protocol import study_file
from tests.cli import RUN, Call


def test_an_instruct_model_is_asked_as_a_base_model_is(tiny: Callable[[str], Path]) -> None:
    asked = [{"role": "user", "content": "Do you notice anything?"}]
    with (
        open_backend(str(tiny("qwen2")), "torch", device="cpu") as chat,
        open_backend(str(tiny("qwen2")), "torch", device="cpu", dialogue="plain") as plain,
    ):
        assert (chat.info.chat_template, plain.info.chat_template) == (True, False)
        assert chat.info.template_hash != plain.info.template_hash, "a run on the one is not resumed on the other"
        assert "Human: Do you notice anything?" in plain.tokenizer.render(asked).text
        assert "Human:" not in chat.tokenizer.render(asked).text


def test_a_run_keeps_its_format(tiny: Callable[[str], Path], call: Call) -> None:
    small = ("--concepts", "ocean", "--layers", "1", "--strengths", "2", "--trials", "1", "--controls", "1")
    run = ("run", "injected-thoughts", "--backend", "torch", "-m", str(tiny("qwen2")), "--max-tokens", "2")
    assert call(*run, *small, "--dialogue", "plain", "--name", "plain", "--no-grade").code == 0
    assert 'dialogue = "plain"' in call("runs", "show", "plain", "--toml").out
    (first, *_) = call("runs", "export", "plain", "--format", "jsonl").lines
    shown = call("runs", "show", "plain", first["trial_key"]).out.replace("|", "").replace("\n  ", "")
    assert "Assistant:" in shown
    assert call("run", "--resume", "plain", "--no-grade").code == 0


def test_what_has_one_format_only_says_so(call: Call) -> None:
    done = call(*RUN, "--dialogue", "plain")
    assert (done.code, done.err.count("\n")) == (2, 2), done.err
    assert "leave out --dialogue" in done.err


def test_a_study_varies_the_format() -> None:
    text = 'experiment = "injected-thoughts"\nmodel = "smollm2"\ndialogues = ["chat", "plain"]\n'
    assert study_file.parse(text, "s.toml", Path()).axes == {"dialogues": ({"dialogue": "chat"}, {"dialogue": "plain"})}
    with pytest.raises(UsageError, match="choose from chat, plain"):
        study_file.parse(text.replace("plain", "loud"), "s.toml", Path())


def test_the_ladder_names_four_sizes_and_carries_its_doses_over_models() -> None:
    found = study_file.read("ladder")
    assert [subject.model for subject in found.subjects] == ["smollm2", "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b"]
    assert found.settings["unit"] == "resid"
