"""From a study to events: what the command line, the demo and a notebook do to start or resume a run.

Everything that can be wrong is found before the model is loaded, as far as that is possible, and before the store is
written.
"""

from __future__ import annotations

import datetime
import unicodedata
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from mlxintro import experiments
from mlxintro.backends.base import Backend
from mlxintro.backends.errors import UsageError, reason_of
from mlxintro.experiments.base import Experiment, Plan
from mlxintro.ladder.freeze import frozen_record, write_record
from mlxintro.paths import vectors_beside
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.spelling import composed
from mlxintro.protocol.study import Study, make_study
from mlxintro.running.blocks import BlockWorkers
from mlxintro.running.environment import describe_environment
from mlxintro.running.events import RunEvent, TokenGenerated
from mlxintro.running.live import Broadcast
from mlxintro.running.preparation import preparing
from mlxintro.running.runner import run_trials
from mlxintro.running.session import MODEL_IDENTITY, Session
from mlxintro.running.thinking import check_says_thinking, check_thinking
from mlxintro.store.records import Run
from mlxintro.store.store import Store
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import Progress, extract

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Checked:
    """Holds a study whose settings hold, as far as can be told without the model."""

    study: Study
    """Resolved: nothing is left to defaults."""
    preset: Preset
    experiment: Experiment


def check(study: Study) -> Checked:
    """Resolve a study and look its names up.

    Raises:
        UsageError: an unknown experiment, preset or concept, or settings that contradict each other.
    """
    experiment = experiments.find(study.experiment)
    preset = experiment.preset_of(study)
    resolved = study.model_copy(update={"preset": study.preset or experiment.preset}).resolve(preset)
    check_settings(experiment, preset, resolved)
    _ = resolved.resolved_concepts
    return Checked(resolved, preset, experiment)


def check_settings(experiment: Experiment, preset: Preset, study: Study) -> None:
    """Hold a preset's wording and the options against what the experiment knows.

    Raises:
        UsageError: one line that names the first that does not fit.
    """
    if preset.experiment != experiment.name:
        raise UsageError(
            f"the preset {study.preset!r} is for {preset.experiment}, not for {experiment.name}", setting="preset"
        )
    for what, model, values in (
        (f"wording of preset {study.preset!r}", experiment.Wording, preset.wording),
        ("option", experiment.Options, study.options),
    ):
        try:
            model.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            known = f"; {experiment.name} has {', '.join(model.model_fields) or 'none'}"
            raise UsageError(
                f"{what} {where}: {reason_of(first)}{known}",
                setting=where.split(".")[0] if what == "option" else "preset",
            ) from None


def check_again(run: Run) -> Checked:
    """Check the study of a run that is to be resumed; see ``check``."""
    return check(make_study(**run.study))


def plan(checked: Checked, backend: Backend) -> Plan:
    """Expand a study for a loaded model.

    Raises:
        UsageError: a layer that the model does not have, prompts longer than its context, or an empty plan.
    """
    check_thinking(checked.study, checked.experiment, backend)
    planned = checked.experiment.plan(checked.study, checked.preset, backend.info, backend.tokenizer)
    if not len(planned):
        raise UsageError("the study has no trials: give concepts, layers and strengths, or controls")
    longest = max((len(prompt.tokens) for prompt in planned.prompts.values()), default=0)
    thought = checked.study.thinking_tokens or 0
    if thought:
        marks = backend.tokenizer.thinking
        prefills = {record.prefill for record in planned.prompts.values()}
        longest += max(len(backend.tokenizer.encode(marks.closing + one).tokens) for one in prefills) if marks else 0
    room = backend.info.context - longest - thought
    if (checked.study.max_tokens or 1) > room:
        before = f"the prompt of {longest} tokens" + (f", a thought of up to {thought}" if thought else "")
        way = f"use --max-tokens {room} at most" if room > 0 else "use a model with a longer one"
        if thought and room <= 0:
            way = "use fewer --thinking-tokens"
        raise UsageError(
            f"{before} and a reply of up to {checked.study.max_tokens} exceed {backend.info.model}'s context of "
            f"{backend.info.context}: {way}",
            setting="max_tokens",
        )
    return planned


