"""Whether a library can run a model at all, judged by its configuration: before gigabytes are downloaded for nothing.

The backends look closer once they have loaded a model (rotary settings, sliding windows, quantisation kernels). Here
only what is certain from config.json is refused.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal

from .errors import ModelError
from .models import aliases

_MLX_READS = ("awq", "gptq", "bitnet", "mxfp4", "mxfp8", "fp8", "compressed-tensors", "modelopt")
"""Quantisations of other libraries that mlx-lm converts while loading; it misreads the rest in silence."""


def check_weights(name: str, config: Mapping[str, Any], backend: Literal["mlx", "torch"]) -> None:
    """Refuse weights in a form the library cannot read.

    Raises:
        ModelError: naming what to use instead.
    """
    settings = config.get("quantization_config")
    method = str(settings.get("quant_method", "")) if isinstance(settings, Mapping) else ""
    if backend == "torch" and config.get("quantization"):
        original = next((alias.torch for alias in aliases.ALIASES if alias.mlx == name), "the original repository")
        raise ModelError(f"{name} holds weights quantised for MLX: use --backend mlx, or {original}")
    if backend == "mlx" and method and not config.get("quantization") and method not in _MLX_READS:
        raise ModelError(
            f"{name} is quantised with {method}, which mlx-lm cannot read: "
            "use a conversion from https://huggingface.co/mlx-community, or --backend torch"
        )


def check_architecture(name: str, config: Mapping[str, Any], backend: Literal["mlx", "torch"]) -> None:
    """Refuse a kind of model the library does not know. Imports the library; one that is missing has no say.

    Raises:
        ModelError: naming what to use instead.
    """
    kind = str(config.get("model_type", ""))
    if backend == "torch" and importlib.util.find_spec("transformers") and not _known_to_transformers(kind):
        raise ModelError(
            f"transformers knows no text generator of the type {kind!r} ({name}): upgrade it with "
            "`pip install -U transformers`, or choose another model"
        )
    if backend == "mlx" and importlib.util.find_spec("mlx_lm") and not _known_to_mlx(kind):
        raise ModelError(
            f"mlx-lm does not know the architecture {kind!r} ({name}): upgrade it with `pip install -U mlx-lm`, "
            "or use --backend torch"
        )


def _known_to_transformers(kind: str) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _known_to_mlx(kind: str) -> bool:
    from mlx_lm.utils import MODEL_REMAPPING

    module = MODEL_REMAPPING.get(kind, kind)
    return module.isidentifier() and importlib.util.find_spec(f"mlx_lm.models.{module}") is not None
