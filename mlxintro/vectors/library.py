"""The imported vectors of a store: brought in under a name, found again, and handed to studies as references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.paths import vectors_beside
from mlxintro.protocol.concepts import custom, library
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.spelling import comparable
from mlxintro.protocol.study import Study
from mlxintro.protocol.words.imported import PREFIX, VectorReference
from mlxintro.store.records import VectorRecord
from mlxintro.store.store import Store
from mlxintro.vectors.alignment import Alignment, LayerMap
from mlxintro.vectors.cache import VectorCache, directions_of
from mlxintro.vectors.formats.outgoing import OutgoingVector
from mlxintro.vectors.formats.untrusted import VectorFile
from mlxintro.vectors.imported import LayerDirections

IMPORT = "import"
"""``method`` in the record of an imported vector."""
_LONGEST_ALIGNMENT = 40
_NAME = re.compile(r"[\w.][\w.+ /-]{0,79}")


@dataclass(frozen=True, slots=True)
class Bringing:
    """Describes a vector that is to be brought in."""

    name: str
    word: str
    """The concept that is right to name."""
    directions: LayerDirections
    format: str
    source: str
    """Origin, for people: a file's name, or how it was made."""
    facts: Mapping[str, str]

    @classmethod
    def of(cls, file: VectorFile, path: Path, name: str | None, word: str | None) -> Bringing:
        """Return a file's vector, under the name and for the concept that are given or that the file suggests.

        Raises:
            UsageError: a name or a concept that cannot be typed again.
        """
        suggested = word or file.facts.get("mlxintro.word") or file.facts.get("word")
        feature = file.facts.get("feature")
        chosen = name or (path.stem if feature is None else f"{path.stem}-{feature}")
        if not _NAME.fullmatch(chosen) or chosen != chosen.strip():
            raise UsageError(f"{chosen!r:.99} is no name for a vector: give --name of letters, digits and hyphens")
        concept = library().find(suggested or chosen) or custom(suggested or chosen)
        return cls(chosen, concept.word, file.directions, file.format, path.name[:200], file.facts)


class VectorLibrary:
    """Manages imported vectors beside an open store."""

    def __init__(self, store: Store, notice: Callable[[str], None] | None = None) -> None:
        self._store = store
        self._cache = VectorCache(vectors_beside(store.path), notice)

    def bring_in(self, vectors: Iterable[Bringing], *, replace: bool = False) -> None:
        """Keep vectors under their names.

        Args:
            replace: take a name from another vector; studies refer to contents, so those that used it go on.

        Raises:
            UsageError: a name is taken by another vector.
            KnownError: the folder of vectors cannot be written.
        """
        named = self.named()
        for one in vectors:
            content = one.directions.content_hash
            plain = {
                "method": IMPORT,
                "name": one.name,
                "word": one.word,
                "content": content,
                "width": one.directions.width,
                "layers": list(one.directions.layers),
                "site": one.directions.site,
                "format": one.format,
                "source": one.source,
                "facts": dict(one.facts),
            }
            before = named.get(one.name)
            if before is not None and not replace and (before.content, before.recipe["word"]) != (content, one.word):
                raise UsageError(
                    f"there is already another vector called {one.name!r}: choose another --name, or --replace it"
                )
            if not self._cache.save_directions(one.directions, {"source": one.source}):
                raise KnownError(f"the vector is not kept: free {self._cache.folder} for writing and import again")
            file = self._cache.path(content).name
            self._store.vectors.add(VectorRecord(tagged_hash([IMPORT, one.name, content]), plain, file, content))

    def all(self) -> list[VectorRecord]:
        """Return every vector that the store knows, newest first."""
        return self._store.vectors.all()

    def named(self) -> dict[str, VectorRecord]:
        """Return the imported vectors by name; of those under one name the one that was brought in last."""
        return {record.recipe["name"]: record for record in reversed(self._store.vectors.all()) if is_import(record)}

    def reference(self, name: str) -> VectorReference | None:
        """Return how a study refers to the vector of that name; ``None`` where there is none."""
        record = self.named().get(name)
        return None if record is None else reference_to(record)

    def find(self, text: str) -> VectorRecord:
        """Return a vector by name, by word, or by the beginning of its hash.

        Raises:
            UsageError: there is none, or several.
        """
        named = self.named()
        name = text.removeprefix(PREFIX)
        if name in named:
            return named[name]
        records = self._store.vectors.all()
        found = [record for record in records if comparable(str(record.recipe.get("word", ""))) == comparable(text)]
        if not found and len(text) >= 4:
            found = [one for one in records if any(_begins(tagged, text) for tagged in (one.hash, one.content))]
        if not found:
            raise UsageError(f"no vector called {text!r:.80}: see `mlxintro vectors list`")
        if len(found) > 1:
            some = ", ".join(one.hash[:11] for one in found[:4])
            raise UsageError(f"{len(found)} vectors are called {text!r:.80}: name one by its hash, as {some}")
        return found[0]

    def load(self, record: VectorRecord) -> OutgoingVector:
        """Return a vector's numbers, verified against what the store recorded.

        Raises:
            KnownError: the file is not there, or holds something else.
        """
        key = record.content if is_import(record) else record.hash
        entry = self._cache.load(key)
        missing = f"the file of {record.recipe.get('word')!r} ({record.file}) is not here: extract or import it again"
        if entry is None:
            raise KnownError(missing)
        vector = OutgoingVector.of(record, entry, directions_of(entry))
        if vector is None:
            raise KnownError(missing)
        return vector