def check_written_name(name: str) -> None:
    """Refuse a name that could not be typed or read again.

    Raises:
        UsageError: it is unfit.
    """
    if not name.strip() or name != name.strip() or len(name) > _LONGEST_NAME or any(map(_unwritable, name)):
        raise UsageError(
            f"a run's name is one line of 1 to {_LONGEST_NAME} characters: choose another than {name!r:.99}"
        )
    if name.startswith("-"):
        # Every command that takes a run would take it for an option.
        raise UsageError(f"{name!r} would be read as an option: choose a name that starts otherwise")


def check_name(store: Store, name: str) -> None:
    """Refuse a run's name that is taken, or that could not be typed or read again.

    Raises:
        UsageError: it is taken, or unfit.
    """
    check_written_name(name)
    if any(composed(one.name) == composed(name) for one in store.runs.all()):
        raise UsageError(f"there is already a run called {name!r}: resume it with --resume, or choose another name")


def _unwritable(character: str) -> bool:
    """Control characters, line separators and halves of characters."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def begin(
    store: Store,
    checked: Checked,
    backend: Backend,
    planned: Plan,
    name: str | None = None,
    *,
    freeze: bool = False,
    part: tuple[str, int] | None = None,
) -> Run:
    """Record a new run with its prompts.

    Args:
        freeze: write study, plan and analysis down first, into the run and a file beside the store.
        part: the study that it belongs to; see ``RunTable.create``.

    Raises:
        UsageError: the file cannot be written, or what becomes of the subject's thoughts is not said.
    """
    check_says_thinking(checked.study, checked.experiment, backend)
    environment = {
        **describe_environment(device=backend.info.device),
        # Only where prompts depend on it; a resumed run writes it again.
        **({"prompt_date": backend.date.isoformat()} if backend.date else {}),
    }
    study = checked.study.model_dump(mode="json")
    if freeze:
        environment = {**environment, "frozen": frozen_record(study, (spec.key for spec in planned))}
    run = store.runs.create(
        checked.study.experiment,
        planned=len(planned),
        name=name,
        study=study,
        model=backend.info,
        environment=environment,
        part=part,
    )
    store.prompts.add(run.id, planned.prompts.values())
    if freeze:
        write_record(environment["frozen"], frozen_file(store, run))
    return run


def frozen_file(store: Store, run: Run) -> Path:
    """Return where the record of a frozen run is, to be published."""
    return store.path.parent / "frozen" / f"{run.id}.json"


def take_date(run: Run, backend: Backend) -> None:
    """Let the chat template write the day on which a run was begun, so that a resumed run asks what it asked before."""
    stored = run.environment.get("prompt_date")
    if isinstance(stored, str):
        with suppress(ValueError):
            backend.set_date(datetime.date.fromisoformat(stored))


def check_same_plan(store: Store, run: Run, planned: Plan) -> None:
    """Refuse to resume a run whose study now comes to other prompts or trials than those it holds.

    Raises:
        UsageError: measuring would go on with something else than was begun.
    """
    again = f"{run.name} cannot be resumed: start a new run instead"
    stored = store.prompts.of_run(run.id).keys()
    differing = len(stored ^ planned.prompts.keys()) if stored else 0
    if differing:
        raise UsageError(
            f"{differing} prompts are not those that the run was begun with (its chat template, its wording or this "
            f"program has changed), so {again}"
        )
    known = 0
    keys = (spec.key for spec in planned)
    while some := list(islice(keys, _KEYS_AT_ONCE)):
        known += len(store.trials.finished_keys(run.id, some))
    if known < run.done:
        raise UsageError(f"{run.done - known} finished trials are not in its plan any more, so {again}")


_KEYS_AT_ONCE = 500


def check_same_model(run: Run, backend: Backend) -> None:
    """Refuse to resume with another model: its trials would be others, and the run a mixture.

    Raises:
        UsageError: naming what differs.
    """
    now = {field: getattr(backend.info, field) for field in MODEL_IDENTITY}
    # Runs from before adapters have no such field, and no adapter.
    then = {field: run.model.get(field, "") for field in MODEL_IDENTITY}
    changed = [
        f"{field} was {then[field] or 'none'}, is {now[field] or 'none'}"
        for field in MODEL_IDENTITY
        if then[field] != now[field]
    ]
    if changed:
        raise UsageError(f"{run.name} cannot be resumed: {'; '.join(changed)}; start a new run instead")


def rows_to_go_on_with(store: Store, run: Run, wanted: int | None, notice: Callable[[str], None]) -> int | None:
    """Return the batch size that was recorded with a run that is resumed; ``None`` where none was.

    Texts agree only between sessions with blocks of one size, so it is kept after a kill, too. But a process that used
    up the machine's memory is often killed without an error that could be caught, and would end at the same place
    again: after a second session was killed without a trial more than the first, half as many rows run together.

    Args:
        wanted: what a person asked for, which goes before everything else.
        notice: called with one line when the size changes.
    """
    rows = wanted or run.batch_size
    if wanted is None and rows is not None and rows > 1 and store.runs.was_killed(run.id):
        if run.environment.get(KILLED_AT) == run.done:
            rows //= 2
            notice(
                f"two sessions of {run.name} were killed at the same place, for memory perhaps: going on with "
                f"{rows} rows at a time instead of {run.batch_size} (--batch-size {run.batch_size} takes that back)"
            )
        else:
            store.runs.set_fact(run.id, KILLED_AT, run.done)
            notice(
                f"the last session of {run.name} was killed in the middle of a block: going on with blocks of the same "
                f"{rows} rows, so that its texts agree; killed here once more, it goes on with half as many"
            )
    if rows is not None and rows != run.batch_size:
        store.runs.set_batch_size(run.id, rows)
    return rows


KILLED_AT = "killed_at"
"""In a run's environment: how many trials were done when a session was killed."""


