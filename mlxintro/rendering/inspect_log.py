"""A run as a log of Inspect (UK AI Security Institute's framework for evaluations), for `inspect view`.

A trial becomes a sample: the rendered prompt is its input, the injected concept its target, the reply its output, every
grader's verdict a score (C for a detection, I for none, N for one that cannot be told), and the rest its metadata.
Source: the log file format of inspect_ai, version 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from mlxintro.backends.errors import UsageError
from mlxintro.rendering.whole_file import whole_file
from mlxintro.store.exporting.columns import GRADE_COLUMNS
from mlxintro.store.exporting.export import export_rows
from mlxintro.store.records import Run
from mlxintro.store.store import Store

VERSION = 2
_STATUS = {"done": "success", "cancelled": "cancelled", "failed": "error", "interrupted": "cancelled"}
_METADATA = ("trial_key", "condition", "arm", "category", "layer", "depth", "strength", "unit", "temperature", "seed")


def write_log(store: Store, run: Run, target: Path) -> int:
    """Write a run as one JSON log, a sample at a time; returns how many samples.

    Args:
        store: where the run is.
        run: the run.
        target: the file, which is written whole or not at all.

    Raises:
        UsageError: its ending is not .json, by which Inspect knows its logs.
        KnownError: it cannot be written.
    """
    if target.suffix != ".json":
        raise UsageError(f"{target}: Inspect knows its logs by their ending: choose one with .json")
    with whole_file(target, "choose another file with -o") as place, place.open("w", encoding="utf-8") as out:
        return _write(store, run, out)


def _write(store: Store, run: Run, out: TextIO) -> int:
    graders = store.grades.graders(run.id)
    head = _head(run)
    out.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "samples": [')
    count = 0
    for sample in _samples(store, run, graders):
        out.write((",\n" if count else "\n") + json.dumps(sample, ensure_ascii=False))
        count += 1
    out.write("\n]}\n")
    return count


def _head(run: Run) -> dict[str, Any]:
    name = f"mlxintro/{run.model.get('model')}"
    packages = run.environment.get("packages", {})
    started, ended = run.started or run.created, run.finished or run.created
    commit = (run.environment.get("git") or {}).get("commit")
    spec: dict[str, Any] = {
        "run_id": run.id,
        "eval_id": run.id,
        "created": _with_zone(run.created),
        "task": run.experiment,
        "task_id": run.id,
        "task_version": 0,
        "task_args": run.study,
        "dataset": {"name": run.name, "samples": run.done},
        "model": name,
        "config": {},
        "packages": packages,
        "metadata": {"model": run.model, "platform": run.environment.get("platform")},
    }
    if commit:
        spec["revision"] = {"type": "git", "origin": "", "commit": commit}
    return {
        "version": VERSION,
        "status": _STATUS.get(run.state, "started"),
        "eval": spec,
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {"total_samples": run.planned, "completed_samples": run.done, "scores": []},
        "stats": {"started_at": _with_zone(started), "completed_at": _with_zone(ended), "model_usage": {}},
    }


def _samples(store: Store, run: Run, graders: list[str]) -> Iterator[dict[str, Any]]:
    model, prompts = f"mlxintro/{run.model.get('model')}", store.prompts.of_run(run.id)
    for row in export_rows(store, [run.id]):
        said = {"role": "assistant", "content": row["response"] or ""}
        asked = prompts.get(row["prompt"])
        prompt = asked.text if asked else ""
        sample: dict[str, Any] = {
            "id": row["ordinal"],
            "epoch": 1,
            "input": prompt,
            "target": row["concept"] or "",
            "messages": [*(map(dict, asked.messages) if asked else ()), said],
            "output": {"model": model, "choices": [{"message": said, "stop_reason": _stop(row["finish"])}]},
            "scores": {grader: _score(row, grader) for grader in graders if row[f"{grader}.state"] is not None},
            "metadata": {name: row[name] for name in _METADATA},
        }
        if row["error"]:
            sample["error"] = {"message": row["error"], "traceback": "", "traceback_ansi": ""}
        yield sample


def _score(row: Mapping[str, Any], grader: str) -> dict[str, Any]:
    affirms, coherent, refuses = (row[f"{grader}.{name}"] for name in ("affirms", "coherent", "refuses"))
    detects = None if affirms is None else bool(affirms and coherent is not False and not refuses)
    verdicts = {column.name: row[f"{grader}.{column.name}"] for column in GRADE_COLUMNS}
    value = "N" if detects is None else "C" if detects else "I"
    return {"value": value, "answer": row["response"], "explanation": verdicts.get("reason"), "metadata": verdicts}


def _stop(finish: str | None) -> str:
    return {"length": "max_tokens", "stop": "stop"}.get(finish or "", "unknown")


def _with_zone(time: str) -> str:
    return time if time.endswith(("Z", "+00:00")) else f"{time}+00:00"
