"""A model is all of its bytes: an edit anywhere is another model, and every byte is read for it once."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlxintro.backends.errors import ModelError
from mlxintro.backends.models import digests, embedded, folders, sources
from tests.test_models import write_model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def large(folder: Path, mebibytes: int = 40) -> Path:
    """A model whose weights are far larger than everything beside them."""
    write_model(folder)
    rows = mebibytes * 256
    save_file({"w": np.random.default_rng(1).random((rows, 1024), np.float32)}, folder / "model.safetensors")
    return folder


def identity(folder: Path) -> str:
    return sources.resolve(str(folder), "torch").revision


def poke(path: Path, at: int) -> None:
    """Change one byte in place and put the modification time back, as an editor of tensors may."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("where", [0.003, 0.31, 0.52, 0.777, 0.9999])
def test_one_changed_byte_anywhere_is_another_model(tmp_path: Path, where: float) -> None:
    folder = large(tmp_path / "model")
    weights = folder / "model.safetensors"
    before = identity(folder)
    poke(weights, int(weights.stat().st_size * where))
    after = identity(folder)
    assert after != before
    poke(weights, int(weights.stat().st_size * where))
    assert identity(folder) == before


@pytest.mark.slow
@pytest.mark.skipif(embedded.find_gguf() is None, reason="the embedded model is not installed")
def test_three_edits_of_one_matrix_of_the_embedded_model_are_three_new_models(tmp_path: Path) -> None:
    folder = shutil.copytree(embedded.materialise("mlx-4bit", cache=tmp_path / "made"), tmp_path / "copy")
    seen = {sources.resolve(str(folder), "mlx").revision}
    for name in ("layers.3.mlp.down_proj", "layers.17.self_attn.q_proj", "layers.29.mlp.gate_proj"):
        tensors = load_file(folder / "model.safetensors")
        tensors[f"model.{name}.scales"] = tensors[f"model.{name}.scales"] * np.float32(1.01)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "mlx"})
        seen.add(sources.resolve(str(folder), "mlx").revision)
    assert len(seen) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="counts what the kernel read for this process")
def test_loading_a_folder_a_second_time_reads_none_of_its_weights(tmp_path: Path) -> None:
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])

    folder = large(tmp_path / "model")
    size = (folder / "model.safetensors").stat().st_size
    start = bytes_read()
    first = identity(folder)
    once = bytes_read() - start
    again = identity(folder)
    twice = bytes_read() - start - once
    assert first == again
    assert size <= once < 1.2 * size
    assert twice < size / 20


def test_a_damaged_memory_of_digests_costs_time_and_nothing_else(tmp_path: Path, home: Path) -> None:
    folder = large(tmp_path / "model", 1)
    before = identity(folder)
    memory = home / "cache" / "file-digests.sqlite"
    memory.write_bytes(b"not a database" * 100)
    assert identity(folder) == before
    identity(folder)
    with sqlite3.connect(memory) as kept:
        assert kept.execute("SELECT count(*) FROM file_digest").fetchone()[0] >= 3


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path, home: Path) -> None:
    home.write_text("a file where the folder should be")
    folder = large(tmp_path / "model", 1)
    assert identity(folder) == folders.content_hash(folder)


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "file"
    path.write_bytes(b"content" * 1000)
    for _ in range(2):
        assert digests.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
        assert digests.git_sha1(path) == hashlib.sha1(b"blob 7000\0" + path.read_bytes()).hexdigest()


def shards(folder: Path) -> Path:
    """Two shards and an index that names them."""
    write_model(folder)
    (folder / "model.safetensors").unlink()
    names = {}
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file({f"layers.{number - 1}.w": np.full((8, 8), number, np.float32)}, folder / name)
        names[f"layers.{number - 1}.w"] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


def stray(folder: Path) -> None:
    save_file({"layers.0.w": np.ones((8, 8), np.float32)}, folder / "model.safetensors")


def outside(folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    shutil.move(folder / "model-00001-of-00002.safetensors", other / "model-1.safetensors")
    (folder / "model-00001-of-00002.safetensors").symlink_to(other / "model-1.safetensors")


def rename(folder: Path, name: str) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001-of-00002.safetensors", name))


def upwards(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "good")
    rename(folder, "../good/model-00001-of-00002.safetensors")


def absolute(folder: Path) -> None:
    rename(folder, str(folder / "model-00001-of-00002.safetensors"))


def twice(folder: Path) -> None:
    shutil.copy(folder / "model-00001-of-00002.safetensors", folder / "model-00002-of-00002.safetensors")


def fewer(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 1}))


def no_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()


@pytest.mark.parametrize("backend", ["torch", "mlx"])
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (stray, "holds model.safetensors, which model.safetensors.index.json does not name"),
        (outside, "outside the folder"),
        (upwards, "not a model.*inside the folder"),
        (absolute, "not a model.*inside the folder"),
        (twice, "stands in"),
        (fewer, "says 1 layers, its weights hold 2"),
        (no_index, "no model.safetensors.index.json"),
    ],
)
def test_weights_that_are_not_this_models_are_refused_on_both_backends(
    tmp_path: Path, edit: Callable[[Path], None], said: str, backend: sources.Framework
) -> None:
    folder = shards(tmp_path / "model")
    sources.resolve(str(folder), backend)
    edit(folder)
    with pytest.raises(ModelError, match=said) as error:
        sources.resolve(str(folder), backend)
    assert "\n" not in str(error.value)


def test_layers_for_speculative_decoding_are_not_counted_as_layers(tmp_path: Path) -> None:
    folder = shards(tmp_path / "model")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "glm4_moe", "num_hidden_layers": 1, "num_nextn_predict_layers": 1})
    )
    sources.resolve(str(folder), "torch")


def snapshot(home: Path, linked: bool) -> Path:
    """A model as the hub's cache keeps it."""
    made = write_model(home / "made")
    folder = home / "models--acme--tiny" / "snapshots" / ("c" * 40)
    blobs = folder.parents[1] / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    for path in made.iterdir():
        if not linked:
            shutil.copy(path, folder / path.name)
            continue
        name = digests.sha256(path) if path.suffix == ".safetensors" else digests.git_sha1(path)
        shutil.move(path, blobs / name)
        (folder / path.name).symlink_to(Path("../../blobs") / name)
    return folder


def test_a_snapshot_whose_files_are_what_was_downloaded_is_its_commit(tmp_path: Path) -> None:
    folder = snapshot(tmp_path / "hub", linked=True)
    assert identity(folder) == "c" * 40
    poke((folder / "model.safetensors").resolve(), 9000)
    with pytest.raises(ModelError, match=r"model\.safetensors .* is not what was downloaded"):
        identity(folder)


def test_a_snapshot_that_cannot_be_held_against_anything_is_its_commit_and_its_content(tmp_path: Path) -> None:
    folder = snapshot(tmp_path / "hub", linked=False)
    before = identity(folder)
    assert before.startswith("c" * 40 + "+sha256:")
    poke(folder / "model.safetensors", 9000)
    assert identity(folder) != before
