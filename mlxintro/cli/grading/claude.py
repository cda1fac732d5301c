"""``mlxintro grade --grader claude``: estimate, ask, and say what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.cli.grading.asking import Asking
from mlxintro.cli.output import chatter, echo, json_line, shell
from mlxintro.cli.running.progress import Bar

if TYPE_CHECKING:
    from mlxintro.grading.claude.passes import ClaudePass, Estimate, RemoteGrader
    from mlxintro.grading.claude.prices import Tariff
    from mlxintro.grading.claude.questions import Dossier
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


@dataclass(frozen=True, slots=True)
class Service:
    """Describes an API that judges."""

    put: Any
    """How a question is put; see ``grading.claude.live.Put``."""
    open_client: Callable[[], Any]
    prices: str
    """Source of its prices, in words; empty where they were given."""


def open_keys(store: Store, run: Run, grader: str | None) -> frozenset[str] | None:
    """Return the trials that a grader left open; ``None`` for no choice.

    Raises:
        UsageError: it has not graded the run, or left nothing open.
    """
    from mlxintro.grading.open_replies import left_open
    from mlxintro.grading.passes import check_has_graded

    if grader is None:
        return None
    check_has_graded(store, run, grader)
    keys = left_open(store, run, grader)
    if not keys:
        raise UsageError(f"{grader} left no reply of {run.name} open: nothing is left to grade")
    return keys


def grade_by_claude(store: Store, run: Run, model: str | None, name: str, how: Asking) -> None:
    """Grade a run by the Anthropic API."""
    from mlxintro.grading.claude import prices
    from mlxintro.grading.claude.questions import ClaudeGrader

    def opened() -> Any:
        from mlxintro.grading.claude.api import open_client

        return open_client()

    from mlxintro.grading.claude.live import put_to_claude

    grader = ClaudeGrader(model, name=name)
    origin = "" if how.price else f"prices of {prices.table().date}, {prices.table().source}"
    grade_by_service(store, run, grader, _tariff(grader.model, how), Service(put_to_claude, opened, origin), how)


def grade_by_service(
    store: Store, run: Run, grader: RemoteGrader, tariff: Tariff, service: Service, how: Asking
) -> None:
    """Grade a run by an API: estimate, ask, and say what it cost."""
    from mlxintro.grading.claude.passes import ClaudePass

    job = ClaudePass(store, run, grader, tariff, how.budget, keys=open_keys(store, run, how.open_of))
    if how.dry_run:
        if how.again:
            chatter("--dry-run counts what is missing, as if there were no --again")
        _estimate(job, how, service)
        return
    client = service.open_client()
    with job.alone():
        if how.abandon:
            chatter(f"{job.abandon()} batches given up; what they cost stays on the account")
        if how.again:
            job.forget()
        total = _estimate(job, how, service)
        try:
            with Bar("grading", unit=" replies") as bar:
                _ask(job, client, service, how, bar, total)
        finally:
            client.close()
            _conclude(job)
    if job.report.left:
        raise KnownError(f"not everything is graded: {job.report.stopped or 'run the same command again'}")


def _ask(job: ClaudePass, client: Any, service: Service, how: Asking, bar: Bar, total: int) -> None:
    def progress() -> None:
        bar.count(job.report.graded + job.report.failed, total)

    def dossiers() -> Iterator[Dossier]:
        found: Iterator[Dossier] = job.open_dossiers(only_failed=how.retry)
        return found

    if how.batch:
        from mlxintro.grading.claude.batch import BatchRunner

        BatchRunner(job, client, notify=bar.say, progress=progress).run(dossiers, wait=how.wait)
    else:
        from mlxintro.grading.claude.live import run_live

        run_live(
            job, client, dossiers(), put=service.put, concurrency=how.concurrency, progress=progress, notify=bar.say
        )


def _tariff(model: str, how: Asking) -> Tariff:
    from mlxintro.grading.claude import prices

    if how.price is not None:
        known: prices.Model | None = prices.Model(input=how.price[0], output=how.price[1])
    else:
        known = prices.find(model)
    if known is None:
        raise UsageError(
            f"the price of {model!r} is not known here: give it with --price IN,OUT (USD per million tokens), "
            f"or use one of {', '.join(prices.table().models)}"
        )
    return prices.Tariff(known, batch=how.batch)


def _estimate(job: ClaudePass, how: Asking, service: Service) -> int:
    """Say what it will take.

    Returns:
        How many replies there are to grade.
    """
    found = job.estimate(job.open_dossiers(only_failed=how.retry))
    if how.dry_run and how.as_json:
        echo(json_line({"model": job.grader.model, **asdict(found), "spent": job.budget.spent}))
    elif found.replies:
        _tell(job, service, found)
    return int(found.replies)


def _tell(job: ClaudePass, service: Service, found: Estimate) -> None:
    origin = service.prices or "given prices"
    chatter(
        f"{job.grader.model}: {found.replies} replies, {found.questions} questions at most, "
        f"about {found.input_tokens:,} tokens in and {found.output_tokens:,} out: "
        f"about ${found.dollars:.4f}, at worst ${found.worst:.4f} ({origin})"
    )
    if job.budget.spent:
        chatter(f"this run's grades by {job.grader.name} have cost ${job.budget.spent:.4f} so far, at most")


def _conclude(job: ClaudePass) -> None:
    report, name = job.report, shell(job.run.name)
    line = f"{job.run.name}: {report.graded} graded ({report.abstained} abstained), {report.skipped} were graded before"
    if report.failed:
        line += f", {report.failed} could not be graded and stay unscored (run the same command again to retry them)"
    if report.waiting:
        line += f", {report.waiting} wait in a batch (go on with --batch)"
    if report.left:
        line += f", {report.left} are left"
    chatter(f"{line}; cost so far at most ${job.store.calls.spent(job.run.id, job.grader.name):.4f}")
    if report.graded or report.skipped:
        chatter(f"see mlxintro stats {name} --grader {shell(job.grader.name)}")
