"""What the form of a new study says besides its fields: models, the question before a download, the protocol."""

from __future__ import annotations

import shutil
from pathlib import Path

from textual.content import Content

from mlxintro.backends.errors import UsageError
from mlxintro.rendering.quantities import size
from mlxintro.tools.model_list import ModelRow

from ..running.study_form import Draft


def protocol(draft: Draft) -> str:
    """Return the study's protocol in words, as ``run --explain`` does. Takes a moment, so call it in a thread."""
    from mlxintro.running import launch
    from mlxintro.running.preview.explain import explain

    try:
        return "\n".join(explain(launch.check(draft.study())))
    except UsageError as error:
        return f"✗ {error}"


def wrong_name(name: str, taken: set[str]) -> str:
    """Say what is wrong with a name for a run; nothing when it can be had."""
    if not name:
        return "it is empty"
    if name in taken:
        return f"there is a run called {name!r} already"
    if name.startswith("-") or not name.isprintable() or len(name) > 80:
        return "begin with a letter or a digit, and use 80 characters at most"
    return ""


def fetching(row: ModelRow) -> str:
    """Return the question that is asked before a model is downloaded."""
    free = shutil.disk_usage(Path.home()).free
    rest = "A part of it is here already. " if row.on_disk == "partial" else ""
    fits = "" if row.fits else " It does not fit into this machine's memory."
    return (
        f"{row.name} ({row.repository}) is not on this disk. {rest}Fetch {size(row.weight_bytes)} "
        f"({size(free)} are free there) and start the study then?{fits}"
    )


def model_line(row: ModelRow, width: int) -> Content:
    """Return a model's line in the list: on disk or not, name in so many columns, size, and whether it fits."""
    disk = {"complete": "●", "partial": "◐", "absent": "○"}[row.on_disk]
    fits = "✓ fits" if row.fits else "✗ too large"
    return Content(f"{disk} {row.name:<{width}} {size(row.weight_bytes):>7} {fits}")
