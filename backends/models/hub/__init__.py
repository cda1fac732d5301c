"""Model files from the Hugging Face hub, into its own cache.

``huggingface_hub`` does the talking and keeps the cache. What it does not do is continue a file that an earlier
process left half downloaded, and with shards of 5 GB that matters: weight files are therefore transferred here, into
a partial file with a stable name, verified against their SHA-256 and handed over as finished blobs. Every failure
becomes one line that names the way out. Knows nothing of aliases, frameworks or memory.
"""

from __future__ import annotations

from .problems import explain
from .repository import ALLOWED, cached, config, describe, fetch, split
from .transfer import DownloadProgress, Remote, RemoteFile

__all__ = [
    "ALLOWED",
    "DownloadProgress",
    "Remote",
    "RemoteFile",
    "cached",
    "config",
    "describe",
    "explain",
    "fetch",
    "split",
]