def _begins(tagged: str, text: str) -> bool:
    """Whether a hash begins with a text, with its tag or without."""
    return tagged.startswith(text) or tagged.partition(":")[2].startswith(text)


def is_import(record: VectorRecord) -> bool:
    """Tell whether a record is of an imported vector, and complete."""
    return record.recipe.get("method") == IMPORT and isinstance(record.recipe.get("name"), str)


def reference_to(record: VectorRecord) -> VectorReference:
    """Return how a study refers to an imported vector.

    Raises:
        KnownError: the record is damaged.
    """
    plain: dict[str, Any] = record.recipe
    try:
        return VectorReference.model_validate({name: plain[name] for name in VectorReference.model_fields})
    except (ValueError, KeyError):
        raise KnownError(f"the record of the vector {plain.get('name')!r:.80} is damaged: import it again") from None


def outcomes(alignment: Alignment, name: str) -> list[Bringing]:
    """Return an alignment's vectors as imported ones: ``NAME/ocean``, ``NAME/permuted/ocean``, ``NAME/unmapped/ocean``.

    Raises:
        UsageError: a name that cannot be typed again.
    """
    if not _NAME.fullmatch(name) or "/" in name or len(name) > _LONGEST_ALIGNMENT:
        raise UsageError(f"{name!r:.99} is no name for an alignment: give --name of letters, digits and hyphens")
    facts = {
        "model": alignment.target,
        "from": alignment.source,
        "learned on": f"{alignment.learned_on} words",
        "maps": ", ".join(map(_in_words, alignment.maps))[:200],
    }
    kinds = {"": alignment.carried, "permuted/": alignment.permuted, "unmapped/": alignment.unmapped}
    return [
        Bringing(f"{name}/{kind}{word}", word, directions, "aligned", f"carried over by {name}", facts)
        for kind, vectors in kinds.items()
        for word, directions in vectors.items()
    ]


def _in_words(one: LayerMap) -> str:
    cosine = one.held_out.value
    reached = "" if cosine is None else f", cosine {cosine:.2f} on held-out words"
    return f"layer {one.source} to {one.target} ({one.kind}{reached})"


def origin_of_carried(study: Study, store: Store) -> str | None:
    """Say where the vectors of a study's alignment come from; ``None`` without one, or where they are not here."""
    name = study.options.get("alignment")
    contents = {one.content for key, one in (study.vectors or {}).items() if name and key.startswith(f"{name}/")}
    for record in store.vectors.all() if contents else ():
        facts = record.recipe.get("facts") or {}
        if is_import(record) and record.recipe.get("content") in contents and "from" in facts:
            return f"carried over from {facts['from']}, learned on {facts['learned on']}: {facts['maps']}"
    return None


def with_references(study: Study, db: Path) -> Study:
    """Return a study with a reference for each imported vector that it or its alignment names.

    References that the study brings along stay.
    """
    directions = study.options.get("directions")
    names = [*study.concepts, *(map(str, directions) if isinstance(directions, list | tuple) else ())]
    alignment = study.options.get("alignment")
    if isinstance(alignment, str) and alignment and db.exists():
        with Store(db, create=False) as store:
            names += [f"{PREFIX}{name}" for name in VectorLibrary(store).named() if name.startswith(f"{alignment}/")]
    found = {**references_among(names, db), **(study.vectors or {})}
    return study.model_copy(update={"vectors": found or None})


def references_among(names: Sequence[str], db: Path) -> dict[str, VectorReference]:
    """Return the references to the imported vectors among names of concepts.

    Those that a store does not have are left out.
    """
    wanted = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    if not wanted or not db.exists():
        return {}
    with Store(db, create=False) as store:
        known = VectorLibrary(store).named()
        return {name: reference_to(known[name]) for name in wanted if name in known}
