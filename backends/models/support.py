"""Whether a library can run a model at all, judged by its configuration: before gigabytes are downloaded for nothing.

The backends look closer once they have loaded a model (rotary settings, sliding windows, quantisation kernels). Here
only what is certain from config.json is refused.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal

from ..errors import ModelError
from . import aliases, measured

_MLX_READS = ("awq", "gptq", "bitnet", "mxfp4", "mxfp8", "fp8", "compressed-tensors", "modelopt")
"""Quantisations of other libraries that mlx-lm converts while loading; it misreads the rest in silence."""


def check_weights(name: str, config: Mapping[str, Any], backend: Literal["mlx", "torch"]) -> None:
    """Refuse weights in a form the library cannot read.

    Raises:
        ModelError: naming what to use instead.
    """
    _check_attention(name, config)
    settings = config.get("quantization_config") or (config.get("text_config") or {}).get("quantization_config")
    method = str(settings.get("quant_method", "")) if isinstance(settings, Mapping) else ""
    if backend == "torch" and settings and not config.get("quantization") and not _torch_reads(method):
        raise ModelError(
            f"{name} is quantised with {method or 'a method that its config.json does not name'}, which transformers "
            "does not know: use the original model, or upgrade with `pip install -U transformers`"
        )
    if backend == "torch" and config.get("quantization"):
        original = next((alias.torch for alias in aliases.ALIASES if alias.mlx == name), "the original repository")
        raise ModelError(f"{name} holds weights quantised for MLX: use --backend mlx, or {original}")
    if backend == "mlx" and method and not config.get("quantization") and method not in _MLX_READS:
        raise ModelError(
            f"{name} is quantised with {method}, which mlx-lm cannot read: "
            "use a conversion from https://huggingface.co/mlx-community, or --backend torch"
        )


def _check_attention(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that names foreign code for its attention; known implementations compute the same."""
    for settings in (config, config.get("text_config") or {}):
        for key in ("_attn_implementation", "attn_implementation"):
            wanted = settings.get(key)
            if wanted is not None and wanted not in _ATTENTION:
                raise ModelError(
                    f"config.json of {name} asks for the attention implementation {wanted!r:.60}, which is not one of "
                    f"transformers' own: remove the key {key}, or choose another model"
                )


_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")


def check_architecture(name: str, config: Mapping[str, Any], backend: Literal["mlx", "torch"]) -> None:
    """Refuse a kind of model the library does not know. Imports the library; one that is missing has no say.

    Raises:
        ModelError: naming what to use instead.
    """
    kind = str(config.get("model_type", ""))
    if backend == "torch" and importlib.util.find_spec("transformers") and not _known_to_transformers(kind):
        raise ModelError(
            f"transformers knows no text generator of the type {kind!r} ({name}): upgrade it with "
            f"`pip install -U transformers`, or {_instead_of_torch(kind)}"
        )
    if backend == "mlx" and importlib.util.find_spec("mlx_lm") and not _known_to_mlx(kind):
        raise ModelError(
            f"mlx-lm does not know the architecture {kind!r} ({name}): upgrade it with `pip install -U mlx-lm`, "
            f"or {measured.alternative(kind, 'mlx')}"
        )
    measured.check(kind, backend)


def _torch_reads(method: str) -> bool:
    if not importlib.util.find_spec("transformers"):
        return True
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    return method in AUTO_QUANTIZATION_CONFIG_MAPPING or method == "bitsandbytes"


def _known_to_transformers(kind: str) -> bool:
    """Tell whether transformers generates text with this kind: alone, or as the text part of a model that also sees."""
    from transformers.models.auto import modeling_auto as known

    return kind in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind in known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def _instead_of_torch(kind: str) -> str:
    known = importlib.util.find_spec("mlx_lm") is not None and _known_to_mlx(kind)
    return "use --backend mlx, whose mlx-lm knows it" if known else "choose another model"


def _known_to_mlx(kind: str) -> bool:
    from mlx_lm.utils import MODEL_REMAPPING

    module = MODEL_REMAPPING.get(kind, kind)
    return module.isidentifier() and importlib.util.find_spec(f"mlx_lm.models.{module}") is not None
