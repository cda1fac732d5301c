"""GGUF control vectors, as llama.cpp reads them and repeng writes them: a tensor ``direction.N`` for every layer.

``direction.N`` is added to the output of block N, counted from 0 (llama.cpp: ``l_out`` of layer N; repeng: the output
of ``layers[N]``), which is our ``resid_post`` at layer N. llama.cpp has none for layer 0. repeng learns the direction
of the last layer after the model's final norm, because transformers calls that the last hidden state.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from mlxintro.backends.errors import UsageError
from mlxintro.vectors.formats.outgoing import OutgoingVector
from mlxintro.vectors.formats.untrusted import DEEPEST, VectorFile, check_regular, checked

ARCHITECTURE = "controlvector"
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by GGUF's number for its type."""
_TEXT, _LIST = 8, 9
_MOST = 10_000


def read_control_vector(path: Path) -> VectorFile:
    """Read a control vector.

    Raises:
        UsageError: it is damaged, no control vector, or none that could be injected.
    """
    check_regular(path)
    _check_header(path)
    from gguf import GGUFReader
    from gguf.quants import dequantize

    try:
        reader = GGUFReader(path)
        facts = {name: _text(reader, name) for name in reader.fields if _shown(name)}
        by_layer: dict[int, Any] = {}
        for tensor in reader.tensors:
            head, _, number = tensor.name.partition(".")
            if head != "direction":
                continue
            if not number.isdecimal() or int(number) in by_layer:
                raise UsageError(
                    f"{path} has a tensor {tensor.name!r:.60}: directions are named direction.LAYER, once each"
                )
            by_layer[int(number)] = np.array(dequantize(tensor.data, tensor.tensor_type)).reshape(-1)
    except UsageError:
        raise
    except Exception as error:
        # The reader has no error of its own: what a damaged file makes of it is any of Python's.
        raise UsageError(f"{path} is no GGUF file that can be read ({type(error).__name__}): make it again") from None
    architecture = facts.pop("general.architecture", "")
    if not by_layer:
        raise UsageError(
            f"{path} is a GGUF of {architecture or 'something':.40} without a tensor direction.LAYER: give a control "
            "vector"
        )
    return checked(path, by_layer, "gguf", facts)


def write_control_vector(path: Path, vector: OutgoingVector) -> tuple[int, ...]:
    """Write a vector as llama.cpp and repeng read it.

    Returns:
        The layers that were written: those with a direction, without layer 0, for which llama.cpp takes none.

    Raises:
        UsageError: nothing is left to write.
        OSError: the place cannot be written.
    """
    from gguf import GGUFWriter

    chosen = [
        (layer, row) for layer, row in zip(vector.directions.layers, vector.directions.direction, strict=True) if layer
    ]
    if not chosen or vector.directions.site != "resid_post":
        raise UsageError(
            "GGUF control vectors are added to the residual stream after layer 1 or later, and the vector of "
            f"{vector.word!r} has none there: write --format safetensors or npz"
        )
    writer = GGUFWriter(path, ARCHITECTURE)
    # Other programs use the hint for messages only.
    writer.add_string(f"{ARCHITECTURE}.model_hint", vector.model.partition("@")[0] or "unknown")
    writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(chosen))
    writer.add_string("mlxintro.word", vector.word)
    writer.add_string("mlxintro.model", vector.model)
    writer.add_string("mlxintro.recipe", vector.recipe)
    for layer, row in chosen:
        writer.add_tensor(f"direction.{layer}", np.ascontiguousarray(row, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tuple(layer for layer, _ in chosen)


def _shown(name: str) -> bool:
    return name.startswith(("general.", f"{ARCHITECTURE}.", "mlxintro."))


def _text(reader: Any, name: str) -> str:
    value = reader.fields[name].contents()
    return str(value)


def _check_header(path: Path) -> None:
    """Walk the header before the reader does: it believes every length, and a long one keeps it busy for ever.

    Raises:
        UsageError: a length reaches beyond the file, or there are more entries than a control vector has.
    """
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            magic, version, tensors, entries = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3):
                raise UsageError(f"{path} is no GGUF file of version 2 or 3")
            if tensors > 10 * DEEPEST or entries > _MOST:
                raise UsageError(f"{path} has {tensors} tensors and {entries} entries: give a control vector, no model")

            def skip(count: int) -> None:
                if count > end - file.tell():
                    raise UsageError(f"{path} ends before what its header says: it is damaged")
                file.seek(count, os.SEEK_CUR)

            def number(form: str) -> int:
                return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])

            def value(kind: int, deep: int = 0) -> None:
                if kind == _TEXT:
                    skip(number("<Q"))
                elif kind == _LIST and deep < 4:
                    inner, count = number("<I"), number("<Q")
                    if inner in _SIZES:
                        skip(count * _SIZES[inner])
                        return
                    if count > _MOST:
                        raise UsageError(f"{path} has a list of {count} texts: give a control vector, no model")
                    for _ in range(count):
                        value(inner, deep + 1)
                elif kind in _SIZES:
                    skip(_SIZES[kind])
                else:
                    raise UsageError(f"{path} has a value of an unknown type: it is damaged")

            for _ in range(entries):
                skip(number("<Q"))
                value(number("<I"))
    except (struct.error, OSError):
        raise UsageError(f"{path} ends before what its header says: it is damaged") from None
