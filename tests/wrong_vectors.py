"""Vectors to write into files, and files that hold no usable vector, each with what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file


def rows(layers: int = 4, width: int = 16, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(layers, width)).astype(np.float32)


def sae_folder(folder: Path, hook: str = "blocks.2.hook_resid_post", **config: Any) -> Any:
    """An autoencoder in the layout of sae-lens."""
    folder.mkdir(parents=True)
    decoder = rows(6, 16, seed=5)
    save_file(
        {"W_dec": decoder, "W_enc": rows(16, 6), "b_dec": np.zeros(16, np.float32)}, folder / "sae_weights.safetensors"
    )
    (folder / "cfg.json").write_text(json.dumps({"d_in": 16, "d_sae": 6, "hook_name": hook, **config}))
    return decoder


def gguf_of(path: Path, by_name: dict[str, Any], architecture: str = "controlvector") -> Path:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    for name, array in by_name.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def npz_of(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def file_of(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "not finite": (lambda d: npz_of(d / "a.npz", direction=np.full((2, 4), np.nan)), "not finite"),
    "too large for float32": (lambda d: npz_of(d / "a.npz", direction=np.full((2, 4), 1e300)), "not finite"),
    "zero": (lambda d: npz_of(d / "a.npz", direction=np.zeros((2, 4))), "zero at every layer"),
    "no numbers": (lambda d: npz_of(d / "a.npz", direction=np.array([["a", "b"]])), "a direction is one row"),
    "pickled": (lambda d: npz_of(d / "a.npz", direction=np.array([{"x": 1}, {}], object)), "no npz of plain numbers"),
    "two widths": (lambda d: npz_of(d / "a.npz", **{"1": np.ones(4), "2": np.ones(5)}), "widths 4 and 5"),
    "a layer nobody has": (lambda d: npz_of(d / "a.npz", **{"999999": np.ones(4)}), "no model has one"),
    "layers twice": (
        lambda d: npz_of(d / "a.npz", direction=np.ones((2, 4)), layers=np.array([1, 1])),
        "one layer for each",
    ),
    "no layer": (lambda d: npz_of(d / "a.npz", v=np.ones(4)), "give --layer"),
    "a site nobody has": (
        lambda d: npz_of(d / "a.npz", direction=np.ones((2, 4)), site=np.array("resid_pre")),
        "where nothing is injected",
    ),
    "another gguf": (
        lambda d: gguf_of(d / "a.gguf", {"token_embd": np.ones(4, np.float32)}, "llama"),
        "control vector",
    ),
    "a bad name": (lambda d: gguf_of(d / "a.gguf", {"direction.x\0y": np.ones(4, np.float32)}), "direction.LAYER"),
    "an empty file": (lambda d: file_of(d / "a.gguf", b""), "damaged"),
    "an unknown ending": (lambda d: file_of(d / "a.bin", b"x"), "no vector file"),
    "a folder": (lambda d: d, "with --index"),
    "no file": (lambda d: d / "nothing.npz", "there is no file"),
    "text": (lambda d: file_of(d / "a.safetensors", b"hello, this is text"), "no safetensors"),
}
