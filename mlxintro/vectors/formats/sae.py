"""One feature of a sparse autoencoder: a row of its decoder, from local files in the layout of ``sae-lens``.

A folder holds ``cfg.json`` and ``sae_weights.safetensors`` with ``W_dec`` (features, width); only the row is read. The
configuration's ``hook_name`` says layer and site: ``blocks.20.hook_resid_post``. Files of Gemma Scope (``params.npz``)
have the same ``W_dec`` and no configuration, so the layer has to be given.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mlxintro.backends.adapters.tensors import read_row
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.plain_data import parse_json
from mlxintro.vectors.formats.untrusted import VectorFile, check_regular, checked

WEIGHTS = ("sae_weights.safetensors", "params.npz", "params.safetensors")
_PICKLES = (".pt", ".pth", ".bin", ".pkl")
_LARGEST = 2**37
"""Bytes of a decoder; only one row of it is read."""
_HOOK = re.compile(r"blocks\.(\d{1,4})\.(?:hook_(resid_post|resid_pre|attn_out|mlp_out))")
_FACTS = ("model_name", "hook_name", "d_sae", "d_in", "architecture", "normalize_activations", "neuronpedia_id")


def read_feature(path: Path, index: int, layer: int | None = None) -> VectorFile:
    """Read one decoder row.

    Args:
        path: the autoencoder's folder, or its weights.
        index: of the feature, from 0.
        layer: where the configuration does not say it.

    Raises:
        UsageError: there is no such feature, or the autoencoder is not at a place that can be injected into.
    """
    if path.is_dir():
        found = [path / name for name in WEIGHTS if (path / name).exists()]
        if not found:
            pickled = next((one.name for one in sorted(path.iterdir()) if one.suffix in _PICKLES), None)
            if pickled is not None:
                raise UsageError(f"{path} holds {pickled}, which is never opened: save it as {WEIGHTS[0]}")
            raise UsageError(f"{path} holds no sparse autoencoder: it has none of {', '.join(WEIGHTS)}")
        weights = found[0]
    else:
        weights = path
    check_regular(weights, _LARGEST)
    config = _config(weights.parent / "cfg.json")
    nested = config.get("metadata")
    known = {**(nested if isinstance(nested, dict) else {}), **config}
    where, site = _place(path, known, layer)
    row = _npz_row(weights, index) if weights.suffix == ".npz" else _safetensors_row(weights, index)
    facts = {name: known[name] for name in _FACTS if known.get(name) not in (None, "", "none")}
    return checked(path, {where: row}, "sae", {**facts, "feature": index}, site)


def _place(path: Path, config: dict[str, Any], layer: int | None) -> tuple[int, str]:
    """Layer and site from the configuration's hook, or the layer that was given."""
    hook = config.get("hook_name") or config.get("hook_point")
    match = _HOOK.fullmatch(hook) if isinstance(hook, str) else None
    if match is None:
        if isinstance(hook, str) and layer is None:
            raise UsageError(
                f"{path} was trained at {hook!r:.60}, where nothing can be injected: take another autoencoder"
            )
        if layer is None:
            raise UsageError(f"{path} does not say which layer it was trained at: give --layer")
        return layer, "resid_post"
    found, place = int(match.group(1)), match.group(2)
    if place == "resid_pre":
        if found == 0:
            raise UsageError(
                f"{path} was trained before the first block, where nothing is injected: take another layer's"
            )
        # The stream before a block is the stream after the one before it.
        found, place = found - 1, "resid_post"
    if layer is not None and layer != found:
        raise UsageError(f"{path} was trained at layer {found}, and --layer says {layer}: leave --layer out")
    return found, place


def _config(path: Path) -> dict[str, Any]:
    """The configuration beside the weights; empty where there is none."""
    if not path.exists():
        return {}
    check_regular(path, 2**24)
    try:
        config = parse_json(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"{path} is no configuration ({error}): fetch the autoencoder again") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path} is no configuration (it holds no table): fetch the autoencoder again")
    return config


def _safetensors_row(path: Path, index: int) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            if "W_dec" not in file.keys():  # noqa: SIM118  # it is no mapping
                raise UsageError(f"{path} has no decoder W_dec: give the weights of a sparse autoencoder")
            _check_index(path, file.get_slice("W_dec").get_shape(), index)
        return read_row(path, "W_dec", index)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise UsageError(
            f"{path} is no safetensors file that can be read ({str(error)[:120]}): fetch it again"
        ) from None


def _npz_row(path: Path, index: int) -> Any:
    """The row, read from the archive's member without the rest of the decoder."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("W_dec.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, dtype = read(member)
            _check_index(path, shape, index)
            if by_column or dtype.kind != "f":
                raise UsageError(f"{path}: W_dec must be rows of floating-point numbers")
            size = shape[1] * dtype.itemsize
            left = index * size
            while left > 0:
                skipped = len(member.read(min(left, 2**20)))
                if not skipped:
                    raise UsageError(f"{path} ends before feature {index}: it is damaged")
                left -= skipped
            return np.frombuffer(member.read(size), dtype, count=shape[1])
    except UsageError:
        raise
    except Exception as error:
        # zlib, zipfile and NumPy each have errors of their own.
        raise UsageError(f"{path} is no npz with a decoder W_dec: {str(error)[:120]}") from None


def _check_index(path: Path, shape: Any, index: int) -> None:
    if len(shape) != 2:
        raise UsageError(f"{path}: W_dec has the shape {tuple(shape)}, and a decoder has features and width")
    if not 0 <= index < shape[0]:
        raise UsageError(f"{path} has features 0 to {shape[0] - 1}, and no feature {index}: give another --index")
    if shape[1] > 2**20:
        raise UsageError(f"{path}: W_dec has rows of {shape[1]} numbers, and no model is as wide")
