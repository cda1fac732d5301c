"""The fields of a study: experiment, preset, grader, name, and the settings a preset gives where they are empty."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label, Select

from mlxintro import experiments
from mlxintro.backends.adapters import sources as adapters
from mlxintro.backends.errors import UsageError
from mlxintro.protocol import presets
from mlxintro.protocol.study import THINKING_TOKENS, Study

from ..running.study_form import TITLES
from .text import Text

_FIRST = "injected-thoughts"
"""The experiment that is chosen at first."""
_USUAL = {
    "controls": "standard", "seed": "0", "unit": "raw", "adapter": "none",
    "thinking": "off", "thinking_tokens": str(THINKING_TOKENS),
}  # fmt: skip
"""What holds where a preset says nothing."""


class StudyFields(Vertical):
    """Shows everything of a study but its model and its concepts."""

    class Edited(Message):
        """Tells that a field says something else."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._offered: list[str] = []
        """Presets there are for the experiment."""

    def compose(self) -> ComposeResult:
        usual = experiments.find(_FIRST).preset
        with Grid(id="fields"):
            yield Label("Experiment")
            yield Select(
                [(name, name) for name in experiments.names()],
                value=_FIRST,
                allow_blank=False,
                compact=True,
                id="experiment",
            )
            yield Label("Preset")
            yield Select(_presets_of(_FIRST), value=usual, allow_blank=False, compact=True, id="preset")
            yield Label("Grader")
            yield Select([("rules", "rules"), ("none now", "later")], allow_blank=False, compact=True, id="grader")
            yield Label(TITLES["adapter"])
            ships = SuggestFromList(list(adapters.shipped()))
            yield Input(compact=True, id="adapter", suggester=ships, select_on_focus=False)
            yield Label("Name")
            yield Input(compact=True, id="run-name", max_length=80)
        with Grid(id="numbers"):
            for name, title in TITLES.items():
                if name != "adapter":
                    yield Label(title)
                    yield Input(compact=True, id=name)
        yield Text(id="wrong", classes="wrong")

    def on_mount(self) -> None:
        self.query_one("#wrong").display = False
        self._hint_preset()

    # -- what stands there

    @property
    def experiment(self) -> str:
        return str(self.query_one("#experiment", Select).value)

    @property
    def preset(self) -> str:
        return str(self.query_one("#preset", Select).value)

    @property
    def grades(self) -> bool:
        return self.query_one("#grader", Select).value == "rules"

    @property
    def run_name(self) -> str:
        return self.query_one("#run-name", Input).value.strip()

    @property
    def texts(self) -> dict[str, str]:
        return {name: self.query_one(f"#{name}", Input).value for name in TITLES}

    def fill(self, experiment: str, preset: str, texts: Mapping[str, str]) -> None:
        """Set everything; an experiment or a preset that is not known here leaves the usual one."""
        if experiment in experiments.names():
            self.query_one("#experiment", Select).value = experiment
            self._offer_presets(experiment, preset)
        for name in TITLES:
            self.query_one(f"#{name}", Input).value = texts.get(name, "")

    def name_run(self, name: str) -> None:
        self.query_one("#run-name", Input).value = name

    def suggest_name(self, name: str) -> None:
        """Show the name a run gets when none is typed."""
        self.query_one("#run-name", Input).placeholder = name

    def set_grader(self, rules: bool) -> None:
        self.query_one("#grader", Select).value = "rules" if rules else "later"

    def show_problems(self, problems: Mapping[str, str], *, focus: bool = False) -> None:
        """Mark the fields that are wrong and say below them what is; with ``focus`` go to the first one."""
        for field in self.query(Input):
            field.set_class((field.id or "") in problems, "-wrong")
        wrong = self.query_one("#wrong", Text)
        wrong.update(Content("\n".join(f"✗ {one}" for one in list(problems.values())[:3])))
        wrong.display = bool(problems)
        first = next((field for field in self.query(Input) if field.id in problems), None)
        if focus and first is not None:
            first.focus()

    # -- changes

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        if event.select.id == "experiment":
            self._offer_presets(str(event.value), self.preset)
        if event.select.id == "preset":
            self._hint_preset()
        self.post_message(self.Edited())

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    def _offer_presets(self, experiment: str, wanted: str) -> None:
        field = self.query_one("#preset", Select)
        options = _presets_of(experiment)
        names = [name for name, _ in options]
        if wanted not in names:
            usual = experiments.find(experiment).preset
            wanted = usual if usual in names else names[0] if names else ""
        if not names:
            return
        if self._offered != names:
            self._offered = names
            field.set_options(options)
        field.value = wanted

    def _hint_preset(self) -> None:
        study = Study(model="", experiment=self.experiment, preset=self.preset)
        try:
            defaults = experiments.find(self.experiment).preset_of(study).defaults.model_dump()
        except UsageError:
            return
        for name in TITLES:
            value = defaults.get(name)
            text = ", ".join(f"{one:g}" for one in value) if isinstance(value, (tuple, list)) else value
            self.query_one(f"#{name}", Input).placeholder = _USUAL.get(name, "") if text is None else str(text)


def _presets_of(experiment: str) -> list[tuple[str, str]]:
    """Names of the presets that an experiment can take."""
    shipped = [name for name in presets.names() if presets.load(name).experiment == experiment]
    own = [name for name in experiments.find(experiment).own_presets if name not in shipped]
    return [(name, name) for name in (*shipped, *own)]
