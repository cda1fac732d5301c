"""What a list of runs has no room for: the run under the cursor in a few lines, figures, study, note, what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from mlxintro.store.records import Run

from . import wording
from .run_rows import NOT_KNOWN

_GRID = (
    *("layers", "strengths", "unit", "trials", "controls", "window", "temperature", "max_tokens"),
    *("thinking", "thinking_tokens", "seed"),
)


def note_of(run: Run) -> str:
    """Return what a person has noted of a run."""
    return str(run.environment.get("note") or "")


def about(run: Run | None, row: Mapping[str, str] | None, width: int | None = None) -> str:
    """Return a run in lines; empty when there is none. Keys stand in it by the id of their binding.

    Args:
        run: the run under the cursor.
        row: what the list says of it.
        width: columns there are, where lines are not wrapped: what has no room is left out, nothing is cut.
    """
    if run is None:
        return ""
    lines = [f"✎ {note_of(run)}"] if note_of(run) else []
    if run.error:
        lines.append(f"✗ failed: {run.error}")
    if run.state == "interrupted":
        lines.append(f"! its process is gone; {run.remaining} trials are left, {{runs.resume}} resumes it")
    if run.errors:
        lines.append(f"✗ {run.errors} trials failed: {{runs.open}} shows why, {{runs.resume}} tries them again")
    lines.append(wording.identity(run))
    if row is not None and "result" in row:
        more = row["more"].split("; ")
        figures = [one for one in (row["result"], row["against"], *more) if one != NOT_KNOWN]
        lines.append(wording.joined(figures, width))
    lines.append(_concepts(run))
    grid = [f"{name.replace('_', ' ')} {text}" for name in _GRID if (text := _text(run, name))]
    lines.append(wording.joined(grid, width))
    lines.append(wording.joined(_history(run), width))
    return "\n".join(line for line in lines if line)


def _concepts(run: Run) -> str:
    words = [str(one) for one in run.study.get("concepts") or ()]
    return f"concepts {', '.join(words)}" if words else ""


def _text(run: Run, name: str) -> str:
    value = run.study.get(name)
    if isinstance(value, list):
        return ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _history(run: Run) -> list[str]:
    began = (run.started or run.created)[:16].replace("T", " ")
    ended = f", ended {run.finished[:16].replace('T', ' ')}" if run.finished else ""
    machine = " ".join(str(run.model[name]) for name in ("device", "dtype") if run.model.get(name))
    version = (run.environment.get("packages") or {}).get("mlxintro")
    parts = [f"begun {began}{ended} UTC", machine, f"mlxintro {version}" if version else ""]
    return [part for part in parts if part]
