"""The lab's knobs on one line; focused, they turn with the arrow keys."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from ..running.lab_controls import IN_UNIT, Knobs
from ..widgets.text import Text


class Dials(Text, can_focus=True):
    HELP = (
        "Left and right turn the layer that is injected into, up and down the strength by one step; + doubles it, - "
        "halves it. {lab.unit} changes the unit and keeps the dose: multiples of the raw vector, norm of what is "
        "added, share of the residual norm. [ and ] turn the layer the cosines are read at. {lab.window}: which "
        "tokens are injected into (all, the prompt's, the reply's)."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "layer(-1)", "Layer", id="lab.layer_down", tooltip="Inject a layer earlier"),
        Binding("right,l", "layer(1)", "Layer +", show=False, id="lab.layer_up", tooltip="Inject a layer later"),
        Binding("up,k", "strength(1)", "Strength", id="lab.stronger", tooltip="Inject more"),
        Binding("down,j", "strength(-1)", "Strength -", show=False, id="lab.weaker", tooltip="Inject less"),
        Binding("plus,equals_sign", "scale(2.0)", "Double", show=False, id="lab.double", tooltip="Double it"),
        Binding("minus", "scale(0.5)", "Halve", show=False, id="lab.halve", tooltip="Halve the strength"),
        Binding("u", "unit", "Unit", id="lab.unit", tooltip="The same dose in another unit"),
        Binding("left_square_bracket", "readout(-1)", "Read earlier", show=False, id="lab.read_earlier"),
        Binding("right_square_bracket", "readout(1)", "Read later", show=False, id="lab.read_later"),
        Binding("i", "window", "Window", show=False, id="lab.window", tooltip="Which tokens are injected into"),
    ]

    class Turned(Message):
        """Tells that a knob was turned."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.knobs = Knobs()

    def on_mount(self) -> None:
        self.show(self.knobs)

    def show(self, knobs: Knobs) -> None:
        """Set all of them."""
        self.knobs = knobs
        layer = f"{knobs.layer} (0-{knobs.layers - 1})" if knobs.layers else f"{knobs.layer:g}"
        known = isinstance(knobs.readout, int)
        readout = f"layer {knobs.readout}" if known else f"depth {knobs.readout:.2f}"
        parts = [
            # While the model is not known, a layer is a fraction of its depth.
            Content("layer " if isinstance(knobs.layer, int) else "depth "),
            _turned("◂", "layer(-1)"),
            Content.styled(f" {layer} ", "bold"),
            _turned("▸", "layer(1)"),
            Content("  "),
            _turned("▾", "strength(-1)"),
            Content.styled(f" α = {knobs.strength:g} ", "bold"),
            _turned("▴", "strength(1)"),
            _turned(f" {IN_UNIT[knobs.unit]}", "unit"),
            Content("  into "),
            _turned({"all": "all tokens", "prompt": "the prompt", "generation": "the reply"}[knobs.window], "window"),
            Content(f"  cosine at {readout}"),
        ]
        self.update(Content.assemble(*parts))

    # -- turning

    def _turn(self, knobs: Knobs) -> None:
        if knobs != self.knobs:
            self.show(knobs)
            self.post_message(self.Turned())

    def action_layer(self, by: int) -> None:
        self._turn(self.knobs.turned_layer(by))

    def action_readout(self, by: int) -> None:
        self._turn(self.knobs.turned_readout(by))

    def action_strength(self, steps: int) -> None:
        self._turn(self.knobs.turned(steps))

    def action_scale(self, factor: float) -> None:
        self._turn(self.knobs.scaled(factor))

    def action_unit(self) -> None:
        self._turn(self.knobs.next_unit())

    def action_window(self) -> None:
        self._turn(self.knobs.next_window())


def _turned(text: str, action: str) -> Content:
    return Content(text).stylize(f"@click={action}")
