"""``mlxintro run --dry-run``: what a study would take, without running it."""

from __future__ import annotations

from typing import Any

import click

from mlxintro.cli.output import chatter, json_line


def describe(checked: Any, planned: Any, backend: Any, as_json: bool) -> None:
    """Print trials, rows, memory, time and power.

    ``--json`` is one object: ``trials``, ``layers`` (indices), ``study`` (resolved), and the fields of
    ``mlxintro.estimate.Estimate``, in bytes and seconds.
    """
    from mlxintro.running.estimate import estimate

    chatter("timing a few tokens ...")
    study = checked.study
    # Depth fractions of a shallow model may come to the same block.
    layers = list(dict.fromkeys(backend.info.layer(layer) for layer in study.layers or ()))
    found = estimate(checked, planned, backend)
    if as_json:
        click.echo(json_line({**found.as_dict(), "layers": layers, "study": study.model_dump(mode="json")}))
        return
    click.echo(f"{len(planned)} trials, preset {study.preset} ({checked.preset.title})")
    click.echo(f"concepts:  {', '.join(recipe.word for recipe in planned.recipes.values())}")
    click.echo(f"layers:    {', '.join(map(str, layers))} of {backend.info.layers}")
    if any(study.strengths or ()):
        click.echo(f"strengths: {', '.join(f'{strength:g}' for strength in study.strengths)} ({study.unit})")
    window = study.window or "as the experiment lays it"
    if found.replies:
        click.echo(f"sampling:  temperature {study.temperature:g}, {study.max_tokens} tokens, window {window}")
    else:
        click.echo(f"sampling:  none; window {window}")
    rows = f"{found.rows} row{'s' * (found.rows != 1)}"
    click.echo(f"batches:   {found.batches} of up to {rows}, prompts of up to {found.workload.prompt_tokens} tokens")
    if found.memory is not None:
        click.echo(
            f"memory:    about {_size(found.memory.work)} beside {_size(found.memory.weights)} of weights; "
            f"{_size(found.free)} are free"
        )
    seconds = found.seconds
    shorter = "if every reply has full length" if found.replies else "for all readouts"
    click.echo(
        f"time:      about {_time(seconds.total)} {shorter}, {_time(seconds.extraction)} of it for concept vectors"
    )
    if found.power is not None:
        click.echo(f"power:     {_power(found.power)}")


def _power(power: Any) -> str:
    from mlxintro.analysis.power import DIFFERENCE, FALSE_ALARMS, POWER

    if not power.trials:
        return "no cell has injected trials, so nothing can be detected"
    said = f"n={power.trials} per cell: 95 % interval up to +-{100 * power.margin:.0f} points; "
    what = f"{100 * DIFFERENCE:.0f} points more than {FALSE_ALARMS:.0%} false alarms are found with"
    if power.power is None:
        return f"{said}without controls a difference cannot be found"
    return (
        f"{said}{what} {power.power:.0%} probability against {power.controls} controls, "
        f"with {POWER:.0%} at n={power.needed}"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
