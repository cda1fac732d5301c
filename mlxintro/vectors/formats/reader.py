"""Reads vectors from files of other programs and of this one. Nothing in them is trusted, and nothing is unpickled."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.plain_data import parse_json
from mlxintro.vectors.formats.untrusted import LARGEST, VectorFile, check_regular, checked

_LAYER_NAME = re.compile(r"(?:(?:direction|layer|layers|blocks|vector)[._ ]?)?(\d{1,6})(?:[._ ](?:direction|vector))?")
"""Names of arrays that hold one layer's direction: ``direction.12``, ``layer_12``, ``12``."""
_OF_ALL = ("direction", "directions", "vector", "vectors")
_RECIPE = ("word", "method", "template", "model")
"""What is shown of the recipe in a file of ours."""


def read_vector_file(path: Path, *, layer: int | None = None, index: int | None = None) -> VectorFile:
    """Read one vector from a file, by the file's ending and content.

    Args:
        path: ``.safetensors``, ``.gguf``, ``.npz``; or the folder or the weights of a sparse autoencoder.
        layer: for arrays that do not say which layer they are of.
        index: feature of a sparse autoencoder, whose decoder row is the vector.

    Raises:
        UsageError: it holds no vector that could be injected; one line that says why.
    """
    from mlxintro.vectors.formats import gguf_file, sae

    if index is not None:
        return sae.read_feature(path, index, layer)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: for a sparse autoencoder say which feature, with --index")
    check_regular(path)
    if path.suffix == ".gguf":
        return gguf_file.read_control_vector(path)
    if path.suffix == ".npz":
        return checked(path, *_named(path, _arrays_of_npz(path), layer))
    if path.suffix == ".safetensors":
        return _safetensors(path, layer)
    raise UsageError(
        f"{path} is no vector file: give .safetensors, .gguf or .npz, or --index N of a sparse autoencoder"
    )


def _arrays_of_npz(path: Path) -> dict[str, Any]:
    """Every array of an npz, after its sizes are known."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > 2000 or sum(member.file_size for member in members) > LARGEST:
                raise UsageError(f"{path} unpacks to more than any vector: give a vector file")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except UsageError:
        raise
    except Exception as error:
        # zipfile, zlib, lzma and numpy each have errors of their own for damaged input.
        raise UsageError(
            f"{path} is no npz of plain numbers, or damaged ({_first_line(error)}): save the vector again"
        ) from None


def _named(path: Path, arrays: Mapping[str, Any], layer: int | None) -> tuple[dict[int, Any], Any, dict[str, Any], str]:
    """Directions by layer from named arrays, with format, facts and site."""
    facts = {name: str(array) for name, array in arrays.items() if array.ndim == 0 and array.dtype.kind in "US"}
    site = facts.pop("site", "resid_post")
    for name in _OF_ALL:
        if name in arrays and arrays[name].ndim == 2:
            layers = arrays.get("layers")
            rows = arrays[name]
            if layers is None:
                return dict(enumerate(rows)), "npz", facts, site
            if layers.shape != rows.shape[:1] or layers.dtype.kind not in "iu" or len(set(layers.tolist())) < len(rows):
                raise UsageError(f"{path}: layers must name one layer for each of the {len(rows)} rows of {name}")
            return dict(zip(map(int, layers), rows, strict=True)), "npz", facts, site
    by_layer = {int(match.group(1)): array for name, array in arrays.items() if (match := _LAYER_NAME.fullmatch(name))}
    if by_layer:
        return by_layer, "npz", facts, site
    single = [array for array in arrays.values() if array.ndim == 1 and array.dtype.kind == "f"]
    if len(single) == 1:
        if layer is None:
            raise UsageError(f"{path} holds one direction and does not say for which layer: give --layer")
        return {layer: single[0]}, "npz", facts, site
    return {}, "npz", facts, site


def _safetensors(path: Path, layer: int | None) -> VectorFile:
    """A file of ours, whose checksum must hold, or any whose arrays are named by layer."""
    from mlxintro.backends.adapters.tensors import parse_tensors

    data = path.read_bytes()
    try:
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")].decode())
        metadata = header.get("__metadata__") or {}
        arrays = parse_tensors(data)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{path} is no safetensors file of plain numbers ({_first_line(error)}): save the vector again"
        ) from None
    if "sha256" in metadata and "key" in metadata:
        from mlxintro.vectors.cache import DamagedError, parse

        try:
            parse(data, metadata["key"])
        except DamagedError as error:
            raise UsageError(f"{path} is damaged: {error}") from None
    by_layer, _, _, _ = _named(path, arrays, layer)
    facts = {name: value for name, value in metadata.items() if name not in ("sha256", "recipe", "literal")}
    recipe = _recipe(metadata.get("recipe"))
    site = str(recipe.get("site", metadata.get("site", "resid_post")))
    facts |= {name: str(recipe[name]) for name in _RECIPE if name in recipe}
    return checked(path, by_layer, "safetensors", facts, site)


def _recipe(text: Any) -> dict[str, Any]:
    """The recipe in a file's metadata; empty where there is none that can be read."""
    try:
        recipe = parse_json(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return recipe if isinstance(recipe, dict) else {}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
