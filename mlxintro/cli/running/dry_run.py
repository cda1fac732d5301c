"""``mlxintro run --dry-run``: what a study would take, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlxintro.cli.output import chatter, echo, json_line

if TYPE_CHECKING:
    from mlxintro.backends.base import Backend
    from mlxintro.experiments.base import Plan
    from mlxintro.running.launch import Checked
    from mlxintro.running.preview.estimate import StudyEstimate
    from mlxintro.running.study_order import StudyOrder


def describe_all(order: StudyOrder, flags: dict[str, Any]) -> int:
    """Say of every part of a study what would run, and what all of them come to; return the exit code.

    A part whose model cannot be loaded is told, and does not keep the others from being described.
    """
    from mlxintro.backends.errors import KnownError
    from mlxintro.cli.running.executing import planned_on
    from mlxintro.running.preview.preflight import problems_of

    alone = len(order.parts) == 1
    problems = [None] if alone else problems_of(order.parts)
    found: list[StudyEstimate] = []
    for part, problem in zip(order.parts, problems, strict=True):
        if not alone and not flags["as_json"]:
            echo(f"{part.label}:" if part is order.parts[0] else f"\n{part.label}:")
        try:
            if problem is not None:
                raise KnownError(problem)
            with planned_on(order.told, part.checked, flags["batch_size"]) as (backend, planned):
                found.append(describe(part.checked, planned, backend, flags["as_json"]))
        except KnownError as error:
            if alone:
                raise
            echo(json_line({"part": part.label, "problem": str(error)}) if flags["as_json"] else f"problem:   {error}")
    if alone:
        return 0
    _total(order, found, flags["as_json"])
    return 0 if len(found) == len(order.parts) else 1


def _total(order: StudyOrder, found: list[StudyEstimate], as_json: bool) -> None:
    from mlxintro.rendering.quantities import duration

    trials, seconds = sum(one.trials for one in found), sum(one.seconds.total for one in found)
    if as_json:
        total = {"parts": len(order.parts), "estimated": len(found), "trials": trials, "seconds": seconds}
        echo(json_line({"total": total}))
        return
    missing = len(order.parts) - len(found)
    without = f", without the {missing} that cannot be run now" if missing else ""
    echo(f"\nall {len(order.parts)} runs: {trials} trials, about {duration(seconds)}{without}")


def describe(checked: Checked, planned: Plan, backend: Backend, as_json: bool) -> StudyEstimate:
    """Print trials, rows, memory, time and power.

    ``--json`` is one object: ``trials``, ``layers`` (indices), ``study`` (resolved), and the fields of
    ``mlxintro.running.preview.estimate.StudyEstimate``, in bytes and seconds.
    """
    from mlxintro.rendering.estimate_text import estimate_lines
    from mlxintro.running.preview.estimate import estimate
    from mlxintro.running.thinking import check_says_thinking

    check_says_thinking(checked.study, checked.experiment, backend)
    chatter("timing a few tokens ...")
    study = checked.study
    # Depth fractions of a shallow model may come to the same block.
    layers = list(dict.fromkeys(backend.info.layer(layer) for layer in study.layers or ()))
    found = estimate(checked, planned, backend)
    if as_json:
        echo(json_line({**found.as_dict(), "layers": layers, "study": study.model_dump(mode="json")}))
        return found
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
    return found
