"""Applies a low-rank adapter to a transformers model, through peft.

Float32 weights take the adapter in, so that a step costs what it costs without one. In 16 bits the sum would lose most
of a small adapter to rounding, and 4-bit weights cannot take anything in: there the adapter's own products run beside.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ..adapters import low_rank
from ..adapters.low_rank import LowRankMap
from ..adapters.peft_folder import PREFIX
from ..adapters.sources import AdapterSource
from ..errors import ModelError, PrerequisiteError


def apply(model: Any, source: AdapterSource) -> Any:
    """Put an adapter into a model that was loaded for it alone.

    Returns:
        The model to use from now on.

    Raises:
        PrerequisiteError: peft is not installed.
        ModelError: the adapter is damaged, or does not fit the model.
    """
    try:
        import peft
    except ImportError as error:
        raise PrerequisiteError("an adapter with torch needs peft: pip install peft") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if source.layout == "peft":
                settings, state = _of_peft(peft, source)
            else:
                settings, state = _of_maps(peft, low_rank.read(source))
            adapted = peft.PeftModel(model, settings)
            report: Any = peft.set_peft_model_state_dict(adapted, state)
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            line = (str(error).strip() or type(error).__name__).splitlines()
            raise ModelError(
                f"the adapter {source.name} does not fit {type(model).__name__} ({' '.join(line)[:160]}): "
                "give the adapter of this model"
            ) from error
        absent = [name for name in report.missing_keys if ".lora_" in name or ".modules_to_save." in name]
        for what, names in (("lacks", absent), ("holds unknown weights,", report.unexpected_keys)):
            if names:
                raise ModelError(
                    f"the adapter {source.name} {what} {names[0]} ({len(names)} in all): give the adapter of this model"
                )
        whole = all(p.dtype == torch.float32 for name, p in model.named_parameters() if ".lora_" not in name)
        found = adapted.merge_and_unload() if whole else adapted.get_base_model()
    for parameter in found.parameters():
        parameter.requires_grad_(False)
    return found.eval()


def _of_peft(peft: Any, source: AdapterSource) -> tuple[Any, dict[str, torch.Tensor]]:
    if source.config.get("peft_type") != "LORA":
        raise ModelError(
            f"{source.name} is an adapter of type {source.config.get('peft_type')}: only LORA can be applied"
        )
    settings = peft.LoraConfig.from_pretrained(str(source.folder))
    settings.inference_mode = True
    return settings, {name: torch.from_numpy(values) for name, values in low_rank.load_tensors(source).items()}


def _of_maps(peft: Any, maps: dict[str, LowRankMap]) -> tuple[Any, dict[str, torch.Tensor]]:
    """Settings and tensors, as peft names them, of an adapter in another layout."""
    ranks = {path: one.down.shape[0] for path, one in maps.items()}
    settings = peft.LoraConfig(
        r=1,
        lora_alpha=1,
        rank_pattern={f"^{path}$".replace(".", r"\."): rank for path, rank in ranks.items()},
        alpha_pattern={f"^{path}$".replace(".", r"\."): one.scale * ranks[path] for path, one in maps.items()},
        target_modules=list(maps),
        inference_mode=True,
    )
    state = {}
    for path, one in maps.items():
        state[f"{PREFIX}{path}.lora_A.weight"] = torch.from_numpy(one.down)
        state[f"{PREFIX}{path}.lora_B.weight"] = torch.from_numpy(one.up)
    return settings, state
