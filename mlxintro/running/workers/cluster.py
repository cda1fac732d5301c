"""Workers as actors of a Ray cluster, on any of its machines: one for each accelerator. Needs the extra ``ray``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlxintro.backends.errors import KnownError, PrerequisiteError, UsageError
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.running.workers.pool import WorkerDied
from mlxintro.running.workers.worker import TrialWorker, WorkerFacts, WorkerMessage, WorkerSetup


class Cluster:
    """Holds a connection to Ray. Use as a context manager."""

    def __init__(self, address: str | None) -> None:
        """Connect.

        Args:
            address: of a running cluster, e.g. ``auto`` or ``10.0.0.1:6379``; ``None`` starts one on this machine.

        Raises:
            PrerequisiteError: Ray is not installed.
            KnownError: there is no cluster at the address.
        """
        try:
            import ray
        except ImportError:
            raise PrerequisiteError("--executor ray needs Ray: pip install 'mlxintro[ray]'") from None
        self._ray: Any = ray
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise KnownError(f"no Ray cluster answers at {address or 'this machine'}: {reason:.200}") from error

    def close(self) -> None:
        """Let go of the cluster; one that was started here ends."""
        self._ray.shutdown()

    def links(self, setup: WorkerSetup, count: int | None) -> list[ActorLink]:
        """Return a link for each worker to be; nothing is started yet.

        Args:
            setup: what the workers load. It is sent to every machine once.
            count: how many workers; one for each GPU of the cluster when ``None``.

        Raises:
            UsageError: no number, and no GPU; or more workers than the cluster has GPUs.
        """
        resources = self._ray.cluster_resources()
        cards = int(resources.get("GPU", 0))
        if count is None and not cards:
            raise UsageError("the Ray cluster has no GPU: say how many workers share its processors with --workers")
        wanted = count or cards
        if cards and wanted > cards:
            raise UsageError(f"the Ray cluster has {cards} GPUs: choose --workers {cards} at most")
        shared = self._ray.put(setup)
        # An actor keeps its accelerator for itself. Without accelerators, all share the processors.
        processors = float(resources.get("CPU", 1))
        needs = {"num_gpus": 1.0, "num_cpus": 1.0} if cards else {"num_cpus": min(1.0, processors / wanted)}
        return [ActorLink(self._ray, shared, needs, f"worker {number}") for number in range(1, wanted + 1)]


class ActorLink:
    """Is the near end of the way to one actor."""

    def __init__(self, ray: Any, setup: Any, needs: dict[str, float], name: str) -> None:
        self.name = name
        self._ray = ray
        self._setup = setup
        self._needs = needs
        self._actor: Any = None

    def start(self) -> WorkerFacts:
        """Start the actor, again if one has died with its machine, and wait until its model is loaded.

        Raises:
            WorkerDied: it ended before it was ready.
            KnownError: the model cannot be loaded there.
        """
        self.stop()
        # It is started anew here and not by Ray, so that the pool hears of it.
        remote = self._ray.remote(_Actor).options(max_restarts=0, **self._needs)
        self._actor = remote.remote(self._setup)
        facts: WorkerFacts = self._read(self._actor.facts.remote())[1]
        return facts

    def measure(self, specs: Sequence[TrialSpec], batch_size: int) -> Iterator[list[Outcome]]:
        """Have a block measured; yields outcomes as they arrive.

        Raises:
            WorkerDied: the actor or its machine is gone.
            Exception: what ended the block there.
        """
        if self._actor is None:
            raise WorkerDied(self.name)
        messages = self._actor.measure.options(num_returns="streaming").remote(list(specs), batch_size)
        while (message := self._read_next(messages))[0] != "done":
            yield message[1]

    def stop(self) -> None:
        """End the actor, whatever it is at."""
        actor, self._actor = self._actor, None
        if actor is not None:
            self._ray.kill(actor)

    def _read_next(self, messages: Iterator[Any]) -> WorkerMessage:
        try:
            reference = next(messages)
        except (StopIteration, self._ray.exceptions.RayError) as error:
            raise WorkerDied(self.name) from error
        return self._read(reference)

    def _read(self, reference: Any) -> WorkerMessage:
        try:
            message: WorkerMessage = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            raise WorkerDied(self.name) from error
        if message[0] == "failed":
            raise message[1]
        return message


class _Actor:
    """Is what runs at the far end."""

    def __init__(self, setup: WorkerSetup) -> None:
        from mlxintro.running.workers.worker import portable

        self._worker: TrialWorker | None = None
        self._failed: Exception | None = None
        try:
            self._worker = TrialWorker(setup)
        except Exception as error:
            # An exception here would end the actor, and tell the other side nothing but that.
            self._failed = portable(error)

    def facts(self) -> WorkerMessage:
        """Say what it runs on, or why it does not."""
        return ("failed", self._failed) if self._worker is None else ("ready", self._worker.facts)

    def measure(self, specs: Sequence[TrialSpec], batch_size: int) -> Iterator[WorkerMessage]:
        """See ``TrialWorker.measure``."""
        assert self._worker is not None
        yield from self._worker.measure(specs, batch_size)
