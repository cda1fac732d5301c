"""The rungs of the ladder as plain data: rival explanations, each excluded, not excluded, or not tested.

A rung says what a subject without introspection could be doing instead. Nothing here computes anything;
``mlxintro.ladder.climb`` fills the rungs from a run's rows, and displays draw them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

RungState = Literal["excluded", "not excluded", "not tested"]
"""``not tested`` is also the state of a rung whose arm could not have shown the rival."""

RungName = Literal[
    "chance",
    "steering leak",
    "yes-bias",
    "compression",
    "any disturbance",
    "text alone",
    "own notes",
    "a mixture",
    "naming by luck",
    "own words",
    "a reader",
    "a patchwork",
]

RIVALS: dict[RungName, str] = {
    "chance": "claims come as often without an injection",
    "steering leak": "the vector makes the word come out, and nothing is noticed",
    "yes-bias": "the vector moves every answer towards yes",
    "compression": "the vector pulls all answers towards the middle, and the trial question's most",
    "any disturbance": "any vector with as much impact is claimed as often",
    "text alone": "the text looks odd, and anyone who reads it could say so",
    "own notes": "the answer follows the text of the thought, which anyone who reads it could",
    "a mixture": "several of these together make up the whole effect",
    "naming by luck": "the word that is named is a habit or a guess",
    "own words": "the subject reads the words that the vector made it write",
    "a reader": "a reader of the transcript, without the injection, does as well",
    "a patchwork": "different rivals explain different claims, and no claim need be free of all",
}
"""Every rung from the bottom, with what its rival explanation says."""

DETECTION: tuple[RungName, ...] = (
    "chance",
    "steering leak",
    "yes-bias",
    "compression",
    "any disturbance",
    "text alone",
    "own notes",
    "a mixture",
)
"""Rungs about noticing that something is injected; those above them are about knowing what, and from where."""


OF_THOUGHTS: frozenset[RungName] = frozenset({"own notes"})
"""Rungs that only the ladders of subjects have that think before they answer."""


def rungs_of(*, thinks: bool) -> tuple[RungName, ...]:
    """Return the rungs of a subject's ladder, from the bottom.

    Args:
        thinks: whether it thinks before it answers.
    """
    return tuple(name for name in RIVALS if thinks or name not in OF_THOUGHTS)


@dataclass(frozen=True, slots=True)
class Finding:
    """Says what the test of one rung came to."""

    state: RungState
    said: str
    """Comparison that was made, in half a line."""
    shown: bool = False
    """The rival's own mark was seen, which is more than that it could not be excluded."""
    p: float | None = None
    """The largest p value among the comparisons that the rung needs."""
    more: str = ""
    """Further figures and the p values of single comparisons, for a report."""
    needs: str | None = ""
    """Options with which the command tests the rung, where it is not tested; ``None`` where no command would."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Holds one rival explanation and where it stands."""

    name: str
    """A ``RungName`` of injected thoughts; other experiments have rivals of their own."""
    rival: str
    state: RungState
    said: str
    shown: bool = False
    p: float | None = None
    more: str = ""
    remedy: str = ""
    """The command that tests the rung; empty where it is tested, and where no command would."""

    def as_line(self) -> str:
        """Return the state, name and reason in one line."""
        p = "" if self.p is None else f", p = {self.p:.2g}"
        return f"{self.state:<12}  {self.name}: {self.said}{p}"


@dataclass(frozen=True, slots=True)
class Ladder:
    """Holds all rungs from the bottom, and on which trials they were judged."""

    rungs: tuple[Rung, ...]
    where: str
    """Which injected trials were judged, e.g. ``all trials``."""
    alpha: float
    """Level of each test."""

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    def __getitem__(self, name: str) -> Rung:
        return next(rung for rung in self.rungs if rung.name == name)

    @property
    def lowest_left(self) -> Rung | None:
        """Return the lowest rung that is not excluded although it was tested."""
        return next((rung for rung in self.rungs if rung.state == "not excluded"), None)

    @property
    def untested(self) -> tuple[Rung, ...]:
        return tuple(rung for rung in self.rungs if rung.state == "not tested")

    @property
    def commands(self) -> dict[str, list[str]]:
        """Return the commands that test what is not tested, each with the names of its rungs."""
        found: dict[str, list[str]] = {}
        for rung in self.untested:
            if rung.remedy:
                found.setdefault(rung.remedy, []).append(rung.name)
        return found

    @property
    def lines(self) -> list[str]:
        """Return every rung, and the commands that test what is not tested, a line each."""
        lines = [rung.as_line() for rung in self.rungs]
        return [*lines, *(f"to test {', '.join(names)}: {command}" for command, names in self.commands.items())]

    @property
    def reached(self) -> int:
        """Return how many rungs are excluded from the bottom up without a gap."""
        return next((at for at, rung in enumerate(self.rungs) if rung.state != "excluded"), len(self.rungs))

    def as_dict(self) -> dict[str, Any]:
        """Return the ladder as JSON takes it."""
        names = Rung.__slots__
        return {
            "where": self.where,
            "alpha": self.alpha,
            "reached": self.reached,
            "rungs": [{name: getattr(rung, name) for name in names} for rung in self.rungs],
        }
