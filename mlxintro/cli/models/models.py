"""``mlxintro models``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.output import chatter, echo, json_line, table

if TYPE_CHECKING:
    from mlxintro.backends.models.sources import Framework
    from mlxintro.tools.model_list import ModelRow


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def models() -> None:
    """List and fetch models."""


_BACKEND = click.option("--backend", type=click.Choice(["auto", "mlx", "torch"]), default="auto", show_default=True)


@models.command("list")
@click.option(
    "--backend",
    type=click.Choice(["auto", "mlx", "torch", "fake"]),
    default="auto",
    show_default=True,
    help="fake lists the simulated subjects.",
)
@click.option("--memory", callback=lambda _, __, text: _bytes(text), help="Of another machine or card, e.g. 16GB.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(backend: str, memory: int | None, as_json: bool) -> None:
    """List short names, what is on disk, and what fits this machine's memory.

    Besides these, -m takes any hub id (owner/name) and any local folder.
    """
    from mlxintro.backends import registry
    from mlxintro.tools.model_list import rows

    if backend == "fake":
        _list_subjects(as_json)
        return
    chosen: Any = registry.choose(backend)
    listed = rows(chosen, memory)
    if as_json:
        for row in listed:
            echo(json_line(row))
        return
    cells = [[one.name, one.repository, _size(one), _disk(one), _fits(one), one.note] for one in listed]
    heading = "fits" if memory else "fits here"
    echo(table(["name", "repository", "weights", "on disk", heading, ""], cells, right=(2,)))
    if memory:
        chatter(f"\n{_advice(chosen, memory, listed)}")
    chatter(f"\nfor --backend {chosen}; `mlxintro models fetch NAME` downloads, and continues an interrupted one")


def _list_subjects(as_json: bool) -> None:
    """Print the simulated subjects with what each does."""
    from mlxintro.backends.simulated.subject import COMMON, SUBJECTS

    if as_json:
        for name, kind in SUBJECTS.items():
            echo(json_line({"name": name, "does": kind.does, "parameters": {**kind.parameters, **COMMON}}))
        return
    rows = [
        [name, kind.does, ", ".join(f"{key}={value:g}" for key, value in kind.parameters.items())]
        for name, kind in SUBJECTS.items()
    ]
    echo(table(["name", "what it does when a vector is injected", "parameters"], rows))
    common = ", ".join(f"{key}={value:g}" for key, value in COMMON.items())
    chatter(f"\nall have {common}; set one like -m 'detector?hit=0.8&layers=30' --backend fake")


def _bytes(text: str | None) -> int | None:
    """Bytes of a size such as 16GB, 24 or 80G; memory is sold in powers of two."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:G|GB|GiB)?\s*", text, re.IGNORECASE)
    if found is None or not float(found[1]):
        raise click.BadParameter(f"{text!r} is no size: give gigabytes, e.g. 16GB")
    return int(float(found[1]) * 2**30)


def _advice(backend: Framework, memory: int, listed: Sequence[ModelRow]) -> str:
    """Say what of a machine's memory a model may take, and the largest one that fits."""
    from mlxintro.tools.model_list import usable

    room = usable(backend, memory)
    whose = "an Apple GPU may use" if backend == "mlx" else "the card has"
    fitting = [row for row in listed if row.fits]
    best = max(fitting, key=lambda row: row.needed_bytes).name if fitting else "smollm2"
    return f"of {memory / 2**30:g} GB {whose} {room / 1e9:.1f} GB: the largest that fits is {best}"


def _size(row: ModelRow) -> str:
    return f"{row.weight_bytes / 1e9:.1f} GB"


def _disk(row: ModelRow) -> str:
    return {"complete": "yes", "partial": "partly", "absent": "no"}[row.on_disk]


def _fits(row: ModelRow) -> str:
    return f"yes ({row.needed_bytes / 1e9:.1f} GB)" if row.fits else f"no (needs {row.needed_bytes / 1e9:.1f} GB)"


@models.command()
@click.argument("model")
@_BACKEND
def fetch(model: str, backend: str) -> None:
    """Download a model, with progress. An interrupted download continues where it stopped."""
    from mlxintro.backends import registry
    from mlxintro.backends.models import sources
    from mlxintro.cli.running.progress import download_progress

    chosen: Any = registry.choose(backend)
    with download_progress() as progress:
        source = sources.fetch(model, chosen, progress=progress)
    chatter(f"{source.repository} is on disk ({source.weight_bytes / 1e9:.2f} GB of weights) in {source.folder}")
