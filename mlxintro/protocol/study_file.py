"""Studies as TOML files: read, checked with the line of what is wrong, and written back from a stored run.

Keys are the settings of ``Study``, flat, and one table ``[options]``. Beside them: ``models``, several subjects run
one after the other, each a model or ``{model = "...", adapter = "..."}``; ``adapters``, ``presets``, ``dialogues``
and ``dtypes``, further axes: there is a run for every combination; ``layers = "even:10"``, ten evenly spaced layers;
``preset_file``, a preset of one's own, with its path relative to the study's, and
``concept_file``, concepts of one's own, likewise; ``name``, ``grader`` and ``budget`` of the whole study.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mlxintro import data as packaged
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.protocol import presets
from mlxintro.protocol.study import Study, make_study
from mlxintro.protocol.study_parts import AXES, StudyManner, manner_of, read_axes
from mlxintro.protocol.toml_text import as_document, as_value, line_of, parsed, place, text_of
from mlxintro.protocol.words.own_concepts import OwnConcepts, read_concept_files

_BESIDE = ("models", "preset_file", "concept_file", *AXES, *StudyManner.model_fields)
_WRITTEN = ("preset_data", "own_concepts")
"""What files of people's own say: written by ``runs show --toml`` alone, so that its study needs no other file."""
_KNOWN = tuple(name for name in (*Study.model_fields, *_BESIDE) if name not in _WRITTEN)
_ALSO = {
    "preset": ("preset_file", "presets"),
    "own_concepts": ("concept_file",),
    "model": ("models",),
    "adapter": ("adapters", "models"),
    **{setting: (axis,) for axis, setting in AXES.items() if setting not in ("preset", "adapter")},
}
"""Other keys of a study's file that stand for a setting."""


@dataclass(frozen=True, slots=True)
class NamedSubject:
    """Names a model as a study names it, with or without an adapter."""

    model: str
    adapter: str | None = None

    @classmethod
    def of(cls, entry: Any) -> NamedSubject | None:
        """Read ``"name"`` or ``{model = "name", adapter = "where"}``; ``None`` for anything else."""
        table = {"model": entry} if isinstance(entry, str) else entry
        if not isinstance(table, dict) or not {"model"} <= set(table) <= {"model", "adapter"}:
            return None
        if not all(isinstance(value, str) and value for value in table.values()):
            return None
        return cls(**table)


@dataclass(frozen=True, slots=True)
class StudyFile:
    name: str
    """Name of the file as the user gave it, for messages."""
    text: str
    settings: dict[str, Any]
    """Settings that ``make_study`` takes, without the model."""
    subjects: tuple[NamedSubject, ...]
    """None named: the backend's default is taken."""
    axes: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """Axes that are varied beside the model: for each, the settings of its values."""
    manner: StudyManner = field(default_factory=StudyManner)
    """Settings of the study as a whole: its name, who grades it, and for how much."""

    @contextmanager
    def told(self, overridden: Set[str] = frozenset()) -> Iterator[None]:
        """Put file and line in front of errors about settings that stand in the file.

        Args:
            overridden: settings and options that flags gave instead; what is wrong with them is not the file's fault.
        """
        try:
            yield
        except KnownError as error:
            keys = (error.setting, *_ALSO.get(error.setting, ())) if error.setting else ()
            key = next((key for key in keys if line_of(self.text, key)), None)
            if key is not None and overridden.isdisjoint(keys):
                error.args = (place(self.name, self.text, key) + str(error),)
            raise


def is_file(argument: str) -> bool:
    """Tell whether what was given in an experiment's place is meant as a study's file, or names one that ships."""
    return argument.endswith(".toml") or f"{argument}.toml" in ready()


def ready() -> dict[str, str]:
    """Return the studies that ship: file name and first line."""
    found = {}
    for name in packaged.names("studies"):
        found[f"{name}.toml"] = packaged.text(f"studies/{name}.toml").splitlines()[0].lstrip("# ")
    return found


def read(argument: str) -> StudyFile:
    """Read a study: a path, or the bare name of one that ships, with its ending or without.

    Raises:
        UsageError: there is no such file, or it holds something that is no setting; with the line.
    """
    shipped = next((name for name in ready() if argument in (name, name.removesuffix(".toml"))), None)
    path = Path(argument)
    if shipped is not None and not path.is_file():
        return parse(packaged.text(f"studies/{shipped}"), shipped, Path())
    if not path.exists():
        raise UsageError(f"there is no file {argument}; studies that ship: {', '.join(ready())}, found by these names")
    return parse(text_of(path), argument, path.parent)


