"""Concepts whose vectors were made elsewhere: how a study refers to them, and what it resolves ``vector:NAME`` to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.bounds import Data
from mlxintro.protocol.concepts import Concept, Library
from mlxintro.protocol.layers import as_option, in_sentence
from mlxintro.vectors.reading import ReadSite

PREFIX = "vector:"
"""Before the name of an imported vector, where concepts are named."""


class VectorReference(Data):
    """Names an imported vector in a study, with enough to plan trials without the file."""

    content: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Hash of its layers, site and numbers."""
    word: str
    """The concept that is right to name."""
    width: Annotated[int, Field(ge=1)]
    layers: tuple[int, ...]
    """Layers at which it has a direction."""
    site: ReadSite = "resid_post"

    def check_layers(self, layers: Sequence[int]) -> None:
        """Refuse layers at which there is nothing to inject.

        Raises:
            UsageError: naming those there are.
        """
        missing = [layer for layer in layers if layer not in self.layers]
        if missing:
            only = "only " if len(self.layers) == 1 else ""
            raise UsageError(
                f"the imported vector of {self.word!r} has no direction at layer {missing[0]}: it has {only}"
                f"{in_sentence(self.layers)}, so give --layers {as_option(self.layers)}",
                setting="layers",
            )


def resolve_concepts(
    names: Sequence[str], allow_unknown: bool, references: Mapping[str, VectorReference], library: Library
) -> dict[str, tuple[Concept, VectorReference | None]]:
    """Return the concepts by name, ``set:NAME``, ``category:NAME`` or ``vector:NAME``, each with its imported vector.

    Returns:
        Word -> concept and reference, in the order of the names.

    Raises:
        UsageError: an unknown name, or two vectors for one concept.
    """
    found: dict[str, tuple[Concept, VectorReference | None]] = {}
    for name in names:
        members: list[tuple[Concept, VectorReference | None]]
        if name.startswith(PREFIX):
            reference = references.get(name.removeprefix(PREFIX))
            if reference is None:
                raise UsageError(
                    f"no imported vector called {name.removeprefix(PREFIX)!r}: see `mlxintro vectors list`, or bring "
                    "one in with `mlxintro vectors import FILE --name NAME`",
                    setting="concepts",
                )
            members = [(library.concept(reference.word), reference)]
        else:
            members = [(concept, None) for concept in library.resolve([name], allow_unknown)]
        for concept, reference in members:
            before = found.setdefault(concept.word, (concept, reference))
            if before[1] != reference:
                raise UsageError(
                    f"two different vectors are given for the concept {concept.word!r}: run them one after the other "
                    "and see `mlxintro compare`",
                    setting="concepts",
                )
    return found
