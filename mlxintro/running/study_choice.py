"""Which stored study a line means: the one it has begun before, the one it adds to, or a new one."""

from __future__ import annotations

from collections.abc import Mapping

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.words.own_concepts import check_same_concepts
from mlxintro.running import launch
from mlxintro.running.study_order import OrderedPart, StudyOrder
from mlxintro.store.store import Store
from mlxintro.store.studies import StoredStudy


def stored_study(store: Store, order: StudyOrder, name: str | None) -> StoredStudy:
    """Find the study that the same line has begun before, or record a new one.

    Without a name of a person's own, a study is known by its file's name and by what is asked; the same file with other
    settings is another study with a number behind its name. A name of one's own stands for one study, which may grow:
    what its file names beyond what was begun is added.

    Args:
        name: given by flag; else the file's ``name``.

    Raises:
        UsageError: the name belongs to a study or to runs that are not this line's.
    """
    manner = order.manner.model_dump(mode="json", exclude_none=True)
    chosen = name or order.manner.name
    if chosen is not None:
        launch.check_written_name(chosen)
        found = store.studies.named(chosen)
        if found is not None:
            return _grown(store, found, order, manner)
        for number in range(len(order.parts)):
            launch.check_name(store, run_name(chosen, number, len(order.parts)))
        return store.studies.create(chosen, manner, _rows(order))
    stem = order.file or "study"
    try:
        launch.check_written_name(stem)
    except UsageError:
        stem = order.parts[0].checked.study.experiment
    keys = {part.key for part in order.parts}
    for one in store.studies.all():
        if _same_stem(one.name, stem) and {part.key for part in one.parts} == keys:
            return store.studies.change(one.id, manner, (), ())
    _check_concepts(store, order, stem)
    return store.studies.create(_free_name(store, stem, len(order.parts)), manner, _rows(order))


def _check_concepts(store: Store, order: StudyOrder, stem: str) -> None:
    """Refuse a file that was begun before when nothing but its own concepts has changed since.

    Raises:
        UsageError: naming the study, and the first concept that differs.
    """
    settings = [part.asked.model_dump(mode="json", exclude_defaults=True) for part in order.parts]
    for one in store.studies.all():
        stored = [part.settings for part in one.parts]
        if _same_stem(one.name, stem) and list(map(_without_own, stored)) == list(map(_without_own, settings)):
            try:
                for then, now in zip(stored, order.parts, strict=True):
                    check_same_concepts(one.name, then, now.asked.own_concepts)
            except UsageError as error:
                raise UsageError(
                    f"{str(error).partition(':')[0]}: put the file of concepts back to go on with it, or give another "
                    "--name for a new study",
                    setting="own_concepts",
                ) from None


def _without_own(settings: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if name != "own_concepts"}


def run_name(study: str, ordinal: int, count: int) -> str:
    """Name the run of a part: as its study where that is one run, else with its number, from 1."""
    return study if count == 1 else f"{study}-{ordinal + 1}"


def _grown(store: Store, study: StoredStudy, order: StudyOrder, manner: dict[str, object]) -> StoredStudy:
    wanted = {part.key for part in order.parts}
    gone = [part for part in study.parts if part.key not in wanted]
    begun = [part.label for part in gone if part.run is not None]
    if begun:
        raise UsageError(
            f"the study {study.name!r} was begun with other settings ({'; '.join(begun[:3])} are not what is asked "
            f"now): choose another --name, or delete it with `mlxintro studies rm {study.name}`"
        )
    known = {part.key for part in study.parts}
    new = [part for part in order.parts if part.key not in known]
    return store.studies.change(
        study.id, manner, [_row(part) for part in new], [part.key for part in gone if part.run is None]
    )


def _rows(order: StudyOrder) -> list[tuple[str, str, object]]:
    return [_row(part) for part in order.parts]


def _row(part: OrderedPart) -> tuple[str, str, object]:
    return part.key, part.label, part.asked.model_dump(mode="json", exclude_defaults=True)


def _same_stem(name: str, stem: str) -> bool:
    rest = name.removeprefix(stem)
    return name.startswith(stem) and (not rest or (rest[0] == "-" and rest[1:].isdecimal()))


def _free_name(store: Store, stem: str, count: int) -> str:
    """The file's name, or with the first number with which neither a study nor a run of it has that name."""
    taken = {one.name for one in store.studies.all()}
    runs = {name for _, name, _ in store.runs.states()}
    number = 1
    while True:
        name = stem if number == 1 else f"{stem}-{number}"
        if name not in taken and runs.isdisjoint({name, *(run_name(name, one, count) for one in range(count))}):
            return name
        number += 1