def parse(text: str, name: str, folder: Path) -> StudyFile:
    """Read a study's text; see ``read``."""
    data = parsed(text, name)
    for key in data:
        if key not in (*_KNOWN, *_WRITTEN):
            close = get_close_matches(key, _KNOWN, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_KNOWN)}"
            raise UsageError(f"{place(name, text, key)}there is no setting {key!r}: {hint}")
    models = data.pop("models", None)
    if models is not None and "model" in data:
        raise UsageError(f"{place(name, text, 'models')}give either model or models")
    chosen = [data.pop("model")] if "model" in data else models or []
    subjects = [NamedSubject.of(one) for one in chosen] if isinstance(chosen, list) else [None]
    if None in subjects or models == []:
        key = "models" if models is not None else "model"
        raise UsageError(f"{place(name, text, key)}models are names: write {key} = {_EXAMPLE[key]}")
    if isinstance(data.get("layers"), str):
        try:
            data["layers"] = evenly(data["layers"])
        except ValueError as error:
            raise UsageError(f"{place(name, text, 'layers')}{error}") from None
    if "preset_file" in data:
        if "preset" in data:
            raise UsageError(f"{place(name, text, 'preset_file')}give either preset or preset_file")
        if not isinstance(data["preset_file"], str):
            raise UsageError(f'{place(name, text, "preset_file")}this is a path: write preset_file = "mine.toml"')
        own = folder / data.pop("preset_file")
        if not own.is_file():
            raise UsageError(f"{place(name, text, 'preset_file')}there is no file {own}: give its path from {folder}")
        data |= {"preset": own.stem, "preset_data": presets.read_file(own)}
    if "concept_file" in data:
        data["own_concepts"] = _own_concepts(data.pop("concept_file"), folder, text, name)
    try:
        manner = manner_of(data)
        axes = read_axes(data, folder)
    except UsageError as error:
        raise UsageError(f"{place(name, text, error.setting or '')}{error}") from None
    found = StudyFile(name, text, data, tuple(filter(None, subjects)), axes, manner)
    if "adapters" in axes and any(one.adapter for one in found.subjects):
        raise UsageError(
            f"{place(name, text, 'adapters')}models name adapters of their own: leave adapters out, or those"
        )
    with found.told():
        make_study(**{"model": "any", **data})
    return found


def _own_concepts(given: Any, folder: Path, text: str, name: str) -> OwnConcepts | None:
    """Read the files of concepts that a study names, by paths relative to its own."""
    paths = [given] if isinstance(given, str) else given
    where = place(name, text, "concept_file")
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) and path for path in paths):
        raise UsageError(f'{where}this is a path, or a list of them: write concept_file = "concepts.toml"')
    for path in paths:
        if not (folder / path).is_file():
            raise UsageError(f"{where}there is no file {folder / path}: give its path from {folder}")
    return read_concept_files([folder / path for path in paths])


_EXAMPLE = {"model": '"qwen2.5-7b"', "models": '["qwen2.5-7b", {model = "qwen2.5-7b", adapter = "control"}]'}


def evenly(text: str) -> tuple[int | float, ...]:
    """Read ``even:10`` as ten depths from the first layer to the last, whatever the model.

    Depths are taken to the nearest layer, so a model with hardly more layers than that runs some fewer.

    Raises:
        ValueError: something else.
    """
    match = re.fullmatch(r"even:(\d+)", text.strip())
    count = int(match.group(1)) if match else 0
    if not 1 <= count <= 1000:
        raise ValueError(f"{text!r} is not a choice of layers: write a list, or even:10 for ten from first to last")
    if count == 1:
        return (0.5,)
    last = 1 - 1e-6
    return (0, *(round(i / (count - 1), 6) for i in range(1, count - 1)), last)


def write(study: Study) -> str:
    """Return a study as TOML; reading it gives the same study, and so the same trials."""
    settings = study.model_dump(mode="json")
    options = settings.pop("options")
    inline = "".join(f"{name} = {as_value(value)}\n" for name, value in settings.items() if value is not None)
    return inline + (f"\n{as_document({'options': options})}" if options else "")


def setting(text: str) -> tuple[str, Any]:
    """Read ``key=value`` of ``--set``; the value is TOML, or text where it is none.

    Raises:
        UsageError: there is no ``=``.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes key=value, and {text!r} is none: write e.g. --set trial_numbers=10")
    try:
        return key.strip(), tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
