"""``mlxintro models``."""

from __future__ import annotations

from typing import Any

import click

from mlxintro.cli.output import chatter, json_line, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def models() -> None:
    """List and fetch models."""


_BACKEND = click.option("--backend", type=click.Choice(["auto", "mlx", "torch"]), default="auto", show_default=True)


@models.command("list")
@_BACKEND
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(backend: str, as_json: bool) -> None:
    """Short names, what is on disk, and what fits this machine's memory.

    Besides these, -m takes any hub id (owner/name) and any local folder.
    """
    from mlxintro.backends import registry
    from mlxintro.tools.model_list import rows

    chosen: Any = registry.choose(backend)
    listed = rows(chosen)
    if as_json:
        for row in listed:
            click.echo(json_line(row))
        return
    cells = [[one.name, one.repository, _size(one), _disk(one), _fits(one), one.note] for one in listed]
    click.echo(table(["name", "repository", "weights", "on disk", "fits here", ""], cells, right=(2,)))
    chatter(f"\nfor --backend {chosen}; `mlxintro models fetch NAME` downloads, and continues an interrupted one")


def _size(row: Any) -> str:
    return f"{row.weight_bytes / 1e9:.1f} GB"


def _disk(row: Any) -> str:
    return {"complete": "yes", "partial": "partly", "absent": "no"}[row.on_disk]


def _fits(row: Any) -> str:
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
