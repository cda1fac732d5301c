"""The lab's knobs on one line; focused, they turn with the arrow keys."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from tui.knobs import IN_UNIT, Knobs
from tui.widgets.text import Text


class Dials(Text, can_focus=True):
    HELP = (
        "Left and right turn the layer that is injected into, up and down the strength by one step; + doubles it, - "
        "halves it. U changes the unit and keeps the dose: multiples of the raw vector, norm of what is added, share "
        "of the residual norm. [ and ] turn the layer the cosines are read at. W: which tokens are injected into (all, "
        "the prompt's, the reply's)."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "screen.layer(-1)", "Layer", id="lab.layer_down", tooltip="Inject a layer earlier"),
        Binding("right,l", "screen.layer(1)", "Layer +", show=False, id="lab.layer_up", tooltip="Inject a layer later"),
        Binding("up,k", "screen.strength(1)", "Strength", id="lab.stronger", tooltip="Inject more"),
        Binding("down,j", "screen.strength(-1)", "Strength -", show=False, id="lab.weaker", tooltip="Inject less"),
        Binding("plus,equals_sign", "screen.scale(2.0)", "Double", show=False, id="lab.double", tooltip="Double it"),
        Binding("minus", "screen.scale(0.5)", "Halve", show=False, id="lab.halve", tooltip="Halve the strength"),
        Binding("u", "screen.unit", "Unit", id="lab.unit", tooltip="The same dose in another unit"),
        Binding("left_square_bracket", "screen.readout(-1)", "Read earlier", show=False, id="lab.read_earlier"),
        Binding("right_square_bracket", "screen.readout(1)", "Read later", show=False, id="lab.read_later"),
        Binding("w", "screen.window", "Window", show=False, id="lab.window", tooltip="Which tokens are injected into"),
    ]

    def show(self, knobs: Knobs) -> None:
        layer = f"{knobs.layer} of {knobs.layers}" if knobs.layers else f"{knobs.layer:.0%} deep"
        readout = f"{knobs.readout}" if knobs.layers else f"{knobs.readout:.0%} deep"
        parts = [
            Content("layer "),
            _turn("◂", "layer(-1)"),
            Content.styled(f" {layer} ", "bold"),
            _turn("▸", "layer(1)"),
            Content("  strength "),
            _turn("▾", "strength(-1)"),
            Content.styled(f" {knobs.strength:g} ", "bold"),
            _turn("▴", "strength(1)"),
            _turn(f" {IN_UNIT[knobs.unit]}", "unit"),
            Content("  into "),
            _turn({"all": "all tokens", "prompt": "the prompt", "generation": "the reply"}[knobs.window], "window"),
            Content(f"  read at {readout}"),
        ]
        self.update(Content.assemble(*parts))


def _turn(text: str, action: str) -> Content:
    return Content(text).stylize(f"@click=screen.{action}")
