"""Setting up a study: what to run, what it will come to, and starting it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Label, OptionList, Select
from textual.widgets.option_list import Option

from mlxintro import experiments
from mlxintro.backends import registry
from mlxintro.backends.errors import UsageError
from mlxintro.protocol import presets
from mlxintro.protocol.study import Study
from mlxintro.rendering.whole_file import write_whole
from mlxintro.tools.model_list import ModelRow, rows

from ..reading import wording
from ..running.dry_run import DryRun
from ..running.study_form import Draft
from ..shell.dialogues import AskPath
from ..shell.page import Page
from ..widgets.concept_list import Concepts, ConceptWords
from ..widgets.text import Text

FAKE = "fake"
FIELDS = {
    "layers": "Layers",
    "strengths": "Strengths",
    "trials": "Trials",
    "controls": "Controls",
    "temperature": "Temp.",
    "max_tokens": "Tokens",
    "unit": "Unit",
    "seed": "Seed",
}
_DEBOUNCE = 0.7
_LIGHT = 1_000_000_000
"""Bytes of weights up to which a model is loaded unasked, to say what a study comes to."""


class Models(OptionList):
    HELP = (
        "Models: those on disk first. The arrow keys choose. A filled dot: on disk; a half one: partly; an open one: "
        "to be downloaded first (`mlxintro models fetch NAME`). The last one is a simulated subject, to try things out."
    )


class NewStudyPage(Page):
    PLACE = "new"
    KEYED = (ConceptWords,)
    SECONDS = 3600.0
    HELP = (
        "An empty field means: as the preset says (its value is shown in grey). Layers are indices (20), ranges "
        "(10-20:2) or depth fractions (0.66); lists are comma-separated. At the bottom stands what the study comes to; "
        "with a large model only after Ctrl+E, because it has to be loaded for that.\nCtrl+R starts it. Tab moves on."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r,f5", "start", "Start", id="new.start", tooltip="Start the study", priority=True),
        Binding("ctrl+s", "save", "Save", id="new.save", tooltip="Save the study as a TOML file", priority=True),
        Binding("ctrl+e", "estimate", "Estimate", id="new.estimate", tooltip="Say what it comes to", priority=True),
        Binding("escape", "app.go('runs')", "Runs", id="new.back", tooltip="Back to the list of runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, ModelRow] = {}
        self._wait: Timer | None = None
        self._asked = 0
        self._dry_run: DryRun | None = None

    def body(self) -> Iterator[Widget]:
        with Horizontal(id="form"):
            with Vertical(id="left"):
                yield Models(id="models")
                with Grid(id="fields"):
                    yield Label("Experiment")
                    yield Select(
                        [(n, n) for n in experiments.names()],
                        value="injected-thoughts",
                        allow_blank=False,
                        compact=True,
                        id="experiment",
                    )
                    yield Label("Preset")
                    yield Select(
                        [(n, n) for n in presets.names()], value="lindsey", allow_blank=False, compact=True, id="preset"
                    )
                    yield Label("Grader")
                    yield Select([("rules", "rules"), ("later", "later")], allow_blank=False, compact=True, id="grader")
                with Grid(id="numbers"):
                    for name, title in FIELDS.items():
                        yield Label(title)
                        yield Input(compact=True, id=name)
            yield Concepts(("set:blueprint",), id="concepts")
        yield Text(id="estimate")

    def begin(self) -> None:
        self._dry_run = DryRun(self.home.processes)
        models = self.query_one("#models", Models)
        models.border_title = "Model"
        models.add_option(Option("reading the disk ...", disabled=True))
        models.focus()
        self.query_one("#estimate", Text).border_title = "What it comes to"
        self._hint_preset()
        self.read("models", lambda _: rows(registry.choose()), self._models_found)  # type: ignore[arg-type]

    def look(self) -> None:
        if self.home.study_wanted is not None and self._rows:
            (study, said), self.home.study_wanted = self.home.study_wanted, None
            self._fill_in(study, said)

    # -- filling in

    def _models_found(self, found: list[ModelRow]) -> None:
        order = sorted(found, key=lambda row: (row.on_disk != "complete" and row.name != "smollm2", not row.fits))
        self._rows = {row.name: row for row in order}
        models = self.query_one("#models", Models)
        models.clear_options()
        models.add_options(Option(_line(row), id=f"model {row.name}") for row in order)
        models.add_option(Option(Content("● simulated subject, no model needed"), id=f"model {FAKE}"))
        models.highlighted = 0
        self.look()

    def _fill_in(self, study: Study, said: str) -> None:
        self._highlight(FAKE if study.backend == FAKE else study.model)
        self.query_one("#experiment", Select).value = study.experiment
        self.query_one("#preset", Select).value = study.preset
        self.query_one(Concepts).choose(study.concepts)
        for name in FIELDS:
            value = getattr(study, name)
            text = ", ".join(f"{one:g}" for one in value) if isinstance(value, tuple) else value
            self.query_one(f"#{name}", Input).value = "" if text is None else str(text)
        self.query_one("#estimate").border_subtitle = said

    def _highlight(self, model: str) -> None:
        models = self.query_one("#models", Models)
        names = [option.id for option in models.options]
        if f"model {model}" in names:
            models.highlighted = names.index(f"model {model}")

    def _hint_preset(self) -> None:
        defaults = presets.load(str(self.query_one("#preset", Select).value)).defaults.model_dump()
        for name in FIELDS:
            value = defaults.get(name)
            text = ",".join(f"{one:g}" for one in value) if isinstance(value, (tuple, list)) else value
            usual = {"controls": "as a cell", "seed": "0"}.get(name, "")
            self.query_one(f"#{name}", Input).placeholder = usual if text is None else str(text)

    # -- what it comes to

    def on_select_changed(self, event: Select.Changed) -> None:
        if event.select.id == "experiment":
            name = str(event.value)
            self.query_one("#preset", Select).value = name if name in presets.names() else "lindsey"
        if event.select.id == "preset":
            self._hint_preset()
        self._changed()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._changed()

    def on_concepts_chosen(self, event: Concepts.Chosen) -> None:
        self._changed()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_list.id == "models":
            self._changed()

    def _changed(self) -> None:
        if self._wait is not None:
            self._wait.stop()
        self._asked += 1
        model = self._model()
        heavy = model in self._rows and self._rows[model].weight_bytes > _LIGHT
        if not model:
            return
        if heavy:
            self._tell(f"Ctrl+E loads {model} and says what the study comes to.")
            return
        self._tell("computing ...")
        self._wait = self.set_timer(_DEBOUNCE, self.action_estimate)

    def action_estimate(self) -> None:
        self._asked += 1
        asked = self._asked
        try:
            arguments = self._draft().arguments()
        except UsageError as error:
            self._tell(str(error))
            return
        self._tell("computing ...")
        self.run_worker(lambda: self._estimate(asked, arguments), thread=True, group="dry run", exit_on_error=False)

    def _estimate(self, asked: int, arguments: list[str]) -> None:
        answer = self._dry_run.ask(arguments) if self._dry_run else None
        if answer is not None and asked == self._asked and self.app.is_running:
            self.app.call_from_thread(self._tell, answer)

    def _tell(self, text: str) -> None:
        if self.is_attached:
            self.query_one("#estimate", Text).update(Content(wording.plain(text)))

    def on_unmount(self) -> None:
        if self._dry_run is not None:
            self._dry_run.stop()

    # -- the study

    def _model(self) -> str:
        option = self.query_one("#models", Models).highlighted_option
        return (option.id or "").removeprefix("model ") if option is not None else ""

    def _draft(self) -> Draft:
        model = self._model()
        if not model:
            raise UsageError("no model is chosen: wait until the list is read, then choose one")
        chosen = self.query_one(Concepts)
        return Draft(
            model="detector" if model == FAKE else model,
            backend=FAKE if model == FAKE else registry.choose(),
            experiment=str(self.query_one("#experiment", Select).value),
            preset=str(self.query_one("#preset", Select).value),
            concepts=tuple(chosen.chosen),
            any_word=chosen.unknown,
            fields={name: self.query_one(f"#{name}", Input).value for name in FIELDS},
            grade=self.query_one("#grader", Select).value == "rules",
        )

    def action_start(self) -> None:
        draft = self._draft()
        arguments = draft.run_arguments()
        if self._dry_run is not None:
            self._dry_run.stop()
        taken = set(self.home.ask(lambda store: [run.name for run in store.runs.all()]))
        taken |= {one.name for one in self.home.processes.running}
        name = next(n for i in range(1, len(taken) + 2) if (n := f"{draft.experiment}-{i}") not in taken)
        self.home.start_run(name, arguments)

    def action_save(self) -> None:
        draft = self._draft()
        text = draft.toml()
        # A study's file says nothing of who grades it.
        later = "" if draft.grade else " --no-grade"

        def answered(answer: str) -> None:
            path = Path(answer)
            write_whole(path, text)
            self.notify(f"Saved. Start it anywhere with: mlxintro run {path}{later}", markup=False)

        self.consult(AskPath("Save the study as", Path.cwd() / "study.toml", ("toml",)), answered)


def _line(row: ModelRow) -> Content:
    disk = {"complete": "●", "partial": "◐", "absent": "○"}[row.on_disk]
    fits = "✓ fits" if row.fits else "✗ does not fit"
    return Content(f"{disk} {row.name:<13} {wording.size(row.weight_bytes):>7} {fits}")
