"""The small files of a model folder: each is read here first, so that what is wrong with it has one clear line.

The libraries that load a model read the same files with less care. A named pipe would hang them, a list where they
expect settings or a number that is a word ends in a traceback from deep inside.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
)

from ..errors import ModelError, reason_of

SUFFIXES = frozenset({".json", ".jinja", ".model", ".txt", ".tiktoken"})
"""Endings of the files beside the weights that make a model what it is."""

_LARGEST = 512 * 2**20
_LARGEST_CONFIG = 64 * 2**20
_DEEPEST = 64
_POINTER = b"version https://git-lfs.github.com/spec/"
_OBJECTS = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json")
_AGAIN = "fetch or save the model again"


def check(folder: Path) -> None:
    """See that every small file of a model is a regular file of a sane size and, where it holds settings, an object.

    Raises:
        ModelError: naming the first file that is not, and why.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError as error:
        raise ModelError(f"{folder} cannot be read ({error.strerror or error}): check its permissions") from None
    for path in paths:
        require_regular(path)
        if path.stat().st_size > _LARGEST:
            raise ModelError(
                f"{path} has {path.stat().st_size / 1e9:.1f} GB, too large for what it should be: {_AGAIN}"
            )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json) and not, or not only, a model: merge it into its base "
            "model and save that"
        )
    for name in _OBJECTS[1:]:
        if (folder / name).is_file():
            read_object(folder / name)


def require_regular(path: Path) -> None:
    """Refuse what is no plain file, and a pointer in the place of a file.

    Raises:
        ModelError: naming what it is.
    """
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}): {_AGAIN}") from None
    if not stat.S_ISREG(kind):
        what = "folder" if stat.S_ISDIR(kind) else "named pipe or device"
        raise ModelError(f"{path} is a {what}, not a file: {_AGAIN}")
    try:
        with path.open("rb") as file:
            begins = file.read(len(_POINTER))
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}): check its permissions") from None
    if begins == _POINTER:
        raise ModelError(
            f"{path} is a git-lfs pointer, not the file itself: run `git lfs pull` in {path.parent}, or fetch the model"
        )


def read_object(path: Path) -> dict[str, Any]:
    """Parse a JSON file that must hold an object of moderate depth.

    Raises:
        ModelError: it cannot be read, or is something else.
    """
    require_regular(path)
    if path.stat().st_size > _LARGEST_CONFIG:
        raise ModelError(f"{path} has {path.stat().st_size / 1e6:.0f} MB, too large for settings: {_AGAIN}")
    try:
        found = json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ModelError(f"{path} cannot be read (nested too deeply): {_AGAIN}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}): {_AGAIN}") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a JSON object: {_AGAIN}")
    if _deeper_than(found, _DEEPEST):
        raise ModelError(f"{path} cannot be read (nested too deeply): {_AGAIN}")
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """Parse ``config.json`` and see that the settings every model has are of the right kind.

    Raises:
        ModelError: it is missing, damaged, or holds a setting no model can have.
    """
    path = folder / "config.json"
    if not path.exists() and not path.is_symlink():
        raise ModelError(
            f"{folder} holds no config.json: give the folder of one model as saved by save_pretrained or mlx_lm.convert"
        )
    config = read_object(path)
    check_config(config, path)
    return config


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """Hold the settings that every model has, and those of its text part, against what they can be.

    Args:
        path: named in the error.

    Raises:
        ModelError: naming the first that cannot be.
    """
    try:
        _ModelConfig.model_validate(config)
        if config.get("text_config") is not None:
            _ModelConfig.model_validate(config["text_config"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function"))
        value = repr(first.get("input"))
        why = reason_of(first).removeprefix("Input ")
        raise ModelError(f"{path} says {where} {value[:60]}, which no model can have ({why}): {_AGAIN}") from None


def end_tokens(folder: Path) -> tuple[int, ...]:
    """Return the ids that end a reply, as the settings for generation and the configuration name them.

    Raises:
        ModelError: they are no ids.
    """
    ends: list[int] = []
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if path.is_file():
            settings = read_object(path)
            try:
                found = _EndTokens.model_validate(settings).eos_token_id
            except ValidationError:
                raise ModelError(
                    f"{path} says eos_token_id {settings.get('eos_token_id')!r:.60}, which is no token id: {_AGAIN}"
                ) from None
            ends += found if isinstance(found, list) else [] if found is None else [found]
    return tuple(ends)


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("should be finite")
    return value


_Number = Annotated[int, BeforeValidator(_no_bool), Field(strict=True)]
_Count = Annotated[_Number, Field(ge=1, le=2**31)]
_Id = Annotated[_Number, Field(ge=-1, le=2**31)]
_Positive = Annotated[float, BeforeValidator(_no_bool), Field(strict=True, gt=0), AfterValidator(_finite)]
_DTYPES = frozenset({"float32", "float16", "bfloat16", "float64", "auto", "float8_e4m3fn", "float8_e5m2"})


def _dtype(value: str | None) -> str | None:
    if value is not None and value.removeprefix("torch.") not in _DTYPES:
        raise ValueError("is no dtype of weights")
    return value


_Dtype = Annotated[StrictStr | None, AfterValidator(_dtype)]


class _EndTokens(BaseModel):
    eos_token_id: _Id | list[_Id] | None = None


class _ModelConfig(BaseModel):
    """Holds settings that families share. Others pass; the library that loads the model knows what they mean."""

    model_config = ConfigDict(extra="ignore")

    model_type: StrictStr | None = None
    architectures: list[StrictStr] | None = None
    num_hidden_layers: _Count | None = None
    n_layer: _Count | None = None
    num_attention_heads: _Count | list[_Number] | None = None
    n_head: _Count | None = None
    num_key_value_heads: _Count | list[_Number] | None = None
    hidden_size: _Count | None = None
    n_embd: _Count | None = None
    head_dim: _Count | None = None
    intermediate_size: _Count | list[_Number] | None = None
    vocab_size: _Count | None = None
    max_position_embeddings: _Count | None = None
    sliding_window: Annotated[_Number, Field(ge=0)] | None = None
    rms_norm_eps: _Positive | None = None
    layer_norm_eps: _Positive | None = None
    rope_theta: _Positive | None = None
    eos_token_id: _Id | list[_Id] | None = None
    dtype: _Dtype = None
    torch_dtype: _Dtype = None
    tie_word_embeddings: StrictBool | None = None
    text_config: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    quantization_config: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None
    layer_types: list[StrictStr] | None = None