def prepare(
    store: Store,
    backend: Backend,
    planned: Plan,
    *,
    run: Run | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Session:
    """Extract the vectors a plan refers to, or find them in the cache beside the store.

    Args:
        run: the run they are for; it can be paused and cancelled meanwhile.
        progress: told how many words have been read.
        notice: told, in one line, what a person should know of the cache.

    Raises:
        PreparationCancelled: somebody has cancelled the run.
    """
    if run is not None:
        with preparing(store, run.id, progress) as steered:
            return prepare(store, backend, planned, progress=steered, notice=notice)
    recorded = {key: record.content for key in planned.recipes if (record := store.vectors.get(key)) is not None}
    cache = VectorCache(vectors_beside(store.path), notice, recorded.get)
    vectors = extract(backend, planned.recipes.values(), cache, progress=progress)
    for key, vector in vectors.items():
        if recorded.get(key) != vector.content_hash:
            if key in recorded and notice is not None:
                notice(
                    f"the vector of {vector.recipe.word!r} comes out differently than the one the store recorded: the "
                    "device or the libraries have changed; start a new run if all trials must use one vector"
                )
            store.vectors.add(cache.record_of(vector))
    return Session(backend, planned.prompts, vectors)


def execute(
    store: Store,
    run: Run,
    checked: Checked,
    planned: Plan,
    session: Session,
    *,
    tokens: Callable[[TokenGenerated], None] | None = None,
    workers: BlockWorkers | None = None,
) -> Generator[RunEvent, None, None]:
    """Run what is planned and missing; see ``runner.run_trials``. Others can watch: see ``mlxintro.running.live``.

    Args:
        workers: measure the blocks instead of the session's model, which may then be closed; nobody can watch replies
            while those are written.
        tokens: called with every generated token, for streaming displays.
    """
    backend = session.backend
    if workers is not None:
        yield from run_trials(
            store, run.id, planned, workers, batch_size=backend.batch_size, shrink=workers.shrink, workers=workers
        )
        return
    live = Broadcast(store.path, run.id, session.prompts)

    def told(token: TokenGenerated) -> None:
        live.token(token)
        if tokens is not None:
            tokens(token)

    yield from live.watching(
        run_trials(
            store,
            run.id,
            planned,
            live.measuring(partial(checked.experiment.measure, session)),
            batch_size=backend.batch_size,
            shrink=partial(setattr, backend, "batch_size"),
            tokens=told,
        )
    )
