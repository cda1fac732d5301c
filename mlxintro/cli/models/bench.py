"""``mlxintro bench``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from mlxintro.cli.options import COUNTS, load_backend, model_options
from mlxintro.cli.output import chatter, echo, json_line, table


@click.command()
@model_options
@click.option("--batches", type=COUNTS, default="1,16,64", show_default=True, help="Rows that run together.")
@click.option("--tokens", type=click.IntRange(2), default=32, show_default=True, help="New tokens per row.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Of every figure; medians count.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def bench(batches: Any, tokens: int, repeats: int, as_json: bool, **settings: Any) -> None:
    """Measure how fast this machine runs trials with a model, what injection costs, and how far that is from the floor.

    Without -m the embedded model is timed. The floor is the least a batch can take here: reading weights and cache at
    the measured memory bandwidth, or computing at the measured matrix rate, whichever is longer. Figures are medians;
    injected and plain runs alternate.
    """
    from mlxintro.tools.bench import measure

    if settings["model"] is None and settings["backend"] != "fake":
        settings["model"] = "smollm2"
    with load_backend(**settings, batch_size=max(batches)) as backend:
        report = measure(
            backend,
            batches=batches,
            tokens=tokens,
            repeats=repeats,
            progress=lambda what: chatter(f"timing {what} ..."),
        )
        if as_json:
            echo(json_line({"model": asdict(backend.info), **asdict(report)}))
            return
        info = backend.info
    echo(f"{info.model} on {info.backend} {info.device}, {info.dtype}, quantisation {info.quantization}")
    if report.roofline is None:
        echo("a simulated subject has no floor")
    else:
        echo(
            f"memory {report.roofline.bandwidth / 1e9:.1f} GB/s, matrix products "
            f"{report.roofline.matmul / 1e9:.0f} GFLOP/s, weights {report.roofline.weight_bytes / 1e9:.2f} GB"
        )
    rows = [
        [
            str(one.rows),
            "on" if one.injected else "off",
            f"{one.prompt_rate:.0f}",
            f"{one.decode_rate:.1f}",
            f"{one.trial_rate:.2f}",
            "-" if one.share is None else f"{one.share:.0%}",
        ]
        for one in report.speeds
    ]
    header = ["rows", "injection", "prompt tokens/s", "reply tokens/s", "trials/s", "of the floor's speed"]
    echo("\n" + table(header, rows, right=(0, 2, 3, 4, 5)))
    echo()
    for cost in report.costs:
        echo(
            f"injection at {cost.rows} rows: {cost.decode:.3f} x the time per reply token, {cost.trial:.3f} x per trial"
        )
