"""``mlxintro run --executor``: the options that name workers, and opening them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlxintro.cli.output import chatter

if TYPE_CHECKING:
    from mlxintro.running.launch import Checked
    from mlxintro.running.session import Session
    from mlxintro.running.workers.pool import WorkerPool

F = TypeVar("F", bound=Callable[..., Any])
WORKER_FLAGS = ("executor", "devices", "address", "workers", "mixed_devices")
"""Names of the options below."""


def worker_options(function: F) -> F:
    """Add ``--executor`` and what belongs to it."""
    for option in reversed(
        (
            click.option(
                "--executor",
                type=click.Choice(["local", "ray"]),
                help="Share the trials out: local, over --devices of this machine; ray, over a Ray cluster.",
            ),
            click.option(
                "--devices", metavar="DEVICE,...", help="One worker each, e.g. cuda:0,cuda:1 (--executor local)."
            ),
            click.option("--address", help="Of a Ray cluster, e.g. auto. Default: one is started on this machine."),
            click.option("--workers", type=click.IntRange(1), help="How many (--executor ray). Default: one per GPU."),
            click.option(
                "--mixed-devices",
                is_flag=True,
                help="Accept devices of different kinds, whose texts may differ for the same trial.",
            ),
        )
    ):
        function = option(function)
    return function


def check_workers(flags: Mapping[str, Any]) -> None:
    """Refuse options that do not go together.

    Raises:
        click.UsageError: one line that says which.
    """
    executor = flags["executor"]
    belongs = {"devices": "local", "address": "ray", "workers": "ray"}
    for name, to in belongs.items():
        if flags[name] is not None and executor != to:
            raise click.UsageError(f"--{name} belongs to --executor {to}: add that, or leave it out")
    if flags["mixed_devices"] and executor is None:
        raise click.UsageError("--mixed-devices belongs to --executor local or ray")
    if executor == "local" and not _devices(flags):
        raise click.UsageError("--executor local needs --devices, e.g. --devices cuda:0,cuda:1")


@contextmanager
def open_workers(flags: Mapping[str, Any], checked: Checked, session: Session) -> Iterator[WorkerPool | None]:
    """Open the workers that the options name; ``None`` where the trials are measured here.

    The session's model is closed first: its device is a worker's now.

    Args:
        flags: of the command line; without ``executor`` there are no workers.
        checked: the study.
        session: model, prompts and vectors of the run.
    """
    if flags.get("executor") is None:
        yield None
        return
    from mlxintro.running.workers.pool import WorkerPool
    from mlxintro.running.workers.worker import WorkerSetup

    backend, study = session.backend, checked.study
    size = backend.batch_size
    date = backend.date.isoformat() if backend.date else None
    backend.close()

    def setup(device: str | None) -> WorkerSetup:
        return WorkerSetup(
            study.model_copy(update={"device": device}), size, date, dict(session.prompts), dict(session.vectors)
        )

    with ExitStack() as stack:
        links: Any
        if flags["executor"] == "ray":
            from mlxintro.running.workers.cluster import Cluster

            cluster = stack.enter_context(closing(Cluster(flags["address"])))
            links = cluster.links(setup(study.device), flags["workers"])
        else:
            from mlxintro.running.workers.processes import ProcessLink

            links = [
                ProcessLink(setup(device), f"worker {number} on {device}")
                for number, device in enumerate(_devices(flags), 1)
            ]
        chatter(f"starting {len(links)} workers, {size} trials at a time in each ...")
        yield stack.enter_context(WorkerPool(links, size, chatter, mixed=flags["mixed_devices"]))


def _devices(flags: Mapping[str, Any]) -> list[str]:
    return [one.strip() for one in (flags["devices"] or "").split(",") if one.strip()]
