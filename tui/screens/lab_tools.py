"""What the lab does beside answering: settings kept and found again, the strip of cells, studies and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.content import Content

from mlxintro.backends.errors import UsageError
from mlxintro.lab.messages import Ask, Cancel, Done, Extracting, Ready, Started, Token, Trace, ask
from mlxintro.protocol.windows import WINDOWS
from mlxintro.protocol.words.own_concepts import library_with
from mlxintro.rendering.whole_file import write_whole

from ..lab_widgets.cosines import Cosines
from ..lab_widgets.lab_dials import Dials
from ..lab_widgets.lab_form import LabForm
from ..lab_widgets.replies import Replies
from ..lab_widgets.sweep_map import SweepMap
from ..reading import lab_file, wording
from ..running.lab_client import LabClient
from ..running.lab_controls import UNITS, Knobs
from ..running.lab_history import LabHistory
from ..running.lab_sweep import Sweep
from ..shell.dialogues import AskPath, free_path
from ..shell.page import Page
from ..widgets.text import Text

FAKE = "simulated"
SWEEPING = "-sweeping"
"""Class of the screen while the strip is wanted."""


class LabTools(Page):
    """Is the lab's page without what it hears from its process."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, tuple[str, str]] = {FAKE: ("detector", "fake")}
        self.client: LabClient | None = None
        self.ready: Ready | None = None
        self.asked: Ask | None = None
        """The latest order."""
        self.answered: Ask | None = None
        """The order that both replies belong to, when they are whole."""
        self.number = 0
        self.sweep: Sweep | None = None
        self.history = LabHistory()

    @property
    def dials(self) -> Dials:
        return self.query_one(Dials)

    @property
    def form(self) -> LabForm:
        return self.query_one(LabForm)

    def changed(self) -> None:
        """Ask for another answer, since something was turned or typed."""
        raise NotImplementedError

    # -- the order

    def order(self, number: int) -> Ask:
        knobs = self.dials.knobs
        return ask(
            number,
            concept=self.form.concept,
            prompt=self.form.prompt,
            system=self.form.system,
            layer=knobs.layer,
            strength=knobs.strength,
            unit=knobs.unit,
            window=knobs.window,
            readout=knobs.readout,
            **self.form.numbers,
        )

    def give_up(self) -> None:
        if self.asked is not None and self.client is not None:
            self.client.send(Cancel())
            self.asked = None
            if self.sweep is not None:
                self.sweep.asked = None
            self.query_one(Replies).end()

    def say(self, text: str) -> None:
        self.query_one("#lab-state", Text).update(Content(wording.plain(text)))

    # -- what is found again

    def kept(self) -> dict[str, Any]:
        knobs = self.dials.knobs
        names = ("layer", "readout", "strength", "unit", "window")
        return {
            "form": self.form.kept(),
            "knobs": {name: getattr(knobs, name) for name in names},
            "history": self.history.settings,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        self.form.restore(kept["form"])
        self.history = LabHistory(list(kept.get("history", ())))
        self.turn_to(kept["knobs"])

    def turn_to(self, knobs: Mapping[str, Any]) -> None:
        """Set the knobs to a setting of before, as far as it is one."""
        known = Knobs(
            layer=_number(knobs["layer"]),
            readout=_number(knobs["readout"]),
            strength=float(knobs["strength"]),
            unit=knobs["unit"] if knobs["unit"] in UNITS else "raw",
            window=knobs["window"] if knobs["window"] in WINDOWS else "all",
        )
        self.dials.show(replace(known, layers=self.ready.layers) if self.ready is not None else known)

    # -- the strip

    def go_on_sweeping(self) -> None:
        """Ask for the next cell of the strip, when it is wanted and nothing else is being answered."""
        order, ready = self.answered, self.ready
        pane = self.query_one(SweepMap)
        if not self.has_class(SWEEPING) or order is None or ready is None or self.client is None:
            return
        if self.sweep is None or not self.sweep.concerns(order):
            self.sweep = Sweep.around(order, ready.layers, library_with(self.home.own_concepts))
        self.number += 1
        self.asked = self.sweep.next(self.number)
        if self.asked is not None:
            self.client.send(self.asked)
        pane.show(self.sweep)

    def follow_sweep(self, sweep: Sweep, heard: Extracting | Started | Token | Trace | Done) -> None:
        if isinstance(heard, Token) and heard.side == "injected":
            sweep.add(heard.text)
        elif isinstance(heard, Done):
            sweep.end()
            self.asked = None
            self.go_on_sweeping()

    def action_sweep(self) -> None:
        self.toggle_class(SWEEPING)
        if not self.has_class(SWEEPING):
            self.give_up()
        elif self.asked is None:
            self.go_on_sweeping()

    # -- what was asked before, and what becomes of it

    def remember(self) -> None:
        self.history.add({"form": self.form.kept(), "knobs": self.kept()["knobs"]})

    def action_history(self, by: int) -> None:
        setting = self.history.step(by)
        if setting is None:
            raise UsageError("there is no other setting that was asked" if by < 0 else "this is the latest setting")
        self.form.restore(setting["form"])
        self.turn_to(setting["knobs"])
        self.say(f"setting {self.history.place}")
        self.changed()

    def action_study(self) -> None:
        name, backend = self.models.get(self.form.model, (self.form.model, "auto"))
        order = self.order(0)
        study = {
            "experiment": "injected-thoughts",
            "model": name,
            "backend": backend,
            "concepts": [order.concept],
            "layers": [order.layer],
            "strengths": [order.strength],
            "unit": order.unit,
            "window": order.window,
            "temperature": order.temperature,
            "max_tokens": order.max_tokens,
            "seed": order.seed,
            "adapter": self.form.adapter or None,
        }
        self.home.set_up_study(study, "the lab's setting")

    def action_save(self) -> None:
        order = self.answered
        if order is None:
            raise UsageError(self.home.keyed("there is no whole answer to save yet: {lab.ask} asks"))
        replies, trace = self.query_one(Replies).texts(), self.query_one(Cosines).trace
        name = self.form.model, self.form.adapter
        text = lab_file.markdown(name, order, self.dials.knobs.dose, replies, trace)
        picture = self.app.export_screenshot(title=f"{order.concept}, layer {order.layer}, α = {order.strength:g}")

        def answered(answer: str) -> None:
            path = Path(answer)
            drawn = free_path(path.with_suffix(".svg"))
            write_whole(path, text)
            write_whole(drawn, picture)
            self.notify(f"Saved {path} and the picture {drawn.name}", markup=False)

        safe = "".join(c if c.isalnum() else "-" for c in order.concept)[:30]
        self.consult(AskPath("Save both replies as", Path.cwd() / f"lab-{safe}.md", ("md",)), answered)


def _number(value: Any) -> int | float:
    return value if isinstance(value, int) else float(value)
