"""Tensors of safetensors files as NumPy arrays, in every type that models are saved in. Nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open

from ..values import Float32

_TYPES: dict[str, Any] = {
    "F16": np.float16, "F32": np.float32, "F64": np.float64, "BOOL": np.bool_,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
}  # fmt: skip
_HALF = "BF16"


def parse_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file by name; bfloat16, which NumPy does not have, as float32.

    Raises:
        ValueError: it is damaged, or holds numbers of another type.
    """
    try:
        tables = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return {name: _array(name, table["data"], table["dtype"]).reshape(table["shape"]) for name, table in tables}


def read_row(path: Path, name: str, index: int) -> Float32:
    """Return one row of a matrix, without reading the others.

    Args:
        index: of a row that is there.

    Raises:
        ValueError: it is damaged, or holds numbers of another type.
        OSError: it cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            part = file.get_slice(name)
            width, kind = part.get_shape()[1], part.get_dtype()
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    size = 2 if kind == _HALF else np.dtype(_known(name, kind)).itemsize
    with path.open("rb") as raw:
        header = int.from_bytes(raw.read(8), "little")
        start = json.loads(raw.read(header))[name]["data_offsets"][0]
        raw.seek(8 + header + start + index * width * size)
        return _array(name, raw.read(width * size), kind).astype(np.float32)


def _array(name: str, data: bytes, kind: str) -> NDArray[Any]:
    if kind == _HALF:  # the upper half of a float32
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, _known(name, kind))


def _known(name: str, kind: str) -> Any:
    if kind not in _TYPES:
        raise ValueError(f"{name} has the type {kind}")
    return _TYPES[kind]
