"""Loads a Hugging Face causal model from a folder, and refuses what is damaged, incomplete or of another kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from ..errors import ModelError, PrerequisiteError
from ..models import foreign
from ..models.sources import ModelSource
from . import attention as torch_attention
from . import devices
from . import linear as torch_linear

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    source: ModelSource, *, device: str, dtype: str, quantize: str | None = None, own_products: bool = True
) -> Any:  # a transformers model; the library is untyped
    """Load weights from a local folder.

    Args:
        source: the folder; nothing is fetched.
        device: ``cpu``, ``mps``, ``cuda``, ``cuda:1``...; ``cuda`` spreads a model too large for one GPU over all.
        dtype: a key of ``DTYPES``.
        quantize: ``4bit`` to quantise while loading (NF4, CUDA only).
        own_products: whether this project's attention and order of weights take the place of transformers'.

    Raises:
        PrerequisiteError: a library or device is missing.
        ModelError: the files are damaged, incomplete, of an unknown architecture, or too large.
    """
    _check_quantization(source)
    options: dict[str, Any] = {"dtype": DTYPES[dtype], "local_files_only": True}
    placement = devices.placement(device, source, dtype, quantize)
    if quantize is not None:
        options["quantization_config"] = devices.four_bit(quantize, device, DTYPES[dtype])
    if placement is not None:
        options["device_map"] = placement
    again = "fetch or save the model again, or choose another"
    with foreign.loading(f"{source.name} cannot be loaded from {source.folder}", again):
        try:
            model, report = _pretrained(source, options)
            if placement is None:
                model.to(device)
        except ImportError as error:
            raise PrerequisiteError(f"{source.name} cannot be loaded: {foreign.line(error)}") from error
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ModelError(
                f"{source.name} does not fit into the memory of {device}: choose a smaller model, or --quantize 4bit"
            ) from error
    _check_report(source, report)
    if own_products:
        torch_attention.use_in(model)
        torch_linear.lay_out(model)
    return model.eval()


_UNUSED = re.compile(
    # Tables that older releases stored, and layers for speculative decoding, which no forward pass uses.
    r"rotary_emb\.inv_freq$|(^|\.)(attn|attention)\.(masked_)?bias$|(^|\.)mtp\."
)


def _check_report(source: ModelSource, report: Mapping[str, Any]) -> None:
    """Refuse weights that are missing, and weights that the model does not use.

    transformers fills what is missing with random numbers and leaves out what is too much, and goes on.
    """
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if absent:
        raise ModelError(
            f"{source.name} is incomplete: {len(absent)} weights, {absent[0]} first, are missing from "
            f"{source.folder} or have another shape; fetch the model again"
        )
    extra = sorted(key for key in report["unexpected_keys"] if not _UNUSED.search(key))
    if extra:
        raise ModelError(
            f"{source.folder} holds {len(extra)} weights that the model of config.json does not use, {extra[0]} first: "
            "configuration and weights belong to different models; fetch or save the model again"
        )


def _check_quantization(source: ModelSource) -> None:
    if "quantization" in source.config:
        raise ModelError(f"{source.name} holds weights quantised for MLX: use --backend mlx, or an unquantised model")
    if (source.folder / "hf_quant_config.json").exists():
        raise ModelError(
            f"{source.name} was quantised by NVIDIA ModelOpt (hf_quant_config.json), which transformers does not read: "
            "use the original model"
        )


def _pretrained(source: ModelSource, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    config = configuration(source)
    text = config.get_text_config(decoder=True)
    # Soft-capped attention exists in the eager form only; SDPA would leave the cap out.
    attention = ["eager"] if getattr(text, "attn_logit_softcapping", None) else ["sdpa", "eager"]
    kinds = AutoModelForCausalLM._model_mapping
    family = AutoModelForCausalLM if type(config) in kinds else AutoModelForImageTextToText
    for implementation in attention:
        try:
            return family.from_pretrained(  # type: ignore[no-any-return]
                source.folder,
                config=config,
                attn_implementation=implementation,
                output_loading_info=True,
                **options,
            )
        except ValueError as error:
            if implementation == attention[-1] or "scaled_dot_product_attention" not in str(error):
                raise
    raise AssertionError("unreachable")


_NOT_ASKED = frozenset({"_attn_implementation", "attn_implementation", "_experts_implementation", "auto_map"})
"""Keys of config.json that name code; which code runs is decided here."""


def configuration(source: ModelSource) -> Any:
    """Return the transformers configuration that config.json stands for, without what it says of code to run."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = source.config.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise ModelError(
            f"transformers knows no model of the type {kind!r} ({source.name}): upgrade it with "
            "`pip install -U transformers`, or choose another model"
        )
    return CONFIG_MAPPING[kind].from_dict(_without(source.config))


def _without(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in settings.items() if key not in _NOT_ASKED}


def _plain(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return [_plain(one) for one in value] if isinstance(value, list) else value
    # transformers writes numbers that JSON has no word for in this form.
    return float(value["__float__"]) if value.keys() == {"__float__"} else _without(value)
