"""Runs planned trials, stores each as it finishes, and says what happens as events.

It knows nothing of models, prompts or vectors: ``measure`` does the work. It does not grade and does not print.

The plan is cut into fixed blocks of ``BATCHES`` batches: block i holds the trials ``i * n`` to ``(i + 1) * n - 1``,
whatever was finished before. Within a block the backend keeps ``batch_size`` rows running, and lets the next in when
one ends. A row's numbers depend on its neighbours at the level of float rounding, and a rounding difference can tip a
sampled token, so a block that was cut short is measured again **as a whole** and only what is missing is stored. That
costs at most one block per interruption, and makes a resumed run equal to one that was never interrupted. The rows that
are measured twice are compared with what is stored: if they differ, the machine has changed, and a notice says so.

When memory runs out, half as many rows run together from there on, and the block is cut in two: its halves are blocks
of the smaller size. The store remembers the smaller size, so a resumed run goes on exactly as this one would have. When
a block fails for another reason, its open trials are halved until those that fail stand alone.

A result is committed the moment it arrives, which takes about 0.1 ms: ``kill -9`` loses only rows in flight.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress

from mlxintro.backends.base import OnToken, TokenEvent
from mlxintro.backends.errors import InjectionError, KnownError, OutOfMemory
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.replies.thoughts import thought_of
from mlxintro.running.blocks import BATCHES, Block, BlockWorkers, NothingMeasures, blocks, cut
from mlxintro.running.events import (
    BatchStarted,
    FinalState,
    Notice,
    RunEvent,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    TokenGenerated,
    TrialFailed,
    TrialFinished,
)
from mlxintro.store.records import Finished, Run
from mlxintro.store.store import Store

Measure = Callable[[Sequence[TrialSpec], OnToken | None], Iterator[Outcome]]
"""Runs a block of trials; yields outcomes in any order, each as soon as it is there. Token events carry the index
of the trial in the sequence."""

BEAT_SECONDS = 2.0
POLL_SECONDS = 0.2
"""How long a paused run sleeps before it asks again."""
HOPELESS = 8
"""Failures before the first success, or a batch of them if that is more, that end a run: the set-up is broken."""

_log = logging.getLogger(__name__)


class _Cancelled(Exception):
    """Somebody asked for the run to stop."""


class _MeasureFailed(Exception):
    """Wraps an error inside ``measure``, to tell it from an error of the store or of the runner."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def run_trials(
    store: Store,
    run_id: str,
    planned: Iterable[TrialSpec],
    measure: Measure,
    *,
    batch_size: int,
    shrink: Callable[[int], None] | None = None,
    tokens: Callable[[TokenGenerated], None] | None = None,
    workers: BlockWorkers | None = None,
) -> Generator[RunEvent, None, None]:
    """Run what is planned and not yet finished. Nothing happens until the first event is asked for.

    Failed trials are stored with their error and tried again the next time. Abandoning the iterator, or Ctrl-C, leaves
    the run ``interrupted``: everything finished is stored and the rest can be resumed.

    Args:
        store: open for writing, used by this thread.
        run_id: full id.
        planned: the whole plan, always in the same order; it is read once, a block at a time.
        measure: see ``Measure``.
        batch_size: rows that run together. It is the backend's business to keep to it; here it gives the length of a
            block. A resumed run keeps the size it has.
        shrink: makes ``measure`` run fewer rows together, after memory ran out; without it that is one more failure.
        tokens: called with every token as it is generated, from inside ``measure``, where an event cannot be yielded.
        workers: are told of blocks ahead, where ``measure`` is shared out over several.

    Yields:
        ``RunStarted`` first and ``RunFinished`` last.

    Raises:
        InjectionError: what was injected is not what was planned; the run is ``failed``.
        KnownError: another process is at it; the store cannot be written; nothing works at all (``failed``).
    """
    run = store.runs.claim(run_id, batch_size=batch_size)
    started = time.monotonic()
    work = _RunWork(store, run, measure, batch_size, shrink, tokens, workers)
    try:
        with _beating(store, run_id):
            yield RunStarted(run_id, run.name, run.planned, run.done, run.batch_size or batch_size)
            yield from work.keep_size()
            yield from work.all(planned)
    except _Cancelled:
        yield _finish(store, run_id, started, "cancelled")
    except Exception as error:
        message = describe(error)
        try:
            last = _finish(store, run_id, started, "failed", message)
        except KnownError:
            # The store itself fails: its first error is the one to tell. The run will show as interrupted.
            raise error from None
        yield last
        raise
    except BaseException:
        # Where even this cannot be written, the run shows as interrupted once the process is gone.
        with suppress(KnownError):
            store.runs.set_state(run_id, "interrupted")
        raise
    else:
        yield _finish(store, run_id, started, "done")


