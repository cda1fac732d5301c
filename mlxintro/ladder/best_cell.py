"""The best cell of a sweep, chosen on one half of the concepts and reported on the other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mlxintro.analysis.reply_tally import detects, names, share
from mlxintro.analysis.results import Row
from mlxintro.analysis.tally import Place
from mlxintro.ladder.rows import Rows, place_of


@dataclass(frozen=True, slots=True)
class Best:
    """Holds the cell that is best on one half of the concepts, reported on the other half."""

    place: Place
    chosen_on: tuple[str, ...]
    words: tuple[str, ...]
    cells: int
    reported: tuple[Row, ...]

    @property
    def label(self) -> str:
        return f"layer {self.place[0]}, strength {self.place[1]:g}"

    def as_dict(self) -> dict[str, object]:
        rows = self.reported
        return {
            "layer": self.place[0],
            "strength": self.place[1],
            "chosen_on": list(self.chosen_on),
            "reported_on": list(self.words),
            "detection": share(rows, detects).as_dict(),
            "identification": share(rows, names).as_dict(),
        }


def best_cell(run: Rows) -> Best | None:
    """Choose the cell with the highest identification, then detection; ``None`` without two cells and two concepts."""
    words = sorted(run.words, key=lambda word: hashlib.blake2b(word.encode()).digest())
    if len(run.places) < 2 or len(words) < 2:
        return None
    first, second = words[: len(words) // 2], words[len(words) // 2 :]

    def worth(place: Place) -> tuple[float, float]:
        rows = [row for row in run.injected if place_of(row) == place and row.concept in first]
        return share(rows, names).value or 0.0, share(rows, detects).value or 0.0

    place = max(run.places, key=worth)
    reported = tuple(row for row in run.injected if place_of(row) == place and row.concept in second)
    return Best(place, tuple(first), tuple(second), len(run.places), reported)
