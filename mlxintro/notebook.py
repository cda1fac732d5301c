"""What a notebook does with the store: list runs, make one, read trials as a table, analyse, draw, grade a text.

``import mlxintro as mi`` has all of it; docs/notebook.md shows it in use. The store is the one of the command line:
``$MLXINTRO_HOME``, or the platform's data folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlxintro import experiments
from mlxintro.analysis.results import Analysis
from mlxintro.analysis.run import analysis_of
from mlxintro.backends.errors import UsageError
from mlxintro.backends.registry import open_backend
from mlxintro.grading.alongside import graded_alongside
from mlxintro.grading.base import Grade
from mlxintro.grading.passes import check_has_graded, find_grader, grade_run
from mlxintro.paths import data_home
from mlxintro.protocol import study_file
from mlxintro.protocol.study import Study, make_study
from mlxintro.protocol.words.own_concepts import library_with, read_concept_files, with_concept_files
from mlxintro.rendering.figures.building import FigureChoice, drawn_runs, paper_figure
from mlxintro.rendering.figures.files import DrawnFigure
from mlxintro.rendering.figures.panels import Axis, PictureKind
from mlxintro.rendering.figures.style import Width
from mlxintro.rendering.methods import all_methods
from mlxintro.running import launch
from mlxintro.running.subject_names import adapter_name, model_name
from mlxintro.store.exporting.export import export_rows
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.vectors.library import with_references

if TYPE_CHECKING:
    import pandas

_MODEL_SETTINGS = ("model", "backend", "device", "dtype", "quantize", "kv_bits", "adapter", "dialogue")


def runs(db: str | Path | None = None) -> list[Run]:
    """List the runs of the store, newest first.

    Args:
        db: another store than the one of the command line.
    """
    with _store(db) as store:
        return store.runs.all()


def frame(*names: str, db: str | Path | None = None) -> pandas.DataFrame:
    """Read the trials of one or more runs or studies as a tidy table: one row per trial, one column per variable.

    Args:
        names: runs by name, id, or the start of an id, or studies by name, whose runs come in the order of their parts;
            every run of the store when left out.

    Returns:
        the columns of docs/reference/columns.md. Verdicts (``rules.affirms``) are pandas' own yes, no and missing
        (``boolean``): an undecided verdict is missing, not False.

    Raises:
        UsageError: there is no such run.
    """
    import pandas

    with _store(db) as store:
        found = [run for name in names for run in store.studies.runs_of(name)] if names else store.runs.all()
        table = pandas.DataFrame(export_rows(store, [run.id for run in found]))
    for column in table.columns:
        values = table[column].dropna()
        if len(values) and values.map(lambda value: isinstance(value, bool)).all():
            table[column] = table[column].astype("boolean")
    return table


def run(study: Study | str | Path, *, name: str | None = None, db: str | Path | None = None, **settings: Any) -> Run:
    """Run a study to its end and grade it by the rules; the app and the command line see it too.

    Args:
        study: the name of an experiment, a study's TOML file, or a ``Study``.
        name: of the run; a free one is chosen when ``None``.
        settings: of the study, over those of the file: ``model``, ``backend``, ``concepts``, ``concept_file``,
            ``layers``, ...

    Returns:
        the run as it stands in the store.

    Raises:
        UsageError: settings that are wrong or contradict each other, or a file that names several models.
    """
    checked = launch.check(with_references(_study(study, settings), data_home(db).db))
    chosen = {name: getattr(checked.study, name) for name in _MODEL_SETTINGS}
    with Store(data_home(db).db) as store:
        if name is not None:
            launch.check_name(store, name)
        with open_backend(chosen.pop("model"), chosen.pop("backend"), **chosen) as backend:
            planned = launch.plan(checked, backend)
            begun = launch.begin(store, checked, backend, planned, name)
            session = launch.prepare(store, backend, planned, run=begun)
            grader = find_grader("rules")
            for _ in graded_alongside(store, begun.id, grader, launch.execute(store, begun, checked, planned, session)):
                pass
            grade_run(store, begun, grader)
        return store.runs.get(begun.id)


def results(name: str, *, grader: str = "rules", db: str | Path | None = None) -> Analysis:
    """Analyse a run as ``mlxintro stats`` does: verdict, ladder, figures with intervals, heat maps, curves, tables."""
    with _store(db) as store:
        return analysis_of(store, store.runs.find(name), grader)


def figure(
    *names: str,
    kind: PictureKind | None = None,
    x: Axis | None = None,
    figures: Sequence[str] = (),
    width: Width = "column",
    grader: str = "rules",
    db: str | Path | None = None,
) -> DrawnFigure:
    """Draw one or more runs of one experiment, as ``mlxintro figure`` does.

    Args:
        names: runs by name, id, or the start of an id.
        kind: ``rates``, ``overall``, ``heat-maps``, ``curves``, ``maps`` or ``ladder``; what says most when left out.
        x: the axis of rates, ``depth``, ``strength`` or ``size`` (parameters).
        figures: names of head figures, curves or maps; all of the kind when left out.
        width: ``column`` or ``page`` of a paper.
        grader: whose verdicts.

    Returns:
        a figure that a notebook shows; ``save("fig.pdf")`` writes it with its numbers, table, caption and methods.

    Raises:
        UsageError: no such run, or the runs have nothing of that kind.
    """
    with _store(db) as store:
        found = list({run.id: run for name in names for run in store.studies.runs_of(name)}.values())
        if not found:
            raise UsageError("name at least one run")
        graded = [run for run in found if experiments.find(run.experiment).graded]
        for run in graded:
            check_has_graded(store, run, grader)
        shown = paper_figure(drawn_runs(store, found, grader), FigureChoice(kind, x, tuple(figures)))
        return DrawnFigure(shown, width, all_methods(store, found, grader))


def grade(
    text: str, concept: str | None = None, *, strict: bool = False, concept_file: str | Path | None = None
) -> Grade:
    """Grade one reply by the rules.

    Args:
        text: the reply.
        concept: the word whose vector was injected; ``None`` for a reply without an injection.
        strict: by ``rules-strict``: only the word itself or a close relative names the concept, no association.
        concept_file: concepts of one's own, whose near names count.

    Raises:
        UsageError: the reply is no text.
    """
    if not isinstance(text, str):
        raise UsageError(f"a reply is a text, not {type(text).__name__}: give the words of the reply")
    known = library_with(read_concept_files([Path(concept_file)] if concept_file else []))
    return find_grader("rules-strict" if strict else "rules").grade(text, concept, known.related(concept))


def _store(db: str | Path | None) -> Store:
    return Store(data_home(db).db, read_only=True)


def _study(study: Study | str | Path, settings: dict[str, Any]) -> Study:
    settings = with_concept_files(settings)
    if isinstance(study, Study):
        return study.model_copy(update=settings) if settings else study
    given = dict(settings)
    if study_file.is_file(str(study)):
        found = study_file.read(str(study))
        if "model" not in given and len(found.subjects) > 1:
            models = ", ".join(str(subject.model) for subject in found.subjects)
            raise UsageError(f"{study} names several models ({models}): say which with model=")
        if "model" not in given and found.subjects:
            given |= {"model": found.subjects[0].model, "adapter": found.subjects[0].adapter}
        given = {**found.settings, **given}
    else:
        given = {"experiment": str(study), **given}
    return make_study(**{**given, "model": model_name(given), "adapter": adapter_name(given)})
