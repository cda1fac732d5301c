"""The lab's strip: the setting tried at five layers and five strengths, one cell after the other, in the background."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlxintro.analysis.trial_classes import TrialClass, graded_class
from mlxintro.grading.passes import find_grader
from mlxintro.lab.messages import Ask
from mlxintro.protocol.concepts import Library

DEPTHS = (0.3, 0.45, 0.6, 0.75, 0.9)
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_TOKENS = 40
"""Length of a cell's reply: enough to tell what kind of reply it is."""

CellPlace = tuple[int, float]
"""Layer and strength."""


@dataclass(slots=True)
class SweptCell:
    """Holds a cell's reply."""

    text: str = ""
    class_: TrialClass | None = None
    """Class of the reply; ``None`` until the reply is whole."""


@dataclass(slots=True)
class Sweep:
    """Holds layers and strengths around a setting, with what was replied at each."""

    order: Ask
    """The setting; its layer and strength are replaced by each cell's."""
    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    library: Library
    """Says which near names count as naming the concept."""
    cells: dict[CellPlace, SweptCell] = field(default_factory=dict)
    asked: CellPlace | None = None

    @classmethod
    def around(cls, order: Ask, layers: int, library: Library) -> Sweep:
        """Plan a sweep for a model of so many layers."""
        places = tuple(sorted({min(layers - 1, round(depth * (layers - 1))) for depth in DEPTHS}))
        base = abs(order.strength) or 1.0
        return cls(order, places, tuple(float(f"{base * factor:.3g}") for factor in FACTORS), library)

    def concerns(self, order: Ask) -> bool:
        """Tell whether it is still about a setting: one that differs in layer and strength alone."""
        same = {"number", "layer", "strength", "readout", "trace", "max_tokens"}
        return self.order.model_dump(exclude=same) == order.model_dump(exclude=same)

    def next(self, number: int) -> Ask | None:
        """Return the order for the next cell; the shallowest layer and the weakest dose come first."""
        for layer in self.layers:
            for strength in self.strengths:
                if (layer, strength) not in self.cells or self.cells[layer, strength].class_ is None:
                    self.asked = layer, strength
                    self.cells[self.asked] = SweptCell()
                    update = {"number": number, "layer": layer, "strength": strength, "trace": False}
                    tokens = min(_TOKENS, self.order.max_tokens)
                    return self.order.model_copy(update={**update, "max_tokens": tokens})
        self.asked = None
        return None

    def add(self, text: str) -> None:
        """Append to the reply that is being written."""
        if self.asked is not None:
            self.cells[self.asked].text += text

    def end(self) -> None:
        """End the reply that is being written: the rules grader says what kind it is."""
        if self.asked is not None:
            cell, concept = self.cells[self.asked], self.order.concept
            cell.class_ = graded_class(find_grader("rules").grade(cell.text, concept, self.library.related(concept)))
            self.asked = None

    @property
    def done(self) -> int:
        """Return the cells that are answered."""
        return sum(cell.class_ is not None for cell in self.cells.values())
