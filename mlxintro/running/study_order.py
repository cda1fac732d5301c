"""From a file, an experiment's name and flags to the parts of a study, each checked as far as no model is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.protocol import presets, study_file
from mlxintro.protocol.study import Study, make_study
from mlxintro.protocol.study_parts import AXES, StudyManner, combinations, labels, part_key
from mlxintro.protocol.words.own_concepts import with_concept_files
from mlxintro.running import launch
from mlxintro.running.launch import Checked
from mlxintro.running.subject_names import adapter_name, model_name
from mlxintro.store.studies import StoredStudy
from mlxintro.vectors.library import with_references

Told = Callable[[], AbstractContextManager[None]]
"""Makes a context in which an error about a setting names the line of the study's file."""


@dataclass(frozen=True, slots=True)
class OrderedPart:
    """Describes one run that is asked for."""

    key: str
    """Hash of what was asked, by which the run that it has begun is found again."""
    label: str
    asked: Study
    """Study as it was asked for; what it leaves open is filled in from its preset by ``checked``."""
    checked: Checked
    problem: str | None = None
    """Why its model cannot be found now, though it may be later."""


@dataclass(frozen=True, slots=True)
class StudyOrder:
    """Says what is asked for in one line."""

    parts: tuple[OrderedPart, ...]
    told: Told = nullcontext
    manner: StudyManner = field(default_factory=StudyManner)
    file: str | None = None
    """Name of the study's file without folder and ending; ``None`` for an experiment with flags, which is one run."""


def order_of(db: Path, experiment: str, given: Mapping[str, Any]) -> StudyOrder:
    """Read what is to be run: a file's settings or an experiment's, and the flags that were given over them.

    Args:
        db: store whose imported vectors ``vector:NAME`` refers to.
        experiment: name of an experiment or a study's file.
        given: settings by flags, ``preset_file``, ``concept_file`` and ``set_`` (texts ``key=value``)
            among them.

    Raises:
        UsageError: settings that are wrong, with the file's line.
    """
    flags = dict(given)
    own = flags.pop("preset_file", None)
    extra = dict(study_file.setting(text) for text in flags.pop("set_", ()))
    if own is not None:
        if "preset" in flags:
            raise UsageError("give either --preset or --preset-file")
        flags |= {"preset": own.stem, "preset_data": presets.read_file(own)}
    flags = with_concept_files(flags)
    found = study_file.read(experiment) if study_file.is_file(experiment) else None
    base: dict[str, Any] = {"experiment": experiment} if found is None else found.settings
    if "preset" in flags and own is None:
        base = {name: value for name, value in base.items() if name != "preset_data"}
    if "extraction" in flags:
        flags["extraction"] = {**(base.get("extraction") or {}), **flags["extraction"]}
    settings = {**base, **flags, "options": {**base.get("options", {}), **extra}}
    subjects = [{"model": flags.get("model")}]
    axes: dict[str, tuple[dict[str, Any], ...]] = {}
    if found is not None:
        axes = {axis: values for axis, values in found.axes.items() if AXES[axis] not in flags}
        if "model" not in flags and found.subjects:
            # What a flag or the whole file says of the adapter holds where a subject names none of its own.
            subjects = [{k: v for k, v in asdict(one).items() if v is not None} for one in found.subjects]
    told: Told = nullcontext if found is None else partial(found.told, {*flags, *extra})
    wanted = [{**settings, **one} for one in combinations(subjects, axes)]
    names = labels(wanted)
    parts = tuple(_part(db, one, label, told, len(wanted) > 1) for one, label in zip(wanted, names, strict=True))
    if found is None:
        return StudyOrder(parts, told)
    return StudyOrder(parts, told, found.manner, Path(experiment).stem)


def _part(db: Path, settings: dict[str, Any], label: str, told: Told, one_of_many: bool) -> OrderedPart:
    problem = None
    with told():
        try:
            named = model_name(settings)
        except UsageError as error:
            # A folder may be put back, and is no reason to let the other models wait; a slip of the finger is one.
            if not one_of_many or not str(settings.get("model")).startswith((".", "/", "~")):
                raise
            named, problem = str(Path(settings["model"]).expanduser().resolve()), str(error)
        asked = make_study(**{**settings, "model": named, "adapter": adapter_name(settings)})
        return OrderedPart(part_key(asked), label, asked, launch.check(with_references(asked, db)), problem)


def order_again(db: Path, study: StoredStudy) -> StudyOrder:
    """Ask for a stored study once more.

    Raises:
        UsageError: this program does not know one of its settings any more.
    """
    parts = []
    for part in study.parts:
        asked = make_study(**part.settings)
        checked = launch.check(with_references(asked, db))
        parts.append(OrderedPart(part.key, part.label, asked, checked))
    return StudyOrder(tuple(parts), manner=StudyManner.model_validate(study.settings), file=study.name)
