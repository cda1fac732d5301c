"""What a machine itself says of NVIDIA GPUs, without any framework: whether there is one, and its driver."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

_VERSION = Path("/proc/driver/nvidia/version")
_OLDEST_FOR_CUDA_12 = 525
"""Major version of the driver from which all builds for CUDA 12 run."""


def driver(version_file: Path = _VERSION) -> str | None:
    """Return the version of the NVIDIA driver of this machine.

    ``None`` without one, or where ``CUDA_VISIBLE_DEVICES`` hides all.

    Args:
        version_file: what the kernel module tells.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    try:
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", version_file.read_text("utf-8", "replace"))
    except OSError:
        return _asked()
    return found[1] if found else _asked()


def advice(version: str, torch_version: str, built_for: str | None) -> str:
    """Return one line for a torch that cannot use the GPU there is, with the command that mends it.

    Args:
        version: of the driver.
        torch_version: of the installed torch.
        built_for: the CUDA version of its build; ``None`` for a build without CUDA.
    """
    build = f"is built for CUDA {built_for}" if built_for else "is built without CUDA"
    cpu = "or add --device cpu to run on the CPU"
    if int(version.partition(".")[0]) < _OLDEST_FOR_CUDA_12:
        return (
            f"there is an NVIDIA GPU, but torch {torch_version} {build} and its driver {version} is too old: "
            f"update the driver, e.g. `sudo apt install nvidia-driver-580`, {cpu}"
        )
    return (
        f"there is an NVIDIA GPU with driver {version}, but torch {torch_version} {build} and cannot use it: "
        f"`pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126`, {cpu}"
    )


def _asked() -> str | None:
    """Return what ``nvidia-smi`` says, where the kernel module has no file (WSL)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    first = done.stdout.strip().splitlines()[:1]
    return first[0].strip() if first and re.match(r"\d+\.\d+", first[0].strip()) else None
