"""Where derived files are kept that can be made again at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Give ``$MLXINTRO_HOME/cache``, or the platform's cache folder where that is not set; it need not exist."""
    home = os.environ.get("MLXINTRO_HOME")
    if home:
        return Path(home).expanduser() / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("mlxintro", appauthor=False)
