"""Model folders as they should not be: each is run right, or refused in one line within seconds, on both backends."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlxintro.backends.base import Prompt, Request, Sampling
from mlxintro.backends.errors import KnownError
from mlxintro.backends.models import side_files
from mlxintro.backends.registry import open_backend

Edit = Callable[[Path], None]


def setting(name: str, file: str = "config.json", **values: Any) -> tuple[str, Edit]:
    def edit(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return name, edit


def text(name: str, file: str, content: str) -> tuple[str, Edit]:
    def edit(folder: Path) -> None:
        (folder / file).write_text(content)

    return name, edit


def two_files(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "model-2.safetensors")


def weights(name: str, change: Callable[[dict[str, Any]], None]) -> tuple[str, Edit]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return name, edit


def filled(value: float) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        tensors["model.layers.1.mlp.down_proj.weight"][:] = value

    return change


def cut(at: float) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "model.safetensors"
        os.truncate(path, int(path.stat().st_size * at))

    return edit


def pipe(file: str) -> tuple[str, Edit]:
    def edit(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        os.mkfifo(folder / file)

    return f"{file} is a pipe", edit


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 4096\n"
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000

REFUSED: dict[str, Edit] = dict(
    [
        setting("layers -1", num_hidden_layers=-1),
        setting("layers 0", num_hidden_layers=0),
        setting("layers as a word", num_hidden_layers="x"),
        setting("layers as true", num_hidden_layers=True),
        setting("fewer layers", num_hidden_layers=2),
        setting("more layers", num_hidden_layers=9),
        setting("heads 0", num_attention_heads=0),
        setting("an inner width without end", intermediate_size=float("inf")),
        setting("heads as a list of words", num_attention_heads=["a"]),
        setting("width as nothing", hidden_size=None),
        setting("another width", hidden_size=96),
        setting("another vocabulary", vocab_size=64),
        setting("vocabulary 0", vocab_size=0),
        setting("no positions", max_position_embeddings=0),
        setting("end as a word", eos_token_id="x"),
        setting("end as lists", eos_token_id=[[1]]),
        setting("end as a fraction", eos_token_id=1.5),
        setting("end of generation as a word", "generation_config.json", eos_token_id="x"),
        setting("dtype os", dtype="os"),
        setting("text_config as a word", text_config="x"),
        setting("text_config as a list", text_config=[1]),
        setting("epsilon NaN", rms_norm_eps=float("nan")),
        setting("epsilon negative", rms_norm_eps=-1.0),
        setting("a type nobody knows", model_type="abacus"),
        setting("a type that is a path", model_type="../../os"),
        setting("a type that is a number", model_type=5),
        setting("foreign attention", _attn_implementation="evil/kernel"),
        setting("an unknown quantisation", quantization_config={"quant_method": "zzz"}),
        setting("a quantisation without a name", quantization_config={"bits": 4}),
        setting("a quantisation as a word", quantization_config="4bit"),
        setting("rope as a word", rope_parameters="x"),
        text("config cut short", "config.json", '{"model_type": "lla'),
        text("config as a list", "config.json", "[]"),
        text("config empty", "config.json", ""),
        text("config deep", "config.json", DEEP),
        text("config pointer", "config.json", POINTER),
        text("generation config as a list", "generation_config.json", "[]"),
        text("generation config cut short", "generation_config.json", "{"),
        text("tokenizer config as a list", "tokenizer_config.json", "[]"),
        text("tokenizer config deep", "tokenizer_config.json", DEEP),
        text("tokenizer empty", "tokenizer.json", "{}"),
        text("tokenizer as text", "tokenizer.json", "hello"),
        text("tokenizer pointer", "tokenizer.json", POINTER),
        text("weights pointer", "model.safetensors", POINTER),
        text("weights as text", "model.safetensors", "hello"),
        text("weights empty", "model.safetensors", ""),
        text("index as a list", "model.safetensors.index.json", "[]"),
        text("index of nothing", "model.safetensors.index.json", '{"weight_map": {}}'),
        text("index of passwords", "model.safetensors.index.json", '{"weight_map": {"a": "/etc/passwd"}}'),
        text("an adapter", "adapter_config.json", '{"base_model_name_or_path": "acme/base"}'),
        text("template that loops", "chat_template.jinja", "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3),
        text("template that includes", "chat_template.jinja", "{% include 'config.json' %}"),
        text("template that says nothing", "chat_template.jinja", "hello"),
        text("template broken", "chat_template.jinja", "{% for %}"),
        weights("NaN", filled(float("nan"))),
        weights("infinity", filled(float("inf"))),
        weights("overflow", filled(3e38)),
        weights("a tensor more", lambda tensors: tensors.update({"model.more": np.ones(3, np.float32)})),
        weights("a tensor less", lambda tensors: tensors.__delitem__("model.norm.weight")),
        weights("another shape", lambda tensors: tensors.update({"model.norm.weight": np.ones(3, np.float32)})),
        ("weights cut in the middle", cut(0.5)),
        ("weights cut by a byte", cut(0.99999)),
        ("no weights", lambda folder: (folder / "model.safetensors").unlink()),
        ("no tokenizer", lambda folder: (folder / "tokenizer.json").unlink()),
        ("no configuration", lambda folder: (folder / "config.json").unlink()),
        ("two files of weights", two_files),
        pipe("config.json"),
        pipe("tokenizer.json"),
        pipe("merges.txt"),
        pipe("model.safetensors"),
        pipe("generation_config.json"),
    ]
)
HARMLESS: dict[str, Edit] = dict(
    [
        setting("settings nobody knows", whatever={"a": [1]}),
        setting("code named and not run", auto_map={"AutoModelForCausalLM": "evil.Evil"}),
        text("code that lies there", "modeling_evil.py", "raise SystemExit"),
        text("a note", "README.md", "hello"),
        text("weights of another form", "pytorch_model.bin", "cos\nsystem\n"),
    ]
)
QUICK = (
    "layers -1",
    "fewer layers",
    "end as lists",
    "config.json is a pipe",
    "config deep",
    "NaN",
    "template that loops",
)


def outcome(folder: Path, backend: str) -> tuple[str, float]:
    """What becomes of a folder: the line that refuses it, or an empty one; and the seconds of CPU."""
    started = time.process_time()
    try:
        with open_backend(str(folder), backend, device="cpu") as opened:
            tokens = opened.tokenizer.render([{"role": "user", "content": "Tell me about the ocean"}]).tokens
            list(opened.generate([Request(Prompt(tokens), Sampling(max_tokens=4))]))
        said = ""
    except KnownError as error:
        said = str(error)
        assert said.strip()
        assert "\n" not in said
    return said, time.process_time() - started


def check(tiny: Callable[[str], Path], target: Path, edit: Edit, backend: str, *, refused: bool) -> None:
    folder = shutil.copytree(tiny("llama"), target)
    edit(folder)
    said, seconds = outcome(folder, backend)
    assert bool(said) == refused, said
    assert seconds < 10


@pytest.mark.timeout(60)
@pytest.mark.parametrize("backend", ["torch", "mlx"])
@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_folder_is_one_line(tiny: Callable[[str], Path], tmp_path: Path, name: str, backend: str) -> None:
    check(tiny, tmp_path / "model", REFUSED[name], backend, refused=True)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("backend", ["torch", "mlx"])
@pytest.mark.parametrize("name", sorted(set(REFUSED) - set(QUICK)))
def test_every_hostile_folder_is_one_line(tiny: Callable[[str], Path], tmp_path: Path, name: str, backend: str) -> None:
    check(tiny, tmp_path / "model", REFUSED[name], backend, refused=True)


@pytest.mark.parametrize("backend", ["torch", "mlx"])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_no_harm_is_no_reason_to_refuse(
    tiny: Callable[[str], Path], tmp_path: Path, name: str, backend: str
) -> None:
    check(tiny, tmp_path / "model", HARMLESS[name], backend, refused=False)


def mutated(value: Any, dice: random.Random) -> Any:
    """Return the settings with one or two of them replaced by something odd."""
    odd: list[Any] = [None, True, -1, 0, 10**12, 1.5, float("inf"), "", "x", [], [1], {}, {"a": 1}, "\ud800", [[[]]]]
    changed = dict(value)
    for _ in range(dice.randint(1, 2)):
        changed[dice.choice(sorted(changed))] = dice.choice(odd)
    return changed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mutated_settings_are_one_line_or_run(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Seed 20261125, 400 mutations per backend; see docs/testing.md."""
    dice = random.Random(20261125)
    files = ("config.json", "generation_config.json", "tokenizer_config.json")
    for number in range(400):
        folder = shutil.copytree(tiny("llama"), tmp_path / str(number))
        path = folder / dice.choice(files)
        path.write_text(json.dumps(mutated(json.loads(path.read_text()), dice)))
        for backend in ("torch", "mlx"):
            _, seconds = outcome(folder, backend)
            assert seconds < 10, (number, backend, path.read_text())
        shutil.rmtree(folder)


def test_settings_that_are_nested_deeper_than_any_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a":' * 60 + "1" + "}" * 60)
    assert side_files.read_object(path)
    path.write_text('{"a":' * 90 + "1" + "}" * 90)
    with pytest.raises(KnownError, match="nested too deeply"):
        side_files.read_object(path)
