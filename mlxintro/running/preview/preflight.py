"""What would stop a study, told before the first model is loaded: models, adapters, disk, memory, keys of graders."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import KnownError, PrerequisiteError
from mlxintro.backends.machine.readiness import Readiness, free_disk, readiness
from mlxintro.protocol.concepts import answer_words
from mlxintro.protocol.study import Study
from mlxintro.protocol.study_parts import StudyGrader
from mlxintro.running.study_order import OrderedPart

LOADING = ("model", "backend", "device", "dtype", "quantize", "kv_bits", "adapter", "dialogue")
"""Settings of a study that say which model is loaded, and how."""
_LEAST_DISK = 100_000_000
"""Bytes beside the store below which a person is warned. A thousand trials take some megabytes."""


def problems_of(parts: Sequence[OrderedPart]) -> list[str | None]:
    """Say for every part why it could not be run now; ``None`` where nothing is known against it.

    Downloads are added up: the parts whose models do not all fit on the disk any more get the problem.
    """
    free = -1
    wanted = 0
    counted: set[str] = set()
    found: list[str | None] = []
    for part in parts:
        ready = ready_of(part.asked)
        problem = part.problem or ready.problem
        if problem is None and ready.download and ready.repository not in counted:
            free = free_disk() if free < 0 else free
            counted.add(ready.repository)
            wanted += ready.download
            if wanted > free:
                problem = (
                    f"{part.asked.model} is not on disk: it takes {ready.download / 1e9:.1f} GB, and of "
                    f"{free / 1e9:.1f} GB that are free {(wanted - ready.download) / 1e9:.1f} are taken by other "
                    "models of this study: free some space, or set HF_HOME to a larger disk"
                )
        found.append(problem)
    return found


def ready_of(study: Study) -> Readiness:
    """Look for the model of one part."""
    # Whether there is a chat template is known when the model is loaded.
    settings = study.model_dump(include=set(LOADING) - {"dialogue"})
    try:
        return readiness(settings.pop("model"), settings.pop("backend"), **settings)
    except KnownError as error:
        return Readiness(study.model, 0, 0, 0, str(error))


def warnings_of(db: Path, studies: Sequence[Study]) -> list[str]:
    """Return what is wrong with studies that can be run all the same."""
    found = (disk_warning(db), *map(concept_warning, studies))
    return list(dict.fromkeys(warning for warning in found if warning is not None))


def disk_warning(db: Path) -> str | None:
    """Warn of a disk that is nearly full where results are stored."""
    folder = db.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= _LEAST_DISK:
        return None
    return f"only {free / 1e6:.0f} MB are free where results are stored ({folder}): free some space"


def concept_warning(study: Study) -> str | None:
    """Warn of concepts that a reply names whether or not anything was noticed."""
    known = answer_words(concept for concept, _ in study.resolved_concepts.values())
    if not known:
        return None
    several = len(known) > 1
    return (
        f"{' and '.join(map(repr, known))} {'stand' if several else 'stands'} in replies whatever is injected, so "
        f"naming {'them' if several else 'it'} shows nothing: leave {'them' if several else 'it'} out"
    )


def check_grader(grader: StudyGrader | None) -> None:
    """Check that the grader of a study can be asked, before the night and not after it.

    Raises:
        PrerequisiteError: its key, its library or its prices are missing.
    """
    if grader is None or grader.name in ("rules", "rules-strict"):
        return
    if grader.name == "local":
        judge = str(grader.judge)
        if (problem := readiness(judge, grader.judge_backend).problem) is not None:
            raise PrerequisiteError(f"the judge {judge}: {problem}")
        return
    client: Any
    if grader.name == "claude":
        from mlxintro.grading.claude.api import open_client

        client = open_client()
    else:
        from mlxintro.grading.compatible.api import open_client as open_endpoint

        client = open_endpoint(str(grader.base_url))
    client.close()
