"""Preregistration: the study, its plan and the analysis are written down before the first trial, with their hashes.

A report then says whether they held. The analysis is named by a hash of every source that decides a verdict, so any
change of it shows, and a run can be judged again by the version that was frozen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.hashing import canonical_json, tagged_hash

JUDGES = ("analysis", "experiments", "ladder", "grading/rules", "replies")
"""Folders whose sources decide a verdict."""


@lru_cache(maxsize=1)
def analysis_version() -> str:
    """Return the first sixteen hexadecimal digits of a hash over every source that decides a verdict."""
    digest = hashlib.sha256()
    for folder in JUDGES:
        for name, source in sorted(_sources(files("mlxintro") / folder, folder)):
            digest.update(f"{name}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def _sources(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{name}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{name}/{entry.name}", entry


def frozen_record(study: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return what is written down before a run.

    Args:
        study: the resolved study, as plain data.
        keys: of every planned trial.
    """
    record = {
        "study": json.loads(canonical_json(study)),
        "study_hash": tagged_hash(study),
        "plan_hash": plan_hash(keys),
        "analysis": analysis_version(),
    }
    return {**record, "hash": tagged_hash(record)}


def plan_hash(keys: Iterable[str]) -> str:
    """Return one hash for all trials of a plan, whatever their order."""
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(keys):
        digest.update(key.encode())
    return f"b2:{digest.hexdigest()}"


def write_record(record: Mapping[str, Any], path: Path) -> None:
    """Write a record where people can publish it; one that is there is never replaced.

    Raises:
        UsageError: the file exists or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise UsageError(
            f"{path} exists already, and what is frozen is never replaced: choose another --name"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def held(record: Mapping[str, Any], study: Mapping[str, Any], keys: Iterable[str], planned: int) -> list[str]:
    """Return what has changed since a run was frozen, in words; nothing where all of it held.

    Args:
        record: as ``frozen_record`` made it.
        study: the run's study now.
        keys: of its finished trials.
        planned: how many trials the plan has.
    """
    changed = []
    inner = {name: value for name, value in record.items() if name != "hash"}
    if tagged_hash(inner) != record.get("hash"):
        changed.append("the record itself was changed")
    if tagged_hash(study) != record.get("study_hash"):
        changed.append("the study was changed")
    known = list(keys)
    if len(known) < planned:
        changed.append(f"{planned - len(known)} of {planned} trials are still to come")
    elif plan_hash(known) != record.get("plan_hash"):
        changed.append("the trials are not those that were planned")
    if record.get("analysis") != analysis_version():
        changed.append(f"the analysis was {record.get('analysis')} and is {analysis_version()}")
    return changed


def in_words(record: Mapping[str, Any], changed: list[str]) -> str:
    """Return one line for a report."""
    if not changed:
        return f"held: study, trials and analysis are as frozen ({record['hash']})"
    return f"frozen as {record['hash']}, but " + "; ".join(changed)
