"""Setting up a study: what to run, what its protocol is, what it will come to, and starting it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from mlxintro.backends import registry
from mlxintro.backends.errors import UsageError
from mlxintro.protocol import study_file
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.rendering.whole_file import write_whole
from mlxintro.tools.model_list import ModelRow, rows

from ..reading import study_text, wording
from ..running.dry_run import DryRun
from ..running.study_form import Draft, WrongFields, filled
from ..shell.dialogues import AskPath, OpenPath
from ..shell.page import Page
from ..widgets.concept_list import Concepts, ConceptWords
from ..widgets.options import Options
from ..widgets.study_fields import StudyFields
from ..widgets.text import Text

FAKE = "fake"
_DEBOUNCE = 0.7
_LIGHT = 1_000_000_000
"""Bytes of weights up to which a model is loaded unasked, to say what a study comes to."""


class Models(Options):
    HELP = (
        "Models: those on disk first. The arrow keys choose. A filled dot: on disk; a half one: partly; an open one: "
        "it is fetched before the study starts, after a question that says how much that is. The last one is a "
        "simulated subject, to try things out."
    )


class NewStudyPage(Page):
    PLACE = "new"
    KEYED = (ConceptWords,)
    SECONDS = 3600.0
    HELP = (
        "An empty field means: as the preset says (its value is shown in grey). Layers are indices (20), ranges "
        "(10-20:2) or depth fractions (0.66); lists are comma-separated. At the bottom stands what the study comes to; "
        "with a large model only after {new.estimate}, because it has to be loaded for that. {new.explain} shows the "
        "protocol in words in place of the concepts.\n{new.start} starts it, {new.open} opens a study's file in the "
        "form, {new.save} saves the form as one. Tab moves on."
    )
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-middle"), (150, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r,f5", "start", "Start", id="new.start", tooltip="Start the study", priority=True),
        Binding("ctrl+s", "save", "Save", id="new.save", tooltip="Save the study as a TOML file", priority=True),
        Binding("ctrl+f", "open", "Open", id="new.open", tooltip="Open a study's TOML file", priority=True),
        Binding("ctrl+e", "estimate", "Estimate", id="new.estimate", tooltip="Say what it comes to", priority=True),
        Binding("f3", "explain", "Protocol", id="new.explain", tooltip="The protocol in words", priority=True),
        Binding("escape", "app.go('runs')", "Runs", id="new.back", tooltip="Back to the list of runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, ModelRow] = {}
        self._wait: Timer | None = None
        self._asked = 0
        self._dry_run: DryRun | None = None
        self._rest: dict[str, Any] = {}
        """Settings of an opened study that the form has no field for."""
        self._wanted_model = ""
        """A model that is to be chosen when the list of models is there."""
        self._explaining = False
        self._taken: set[str] = set()
        """Names of the runs there are."""

    def body(self) -> Iterator[Widget]:
        with Horizontal(id="form"):
            with Vertical(id="left"):
                yield Models(id="models")
                yield StudyFields(id="study")
            yield Concepts(("set:blueprint",), id="concepts")
            with VerticalScroll(id="protocol") as pane:
                pane.border_title = "Protocol"
                yield Text(id="protocol-text")
        with VerticalScroll(id="estimate", can_focus=False):
            yield Text(id="estimate-text")

    @property
    def fields(self) -> StudyFields:
        return self.query_one(StudyFields)

    def begin(self) -> None:
        self._dry_run = DryRun(self.home.processes)
        self._keep_rest({})
        models = self.query_one("#models", Models)
        models.border_title = "Model"
        models.add_option(Option("reading the disk ...", disabled=True))
        models.focus()
        self.query_one("#estimate").border_title = "Plan"
        self.read("models", lambda _: rows(registry.choose()), self._models_found)  # type: ignore[arg-type]

    def look(self) -> None:
        wanted = self.home.study_wanted
        if wanted is not None and self._rows:
            self.home.study_wanted = None
            self.take(*wanted)
        self.read("names", lambda store: {run.name for run in store.runs.all()}, self._names_found)

    def _names_found(self, taken: set[str]) -> None:
        self._taken = taken
        self.fields.suggest_name(self._free_name(taken))

    def _free_name(self, taken: set[str]) -> str:
        taken = taken | {one.name for one in self.home.processes.running}
        return next(n for i in range(1, len(taken) + 2) if (n := f"{self.fields.experiment}-{i}") not in taken)

    # -- filling in

    def _models_found(self, found: list[ModelRow]) -> None:
        order = sorted(found, key=lambda row: (row.on_disk != "complete" and row.name != "smollm2", not row.fits))
        self._rows = {row.name: row for row in order}
        models = self.query_one("#models", Models)
        models.clear_options()
        name = max((len(row.name) for row in order), default=0)
        models.add_options(Option(study_text.model_line(row, name), id=f"model {row.name}") for row in order)
        models.add_option(Option(Content("● simulated subject, no model needed"), id=f"model {FAKE}"))
        wanted, models.highlighted = self._wanted_model, 0
        self._highlight(wanted)
        self.look()

    def take(self, study: Mapping[str, Any], title: str) -> None:
        """Fill the form with a study's settings.

        Args:
            study: settings as in ``Study``; those that the form has no field for are kept and run as they are.
            title: says where they come from.
        """
        texts, rest = filled(study)
        self._keep_rest(rest)
        experiment = str(study.get("experiment") or "injected-thoughts")
        self.fields.fill(experiment, str(study.get("preset") or ""), texts)
        self.query_one(Concepts).choose([str(one) for one in study.get("concepts") or ("set:blueprint",)])
        self._highlight(FAKE if study.get("backend") == FAKE else str(study.get("model") or ""))
        also = ", ".join(f"{name} {value}" for name, value in self._rest.items() if not isinstance(value, dict))
        self.query_one("#estimate").border_subtitle = wording.plain(f"{title}{f'; also {also}' if also else ''}")
        self._changed()

    def _keep_rest(self, rest: dict[str, Any]) -> None:
        """Keep settings that the form has no field for, and offer the concepts that the study knows."""
        if self.home.own_concepts is not None:
            rest.setdefault("own_concepts", self.home.own_concepts.model_dump(mode="json"))
        self._rest = rest
        self.query_one(Concepts).know(library_of(rest))

    def _highlight(self, model: str) -> None:
        models = self.query_one("#models", Models)
        names = [option.id for option in models.options]
        self._wanted_model = model
        if f"model {model}" in names:
            models.highlighted = names.index(f"model {model}")

    def kept(self) -> dict[str, Any]:
        draft = self._draft()
        return {
            "study": {
                **draft.rest,
                "experiment": draft.experiment,
                "preset": draft.preset,
                "model": self._wanted_model,
            },
            "texts": draft.fields,
            "concepts": draft.concepts,
            "name": self.fields.run_name,
            "grade": draft.grade,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        study, texts = kept["study"], kept["texts"]
        typed = {str(name): str(text) for name, text in texts.items()}
        self.fields.fill(str(study["experiment"]), str(study["preset"]), typed)
        self.query_one(Concepts).choose([str(one) for one in kept["concepts"]])
        self.fields.name_run(str(kept["name"]))
        self.fields.set_grader(bool(kept["grade"]))
        rest = filled(study)[1]
        if self.home.own_concepts is not None:
            # What the file says now goes before what was left in the form.
            rest.pop("own_concepts", None)
        self._keep_rest(rest)
        self._highlight(str(study["model"]))

    # -- what it comes to

    def on_study_fields_edited(self, event: StudyFields.Edited) -> None:
        self.look()
        self._changed()

    def on_concepts_chosen(self, event: Concepts.Chosen) -> None:
        self._changed()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_list.id == "models":
            self._wanted_model = self._model() or self._wanted_model
            self._changed()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.focus_next()

    def _changed(self) -> None:
        """Say what is wrong, or what the study comes to when nothing more has changed for a moment."""
        if self._wait is not None:
            self._wait.stop()
        self._asked += 1
        model = self._model()
        if not model:
            return
        if self._check() is None:
            self._tell("Correct what is marked first.")
            return
        self._wait = self.set_timer(_DEBOUNCE, self._settled)
        heavy = model in self._rows and self._rows[model].weight_bytes > _LIGHT
        absent = model in self._rows and self._rows[model].on_disk != "complete" and model != "smollm2"
        if absent:
            self._tell(f"{model} is not on this disk: {self.home.keyed('{new.start}')} asks, fetches it and starts.")
        elif heavy:
            self._tell(f"{self.home.keyed('{new.estimate}')} loads {model} and says what the study comes to.")
        else:
            self._tell("computing ...")

    def _settled(self) -> None:
        self._explain()
        model = self._rows.get(self._model())
        if model is None or model.weight_bytes <= _LIGHT:
            self.action_estimate()

    def _check(self, *, focus: bool = False) -> Draft | None:
        """Return the form if it can be run; else mark what is wrong."""
        draft, problems = self._draft(), {}
        try:
            draft.study()
        except WrongFields as error:
            problems = error.problems
        name = self.fields.run_name
        wrong = study_text.wrong_name(name, self._taken) if name else ""
        if wrong:
            problems = {**problems, "run-name": f"Name: {wrong}"}
        self.fields.show_problems(problems, focus=focus)
        if focus and "concepts" in problems:
            self.query_one("#words").focus()
        return None if problems else draft

    def action_estimate(self) -> None:
        draft = self._check(focus=True)
        if draft is None:
            return
        self._asked += 1
        asked = self._asked
        self._tell("computing ...")
        file = self._write(draft, "new-study")
        self.run_worker(lambda: self._estimate(asked, file), thread=True, group="dry run", exit_on_error=False)

    def _estimate(self, asked: int, file: Path) -> None:
        answer = self._dry_run.ask([str(file)]) if self._dry_run else None
        if answer is not None and asked == self._asked and self.app.is_running:
            self.app.call_from_thread(self._tell, answer)

    def _tell(self, text: str) -> None:
        if self.is_attached:
            self.query_one("#estimate-text", Text).update(Content(wording.plain(text)))

    def on_unmount(self) -> None:
        if self._dry_run is not None:
            self._dry_run.stop()

    # -- the protocol

    def action_explain(self) -> None:
        self._explaining = not self._explaining
        self.query_one("#form").set_class(self._explaining, "-explaining")
        if self._explaining:
            self.query_one("#protocol").focus()
        self._explain()

    def _explain(self) -> None:
        draft = self._check()
        if draft is not None and self.query_one("#protocol").display:
            self.read("protocol", lambda _: study_text.protocol(draft), self._explained, last=True)

    def _explained(self, text: str) -> None:
        self.query_one("#protocol-text", Text).update(Content(text))

    # -- the study

    def _model(self) -> str:
        option = self.query_one("#models", Models).highlighted_option
        return (option.id or "").removeprefix("model ") if option is not None else ""

    def _draft(self) -> Draft:
        model = self._model() or self._wanted_model
        chosen = self.query_one(Concepts)
        return Draft(
            model="detector" if model == FAKE else model,
            backend=FAKE if model == FAKE else registry.choose(),
            experiment=self.fields.experiment,
            preset=self.fields.preset,
            concepts=tuple(chosen.chosen),
            any_word=chosen.unknown,
            fields=self.fields.texts,
            grade=self.fields.grades,
            rest=self._rest,
        )

    def _write(self, draft: Draft, name: str) -> Path:
        """Write the study beside the logs, for a process to read."""
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
        file = self.home.data.logs / f"{safe}.toml"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{file.parent}: {error.strerror}: choose another store with --db") from error
        write_whole(file, draft.toml())
        return file

    def action_start(self) -> None:
        if not self._model():
            raise UsageError("no model is chosen: wait until the list is read, then choose one")
        self._taken = set(self.home.ask(lambda store: [run.name for run in store.runs.all()]))
        draft = self._check(focus=True)
        if draft is None:
            return
        name = self.fields.run_name or self._free_name(self._taken)
        row = self._rows.get(self._model())
        if row is None or row.on_disk == "complete":
            self._start(draft, name)
        else:
            self.confirm(study_text.fetching(row), "Fetch and start", lambda: self._start(draft, name))

    def _start(self, draft: Draft, name: str) -> None:
        if self._dry_run is not None:
            self._dry_run.stop()
        self.fields.name_run("")
        file = self._write(draft, f"study-{name}")
        self.home.start_run(name, [str(file), *([] if draft.grade else ["--no-grade"])])

    def action_save(self) -> None:
        draft = self._check(focus=True)
        if draft is None:
            return
        text = draft.toml()
        # A study's file says nothing of who grades it.
        later = "" if draft.grade else " --no-grade"

        def answered(answer: str) -> None:
            path = Path(answer)
            write_whole(path, text)
            self.notify(f"Saved. Start it anywhere with: mlxintro run {path}{later}", markup=False)

        self.consult(AskPath("Save the study as", Path.cwd() / "study.toml", ("toml",)), answered)

    def action_open(self) -> None:
        def answered(answer: str) -> None:
            found = study_file.read(answer)
            subject = found.subjects[0] if found.subjects else None
            settings = {**found.settings, **({"model": subject.model} if subject else {"model": self._model()})}
            if subject is not None and subject.adapter:
                settings["adapter"] = subject.adapter
            self.take(settings, f"from {Path(answer).name}")

        ready = ", ".join(study_file.ready())
        self.consult(OpenPath("Open a study", Path.cwd(), f"A TOML file, or one that ships: {ready}."), answered)
