"""``mlxintro run --dry-run``: what a study would take, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxintro.cli.output import chatter, echo, json_line

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend
    from mlxintro.experiments.base import Plan
    from mlxintro.running.launch import Checked


def describe(checked: Checked, planned: Plan, backend: Backend, as_json: bool) -> None:
    """Print trials, rows, memory, time and power.

    ``--json`` is one object: ``trials``, ``layers`` (indices), ``study`` (resolved), and the fields of
    ``mlxintro.estimate.StudyEstimate``, in bytes and seconds.
    """
    from mlxintro.rendering.estimate_text import estimate_lines
    from mlxintro.running.estimate import estimate
    from mlxintro.running.launch import check_says_thinking

    check_says_thinking(checked, backend)
    chatter("timing a few tokens ...")
    study = checked.study
    # Depth fractions of a shallow model may come to the same block.
    layers = list(dict.fromkeys(backend.info.layer(layer) for layer in study.layers or ()))
    found = estimate(checked, planned, backend)
    if as_json:
        echo(json_line({**found.as_dict(), "layers": layers, "study": study.model_dump(mode="json")}))
        return
    echo(f"{len(planned)} trials, preset {study.preset} ({checked.preset.title})")
    echo(f"concepts:  {', '.join(recipe.word for recipe in planned.recipes.values())}")
    echo(f"layers:    {', '.join(map(str, layers))} of {backend.info.layers}")
    strengths = study.strengths or ()
    if any(strengths):
        echo(f"strengths: {', '.join(f'{strength:g}' for strength in strengths)} ({study.unit})")
    window = study.window or "as the experiment lays it"
    if study.thinking is not None:
        limit = f", {study.thinking_tokens} tokens at most" if study.thinking == "on" else ""
        echo(f"thinking:  {study.thinking}{limit}")
    if found.replies:
        echo(f"sampling:  temperature {study.temperature:g}, {study.max_tokens} tokens, window {window}")
    else:
        echo(f"sampling:  none; window {window}")
    for line in estimate_lines(found.as_dict()):
        echo(line)
