"""Numbers of GGUF tensors: as float32, or in MLX's affine layout without rounding anything.

MLX stores ``q * scale + bias`` with one scale and bias per group. Several of GGUF's layouts are that in groups of 32:
``Q4_0``, ``Q5_0`` and ``Q8_0`` (``d (q - z)``), ``Q4_1`` and ``Q5_1`` (``d q + m``), ``Q4_K`` and ``Q5_K`` (``d s q - e
m``, with six-bit ``s`` and ``m`` per group). Their scales become float32 and keep every bit. All others are not affine
or not in groups of 32, and are given in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .container import GGUFTensor

GROUP = 32
"""Numbers that share a scale and a bias."""
AFFINE = {"Q4_0": 4, "Q4_1": 4, "Q4_K": 4, "Q5_0": 5, "Q5_1": 5, "Q5_K": 5, "Q8_0": 8}
"""Bits per number of the layouts that MLX can hold."""

_AT_ONCE = 2**24
"""Numbers that are unpacked at a time."""
_SUPER = 256
"""Numbers of one block of the ``K`` layouts."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AffineWeights:
    """Holds a matrix in MLX's layout."""

    packed: NDArray[np.uint32]
    """(outputs, inputs * bits / 32); each row is a stream of bits, lowest first."""
    scales: Floats
    """(outputs, inputs / 32)."""
    biases: Floats
    """(outputs, inputs / 32)."""


def dequantised(tensor: GGUFTensor) -> Floats:
    """Return all numbers of a tensor as float32.

    Raises:
        ModelError: they are stored in a way that the gguf package cannot read.
    """
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        return np.ascontiguousarray(dequantize(tensor.data, GGMLQuantizationType[tensor.kind]), np.float32)
    except (NotImplementedError, ValueError) as error:
        raise ModelError(
            f"{tensor.name} is stored as {tensor.kind}, which cannot be read ({error}): take a file in another "
            "quantisation, such as Q4_K_M or Q8_0"
        ) from None


def repacked(tensor: GGUFTensor) -> AffineWeights | None:
    """Give the same numbers in MLX's layout, or ``None`` where that would round them."""
    if tensor.kind not in AFFINE or tensor.data.ndim != 2:
        return None
    bits = AFFINE[tensor.kind]
    parts = [_affine(part, tensor.kind, bits) for part in _in_parts(np.asarray(tensor.data, np.uint8))]
    return AffineWeights(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _in_parts(data: Bytes) -> Iterator[Bytes]:
    rows = max(1, _AT_ONCE // (2 * data.shape[1]))
    for first in range(0, len(data), rows):
        yield data[first : first + rows]


def _affine(data: Bytes, kind: str, bits: int) -> tuple[Any, Floats, Floats]:
    blocks = data.reshape(len(data), -1, _block_bytes(kind))
    decode = _decode_k if kind.endswith("_K") else _decode_plain
    quants, scales, biases = decode(blocks, kind, bits)
    return _packed(quants.reshape(len(data), -1), bits), scales, biases


def _block_bytes(kind: str) -> int:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    return int(GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1])


def _decode_plain(blocks: Bytes, kind: str, bits: int) -> tuple[Bytes, Floats, Floats]:
    """Blocks of 32: a scale, for ``_1`` a minimum, for five bits their highest, then the rest."""
    scales = _halves(blocks[..., :2])
    at = 2
    if kind.endswith("_1"):
        biases = _halves(blocks[..., 2:4])
        at = 4
    else:
        biases = scales * np.float32(-(2 ** (bits - 1)))
    if bits == 8:
        # Signed: q + 128 has the highest bit turned over.
        return blocks[..., at:] ^ np.uint8(128), scales, biases
    high = None
    if bits == 5:
        high = np.unpackbits(blocks[..., at : at + 4], axis=-1, bitorder="little")
        at += 4
    quants = np.concatenate([blocks[..., at:] & 15, blocks[..., at:] >> 4], axis=-1)
    return (quants if high is None else quants | (high << 4)), scales, biases


def _decode_k(blocks: Bytes, kind: str, bits: int) -> tuple[Bytes, Floats, Floats]:
    """Blocks of 256: two halves scale the six-bit scales and minima of eight groups."""
    rows, count = blocks.shape[:2]
    scale, minimum = (_halves(blocks[..., at : at + 2])[..., None] for at in (0, 2))
    first, second, mixed = (blocks[..., at : at + 4] for at in (4, 8, 12))
    scales = scale * np.concatenate([first & 63, (mixed & 15) | ((first >> 2) & 48)], axis=-1)
    minima = minimum * np.concatenate([second & 63, (mixed >> 4) | ((second >> 2) & 48)], axis=-1)
    low = blocks[..., -_SUPER // 2 :].reshape(rows, count, 4, 1, 32)
    quants: Bytes = np.concatenate([low & 15, low >> 4], axis=3).reshape(rows, count, 8, 32)
    if bits == 5:
        # One byte has the highest bits of one place in all eight groups.
        high = blocks[..., 16 : 16 + 32].reshape(rows, count, 1, 32)
        quants |= ((high >> np.arange(8, dtype=np.uint8)[:, None]) & np.uint8(1)) << np.uint8(4)
    return quants, scales.reshape(rows, -1), -minima.reshape(rows, -1)


def _packed(quants: Bytes, bits: int) -> NDArray[np.uint32]:
    """Rows of small numbers -> rows of words, each number's bits after the one before, lowest first."""
    if bits == 8:
        stream = np.ascontiguousarray(quants)
    elif bits == 4:
        stream = np.ascontiguousarray(quants[:, 0::2] | (quants[:, 1::2] << 4))
    else:
        single = np.unpackbits(quants[..., None], axis=-1, bitorder="little")[..., :bits]
        stream = np.packbits(single.reshape(len(quants), -1), axis=-1, bitorder="little")
    return stream.view("<u4")


def _halves(pairs: Bytes) -> Floats:
    found: Floats = np.ascontiguousarray(pairs).view("<f2")[..., 0].astype(np.float32)
    return found
