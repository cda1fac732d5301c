"""Experiments, graders and backends of other packages, found by the entry points that those packages declare.

A package declares them in its ``pyproject.toml``, e.g. ``[project.entry-points."mlxintro.graders"]`` with
``mine = "my_package:MyGrader"``. Nothing of a package is imported before its name is asked for.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from .errors import PrerequisiteError

Group = Literal["mlxintro.experiments", "mlxintro.graders", "mlxintro.backends"]


def outside_names(group: Group) -> list[str]:
    """List what installed packages add to a group, sorted."""
    return sorted({point.name for point in entry_points(group=group)})


def load_outside(group: Group, name: str) -> Any:
    """Import what a package adds to a group under a name.

    Raises:
        PrerequisiteError: the package does not load, or two packages use the name.
        LookupError: no package adds it.
    """
    # One package may stand on the path twice, as a checkout that is installed as well does.
    found = {(_package(point), point.value): point for point in entry_points(group=group) if point.name == name}
    if not found:
        raise LookupError(name)
    kind = group.rpartition(".")[2].removesuffix("s")
    if len(found) > 1:
        packages = " and ".join(sorted(package for package, _ in found))
        raise PrerequisiteError(f"the {kind} {name!r} is in several packages, {packages}: remove all but one")
    (point,) = found.values()
    try:
        return point.load()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PrerequisiteError(
            f"the {kind} {name!r} of the package {_package(point)} does not load ({reason}): update or remove it"
        ) from error


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
