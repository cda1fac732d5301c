"""Where one can go in the app. A new screen is a file in ``tui/screens`` and a line here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from textual.screen import Screen


@dataclass(frozen=True, slots=True)
class Destination:
    name: str
    """Name of the screen's mode, and of the binding that leads there (``go.NAME``)."""
    title: str
    key: str
    target: str
    """``module:Class``, imported when somebody goes there."""
    summary: str

    def make(self) -> Screen[None]:
        """Make a fresh screen."""
        module, _, name = self.target.partition(":")
        page: Screen[None] = getattr(import_module(module), name)()
        return page


PLACES = (
    Destination("runs", "Runs", "1", "mlxintro.tui.screens.runs:RunsPage", "Every run: rates, state, resume, export"),
    Destination("new", "New", "2", "mlxintro.tui.screens.new_study:NewStudyPage", "Set up a study and start it"),
    Destination(
        "live", "Live", "3", "mlxintro.tui.screens.live:LivePage", "Watch a run: heat map, replies as they are written"
    ),
    Destination(
        "review",
        "Review",
        "4",
        "mlxintro.tui.screens.review:ReviewPage",
        "Read every reply of a run, filter, label blind",
    ),
    Destination(
        "results",
        "Results",
        "5",
        "mlxintro.tui.screens.results:ResultsPage",
        "Verdict, figures, curves; two runs compared",
    ),
    Destination(
        "lab", "Lab", "6", "mlxintro.tui.screens.lab:LabPage", "Turn layer and strength by hand and read both replies"
    ),
)


def find(name: str) -> Destination:
    """Return a place by name; the first one for a name that is none, e.g. from an old state file."""
    return next((place for place in PLACES if place.name == name), PLACES[0])
