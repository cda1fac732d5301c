"""Refuses what mlx-lm would compute otherwise than config.json says.

mlx-lm takes the settings it knows and ignores the rest in silence. What changes the computation is not listed here by
hand: it is what the source of transformers' own model reads from its configuration, with that library's defaults filled
in. What mlx-lm knows is what the source of its model names. A setting of the first kind that is not of the second must
have a value that changes nothing, or the folder is refused. Families whose tiny random twins were computed otherwise
are refused as well; ``backends.models.measured`` knows which.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mlx.nn as nn
from mlx_lm.models.cache import RotatingKVCache, make_prompt_cache
from mlx_lm.utils import MODEL_REMAPPING

from ..errors import ModelError
from ..models import measured

_log = logging.getLogger(__name__)

_READ = re.compile(r"""\bconfig\.(\w+)|getattr\((?:self\.)?config, ["'](\w+)["']""")
_WORD = re.compile(r"\w+")
_IMPORTED = re.compile(r"^from \.(\w*) import ([\w, ]+)", re.MULTILINE)
_CHECKED_ELSEWHERE = frozenset(
    {"layer_types", "sliding_window", "use_sliding_window", "max_window_layers", "rope_parameters", "rope_scaling"}
)
"""By ``check_layers`` and ``model.check_rope`` and ``model.usable_context``."""
_NO_MATTER = re.compile(
    # For training or other tasks; sizes with which weights of another shape would not load; how a sum is cut up.
    r"dropout|_pdrop|initializer|_loss|jitter|token_id|^output_|^use_cache$|^return_dict$|pretraining_tp|implementation"
    r"|^max_position|label|problem_type|gradient|_kernels$|^vocab_size|_bias$|^tie_|hidden_size|intermediate_size|^num_hidden"
    r"|_dim$|^(mamba_)?chunk_size$|num_attention_heads|num_key_value_heads|^model_type$|^dtype$|^torch_dtype$|classifier|layerdrop|keys_to|^per_layer_config$"
)


_OLD_NAMES_OF_PARTIAL_ROTATION = frozenset({"rotary_pct", "rope_pct", "rotary_dim"})


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that change the computation and that mlx-lm does not know.

    Args:
        settings: config.json, or its ``text_config``.

    Raises:
        ModelError: naming the settings.
    """
    kind = str(settings.get("model_type"))
    _check_family(kind)
    read, filled, defaults = _by_transformers(kind, settings)
    known = _by_mlx(kind)
    if not known:
        return  # mlx-lm has no such model, and says so when it is asked to build it.
    if known & _OLD_NAMES_OF_PARTIAL_ROTATION:
        known |= {"partial_rotary_factor"}
    proven = measured.works(kind, "mlx")
    unknown = {
        key: value
        for key, value in filled.items()
        if key in read
        and key not in known | _CHECKED_ELSEWHERE
        and not _NO_MATTER.search(key)
        and not _neutral(key, value, defaults.get(key))
        and not (_same(value, defaults.get(key)) and (proven or key != "partial_rotary_factor"))
        # What transformers derives from other settings was derived for the twin as well.
        and not (proven and key not in settings and key != "partial_rotary_factor")
    }
    if unknown:
        said = ", ".join(f"{key} {json.dumps(value, default=str):.60}" for key, value in sorted(unknown.items())[:3])
        raise ModelError(
            f"config.json says {said}, which mlx-lm does not know for {kind}, so that it would compute another model: "
            f"{measured.alternative(kind, 'mlx')}"
        )


def check_layers(settings: Mapping[str, Any], model: nn.Module) -> None:
    """Hold the kinds of layers in the configuration against those that mlx-lm has built.

    Raises:
        ModelError: a layer with a sliding window was built without one, or the other way round.
    """
    types = settings.get("layer_types")
    if not isinstance(types, list):
        return
    caches = make_prompt_cache(model)
    if not any(isinstance(one, RotatingKVCache) for one in caches) or len(caches) != len(types):
        return  # Windows are left out in all layers: the usable context is cut to where that makes no difference.
    built = [isinstance(one, RotatingKVCache) for one in caches]
    wanted = [kind == "sliding_attention" for kind in types]
    if built == wanted:
        return
    fitting = [n for n in range(1, len(types) + 1) if wanted == [(at + 1) % n != 0 for at in range(len(types))]]
    way = (
        f'write "sliding_window_pattern": {fitting[0]} at the top level of config.json'
        if fitting
        else "use --backend torch"
    )
    raise ModelError(
        f"config.json says that layers {_numbers(wanted)} see a sliding window, mlx-lm would build "
        f"{_numbers(built)} so: {way}"
    )


def _numbers(flags: list[bool]) -> str:
    found = [str(at) for at, flag in enumerate(flags) if flag]
    return ", ".join(found[:8]) + (", ..." if len(found) > 8 else "") or "none"


def _check_family(kind: str) -> None:
    if not measured.is_known(kind):
        _log.warning("mlx-lm's %s was never compared with transformers here: run `mlxintro check --deep`", kind)
    measured.check(kind, "mlx")


def _neutral(key: str, value: Any, default: Any) -> bool:
    """Tell whether a value means "nothing of the kind", whatever the setting.

    A no to what the family does by itself is no such value: it changes what is computed.
    """
    if value is False and default is True:
        return False
    one = key.endswith(("_factor", "_multiplier", "_scaling", "_scale"))
    return value is None or value is False or value in ([], {}, 0, "") or (one and value == 1)


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the family's own, which its twin was measured with; forms of GELU differ by less than 1e-3."""
    if isinstance(value, str) and isinstance(default, str) and value.startswith("gelu"):
        return default.startswith("gelu")
    return bool(value == default)


def _by_transformers(kind: str, settings: Mapping[str, Any]) -> tuple[set[str], dict[str, Any], dict[str, Any]]:
    """Settings that transformers' model reads, their values with defaults filled in, and the defaults alone."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if kind not in CONFIG_MAPPING:
        return set(), {}, {}
    family = CONFIG_MAPPING[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            filled = _flat(family.from_dict(copy.deepcopy(dict(settings))).to_dict())
        except Exception:
            # What transformers cannot read at all is for its own backend to say.
            filled = _flat(dict(settings))
    folder = Path(importlib.util.find_spec(family.__module__).origin).parent  # type: ignore[union-attr,arg-type]
    source = "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("modeling_*.py")))
    read = {first or second for first, second in _READ.findall(source)} | {"partial_rotary_factor"}
    return read, filled, _flat(family().to_dict())


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what stands in ``rope_parameters`` and changes more than the base, beside the rest."""
    rope = settings.get("rope_parameters") or {}
    if isinstance(rope, Mapping) and "partial_rotary_factor" in rope:
        return {**settings, "partial_rotary_factor": rope["partial_rotary_factor"]}
    return settings


@cache
def _by_mlx(kind: str) -> frozenset[str]:
    """Every word of the source of mlx-lm's model, and of the models it is built from."""
    words: set[str] = set()
    done: set[str] = set()
    todo = [MODEL_REMAPPING.get(kind, kind)]
    while todo:
        name = todo.pop()
        if name in done or not name.isidentifier():
            continue
        done.add(name)
        spec = importlib.util.find_spec(f"mlx_lm.models.{name}")
        if spec is None or spec.origin is None:
            continue
        source = Path(spec.origin).read_text("utf-8")
        words.update(_WORD.findall(source))
        todo += list(_imports(source))
    return frozenset(words)


def _imports(source: str) -> Iterator[str]:
    for module, names in _IMPORTED.findall(source):
        if module in ("base", "cache", "activations"):
            continue
        yield from [module] if module else (name.strip() for name in names.split(","))
