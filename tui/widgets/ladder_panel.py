"""The ladder of rival explanations: one row a rung, with its state as sign, word and colour, and what was seen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from mlxintro.ladder.rungs import Ladder, Rung

from ..reading import wording
from ..reading.colours import RUNG_ROLES, role_colour

WIDEST_NAME = 20
"""Columns of a rung's name; a longer one takes two lines."""


class LadderPanel(Vertical):
    """Shows every rung from the bottom up, and below them the commands that test what is not tested."""

    HELP = (
        "Each rung is a rival explanation: ✓ excluded, ▲ not excluded, ? not tested. A verdict needs every rung below "
        "it excluded. The commands at the end test what is not tested."
    )

    def __init__(self, ladder: Ladder) -> None:
        super().__init__(classes="card")
        self.ladder = ladder
        self.border_title = f"ladder of rival explanations: {ladder.reached} of {len(ladder.rungs)} from the bottom"

    def compose(self) -> ComposeResult:
        ladder = self.ladder
        width = min(max(len(rung.name) for rung in ladder) + 2, WIDEST_NAME)
        for rung in ladder:
            yield Horizontal(self._state_of(rung), _name_of(rung, width), _seen(rung), classes="rung")
        for command, names in ladder.commands.items():
            yield Static(
                Content.assemble(f"to test {', '.join(names)}:\n  ", Content.styled(wording.plain(command), "bold")),
                classes="remedy",
            )

    def _state_of(self, rung: Rung) -> Static:
        colour = role_colour(RUNG_ROLES[rung.state], dark=self.app.current_theme.dark)
        return Static(Content.styled(f"{wording.RUNG_SIGNS[rung.state]} {rung.state}", colour), classes="state")


def _name_of(rung: Rung, width: int) -> Static:
    name = Static(Content.styled(wording.plain(rung.name), "bold"), classes="name")
    name.styles.width = width
    return name


def _seen(rung: Rung) -> Static:
    p = "" if rung.p is None else f", p = {rung.p:.2g}"
    return Static(Content(wording.plain(f"{rung.said}{p}")), classes="seen")
