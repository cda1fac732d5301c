"""Content hashes: the same data has the same name on every machine.

The canonical form is part of the contract: JSON with sorted keys, no spaces, UTF-8, floats as Python's shortest
``repr``, no NaN. The hash carries its algorithm as a tag, so that it can be changed one day without confusion.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cache
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the canonical JSON of plain data and dataclasses.

    Raises:
        ValueError: NaN or infinity.
        TypeError: something that is not plain data.
    """
    return _encode(value)


def tagged_hash(value: Any) -> str:
    """Return ``b2:`` and 32 hex digits of BLAKE2b over the canonical JSON."""
    return "b2:" + hashlib.blake2b(canonical_json(value).encode(), digest_size=16).hexdigest()


@cache
def field_names(kind: type) -> tuple[str, ...]:
    """Return a dataclass's field names in the order of JSON; cached: asking costs as much as writing the values."""
    return tuple(sorted(field.name for field in dataclasses.fields(kind)))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {name: getattr(value, name) for name in field_names(type(value))}
        for name, default in getattr(value, "LATER", {}).items():
            # Fields that came later are left out at their defaults, so that what was hashed before keeps its name.
            if plain[name] == default:
                del plain[name]
        return plain
    raise TypeError(f"{type(value).__name__} has no canonical form")


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
).encode