def _finish(store: Store, run_id: str, started: float, state: FinalState, error: str | None = None) -> RunFinished:
    """Store how a run ended and return the event that tells it."""
    store.runs.set_state(run_id, state, error)
    now = store.runs.get(run_id)
    return RunFinished(run_id, state, now.done, now.errors, time.monotonic() - started, error)


def describe(error: BaseException) -> str:
    """Return one line; errors that are not foreseen say what kind they are."""
    text = " ".join(str(error).split())
    return text if isinstance(error, KnownError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


class _RunWork:
    """Does the work of one session."""

    def __init__(
        self,
        store: Store,
        run: Run,
        measure: Measure,
        size: int,
        shrink: Callable[[int], None] | None,
        tokens: Callable[[TokenGenerated], None] | None,
        workers: BlockWorkers | None,
    ) -> None:
        self.store = store
        self.run = run
        self.measure = measure
        self.size = size
        self.shrink = shrink
        self.tokens = tokens
        self.workers = workers
        self.finished: set[str] = set()
        """Keys of the block under way that have a result."""
        self.succeeded = 0
        self.failed = 0
        self.last_error = ""
        self.noticed_difference = False

    def keep_size(self) -> Iterator[RunEvent]:
        """Go on with the batches a run was made with so far; a fresh run takes those it is given."""
        if self.run.batch_size and self.run.batch_size != self.size:
            self.size = self.run.batch_size
            yield Notice(
                f"keeping batches of {self.size}, with which this run was made so far, so that its texts agree"
            )
            if self.shrink is not None:
                self.shrink(self.size)

    def all(self, planned: Iterable[TrialSpec]) -> Iterator[RunEvent]:
        for block in blocks(self.store, self.run.id, iter(planned), lambda: self.size, self.workers):
            yield from self._block(block)
        now = self.store.runs.get(self.run.id)
        if self.failed and not now.done:
            raise KnownError(f"every trial failed: {self.last_error}")
        if now.planned != now.done + now.errors:
            # The plan holds the same trial twice, or has changed since: what it came to is what counts.
            self.store.runs.set_planned(now.id, now.done + now.errors)

    def _block(self, block: Block) -> Iterator[RunEvent]:
        if not block.missing:
            return
        specs, ordinals = block.specs, block.ordinals
        self.finished = self.store.trials.finished_keys(self.run.id, specs)
        yield from self._steered()
        yield BatchStarted(block.first, len(specs), block.missing)
        try:
            yield from self._measured(specs, ordinals)
            return
        except _MeasureFailed as failure:
            _log.info("block at %d failed", block.first, exc_info=failure.cause)
            cause = failure.cause
        if isinstance(cause, OutOfMemory) and self.shrink is not None and self.size > 1:
            yield from self._smaller(cause, self.shrink)
            # Rows of this block that are stored had other neighbours: that they differ now says nothing.
            noticed, self.noticed_difference = self.noticed_difference, True
            first, rest = block.first, list(block.planned)
            while rest:
                # The size may fall again on the way.
                part, rest = rest[: BATCHES * self.size], rest[BATCHES * self.size :]
                yield from self._block(cut(self.store, self.run.id, first, part))
                first += len(part)
            self.noticed_difference = noticed
            return
        if len(specs) > 1:
            count = sum(key not in self.finished for key in specs)
            yield Notice(f"a block failed, its {count} open trials are run in smaller parts: {describe(cause)}")
        yield from self._narrowed(specs, ordinals, cause)

    def _smaller(self, cause: OutOfMemory, shrink: Callable[[int], None]) -> Iterator[RunEvent]:
        self.size //= 2
        shrink(self.size)
        self.store.runs.set_batch_size(self.run.id, self.size)
        yield Notice(f"going on with {self.size} rows at a time, nothing is lost: {describe(cause)}")

    def _narrowed(
        self, specs: dict[str, TrialSpec], ordinals: Mapping[str, int], cause: Exception
    ) -> Iterator[RunEvent]:
        """Measure again what is open of trials that failed together, in halves, until those that fail stand alone."""
        left = [key for key in specs if key not in self.finished]
        if len(specs) == 1:
            for key in left:
                yield from self._stored(ordinals[key], specs[key], _failure(key, cause))
            return
        half = (len(left) + 1) // 2
        for keys in filter(None, (left[:half], left[half:])):
            part = {key: specs[key] for key in keys}
            try:
                yield from self._measured(part, ordinals)
                continue
            except _MeasureFailed as failure:
                _log.info("%d trials failed", len(part), exc_info=failure.cause)
                again = failure.cause
            yield from self._narrowed(part, ordinals, again)

    def _measured(self, specs: dict[str, TrialSpec], ordinals: Mapping[str, int]) -> Iterator[RunEvent]:
        waiting = set(specs)
        with closing(self._outcomes(list(specs.values()))) as outcomes:
            for outcome in outcomes:
                if outcome.key not in waiting:
                    raise RuntimeError(f"an outcome for {outcome.key}, which was not asked for or came twice")
                waiting.remove(outcome.key)
                if outcome.key in self.finished:
                    yield from self._compared(outcome)
                else:
                    yield from self._stored(ordinals[outcome.key], specs[outcome.key], outcome)
                yield from self._steered()
        for key in specs:
            if key in waiting and key not in self.finished:
                silent = RuntimeError("the experiment gave no outcome for this trial")
                yield from self._stored(ordinals[key], specs[key], _failure(key, silent))

    def _outcomes(self, specs: list[TrialSpec]) -> Generator[Outcome, None, None]:
        tokens = self.tokens
        keys = [spec.key for spec in specs] if tokens else []

        def on_token(event: TokenEvent) -> None:
            if tokens:
                tokens(TokenGenerated(keys[event.index], event.text))

        try:
            yield from self.measure(specs, on_token if tokens else None)
        except (InjectionError, NothingMeasures):
            raise
        except Exception as error:
            raise _MeasureFailed(error) from error

    def _stored(self, ordinal: int, spec: TrialSpec, outcome: Outcome) -> Iterator[RunEvent]:
        self.store.trials.add(self.run.id, [Finished(ordinal, spec, outcome)])
        if outcome.error is not None:
            self.failed += 1
            self.last_error = outcome.error
            yield TrialFailed(outcome.key, ordinal, outcome.error)
            if not self.succeeded and self.failed >= max(self.size, HOPELESS):
                raise KnownError(f"the first {self.failed} trials all failed: {outcome.error}")
            return
        self.succeeded += 1
        self.finished.add(outcome.key)
        injection = spec.injections[0] if spec.injections else None
        yield TrialFinished(
            key=outcome.key,
            ordinal=ordinal,
            condition=spec.condition,
            concept=spec.concept,
            layer=injection.layer if injection else None,
            strength=injection.strength if injection else None,
            response=outcome.response,
            finish=outcome.finish,
            tokens=outcome.tokens,
            thought=thought_of(outcome.measurements),
        )

    def _compared(self, outcome: Outcome) -> Iterator[RunEvent]:
        """A row that was stored before and is measured again for its neighbours' sake."""
        self.succeeded += outcome.error is None
        stored = self.store.trials.find(self.run.id, outcome.key)
        if stored.response != outcome.response and not self.noticed_difference:
            self.noticed_difference = True
            yield Notice(
                f"trial {outcome.key} comes out differently than before: the device, the libraries, their settings or "
                "the batch size have changed since; start a new run if all texts must come from one machine"
            )

    def _steered(self) -> Iterator[RunEvent]:
        """Do what other processes ask for.

        Raises:
            _Cancelled: the run shall stop.
        """
        control = self.store.runs.control(self.run.id)
        if control == "pause":
            self.store.runs.set_state(self.run.id, "paused")
            yield RunPaused(self.run.id)
            while (control := self.store.runs.control(self.run.id)) == "pause":
                time.sleep(POLL_SECONDS)
            if control == "run":
                self.store.runs.set_state(self.run.id, "running")
                yield RunResumed(self.run.id)
        if control == "cancel":
            raise _Cancelled


def _failure(key: str, error: Exception) -> Outcome:
    return Outcome(key, response="", finish="", tokens=0, error=describe(error))


@contextmanager
def _beating(store: Store, run: str) -> Iterator[None]:
    """A heartbeat while a long block runs, from a thread with a connection of its own."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(BEAT_SECONDS):
            try:
                store.database.check_in_place()
                with Store(store.path, create=False) as own:
                    own.runs.beat(run)
            except KnownError as error:
                # A full disk, a long lock, a store that is gone: the run itself meets it too, and tells.
                _log.info("no heartbeat: %s", error)

    thread = threading.Thread(target=beat, name=f"heartbeat {run}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
