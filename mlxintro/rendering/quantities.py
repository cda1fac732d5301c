"""Times and sizes in words, the same everywhere."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a time: ``0.4 s``, ``12 s``, ``5 min``, ``2.5 h``."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Return a number of bytes: ``120 MB``, ``1.5 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
