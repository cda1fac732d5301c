"""Which kind of device a model runs on: two of one kind give the same texts, two of different kinds need not."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..values import ModelInfo

_LIBRARIES = ("torch", "mlx", "numpy")


def device_kind(info: ModelInfo) -> dict[str, str]:
    """Return what of a loaded model's device can change a rounding: its make, and the libraries that compute on it.

    Args:
        info: of the loaded model.
    """
    device = info.device.partition(":")[0]
    found = {"device": device, "machine": platform.machine(), "system": sys.platform}
    if device == "cuda":
        import torch

        place = info.device if ":" in info.device else None
        found["device"] = torch.cuda.get_device_name(place)
    if device == "cpu" and info.backend == "torch":
        import torch

        # Products are laid out, and add up, by what the processor can do.
        found["instructions"] = torch.backends.cpu.get_cpu_capability()
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
