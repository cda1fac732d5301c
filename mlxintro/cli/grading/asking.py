"""How a service is asked: the options that ``grade claude``, ``grade openai`` and ``grade --grader`` have in common."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar, cast

import click

from mlxintro.cli.grading.rubric import rubric_option

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[Any], Any]


class PriceParam(click.ParamType[Any]):
    """Reads two prices, of input and of output."""

    name = "prices"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            prices = tuple(float(part) for part in value.split(","))
        except ValueError:
            prices = ()
        if len(prices) != 2 or not all(0 <= price < 10_000 for price in prices):
            self.fail(f"{value!r} is not two prices: give USD per million tokens of input and output, e.g. 3,15")
        return prices


class DollarsParam(click.ParamType[Any]):
    """Reads an amount of money: finite, not negative."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            dollars = float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a number of US dollars: write 2 or 0.50")
        if not (math.isfinite(dollars) and dollars >= 0):
            self.fail(f"{value!r} is no limit: give a finite number of US dollars, or leave it out")
        return dollars


@dataclass(frozen=True, slots=True)
class Asking:
    """Says what a service is asked, how fast, and what it may cost."""

    again: bool
    """Whether to grade anew what this grader has graded before."""
    retry: bool
    """Whether to ask only about what could not be graded before."""
    concurrency: int
    """Number of questions at once."""
    budget: float | None
    """Limit of what this grader's grades of the run may cost, in US dollars."""
    price: tuple[float, float] | None
    """US dollars per million tokens of input and of output, for a model that is not listed."""
    dry_run: bool
    """Whether to estimate and stop."""
    as_json: bool
    """Whether to print the estimate as JSON."""
    open_of: str | None = None
    """Name of a grader: only the replies that it left open are graded."""
    batch: bool = False
    """Whether to ask at half the price, within a day."""
    wait: bool = True
    """Whether to wait for a batch."""
    abandon: bool = False
    """Whether to give up batches that were never collected."""

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            click.UsageError: in one line.
        """
        if self.again and self.retry:
            raise click.UsageError("--again grades everything and --retry only what failed: choose one")
        if self.as_json and not self.dry_run:
            raise click.UsageError("--json belongs to --dry-run: add it, or leave it out")
        if not self.wait and not self.batch:
            raise click.UsageError("--no-wait belongs to --batch: add it, or leave it out")


AGAIN = click.option("--again", is_flag=True, help="Grade anew what this grader has graded before.")
AS_NAME = click.option("--as", "name", metavar="NAME", help="Store the grades under this name, beside other judges.")
OPEN = click.option("--open", "open_of", metavar="GRADER", help="Only replies that this grader left open.")
BASE_URL = click.option("--base-url", metavar="URL", help="E.g. http://localhost:11434/v1. Default: OPENAI_BASE_URL.")
JUDGE_BACKEND = click.option(
    "--judge-backend",
    type=click.Choice(["auto", "mlx", "torch", "fake"]),
    default="auto",
    show_default=True,
    help="What runs the judge.",
)
BATCHES = (
    click.option("--batch", is_flag=True, help="At half the price, within a day; can be interrupted and resumed."),
    click.option("--no-wait", is_flag=True, help="--batch: submit or collect, and return at once."),
    click.option("--abandon", is_flag=True, help="Give up batches that were never collected."),
)
SERVICE = (
    click.option("--retry", is_flag=True, help="Only what could not be graded before."),
    click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="Questions at once."),
    click.option("--budget", type=DollarsParam(), metavar="USD", help="What its grades of this run may cost."),
    click.option("--price", type=PriceParam(), metavar="IN,OUT", help="USD per million tokens, for an unlisted model."),
    click.option("--dry-run", is_flag=True, help="Estimate tokens and cost, and stop."),
)
_ESTIMATE = click.option("--json", "as_json", is_flag=True, help="--dry-run: JSON.")


def take(options: dict[str, Any]) -> Asking:
    """Take the options of a service out of those of a command."""
    found = {field.name: options.pop(field.name) for field in fields(Asking) if field.name in options}
    return Asking(**found, wait=not options.pop("no_wait", False))


def asks(*own: Option) -> Callable[[F], F]:
    """Give a command the options of a service and some of its own; it gets them as one checked ``asking``."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def called(*arguments: Any, **options: Any) -> Any:
            asking = take(options)
            asking.check()
            return command(*arguments, asking=asking, **options)

        found: Any = called
        for option in reversed((AGAIN, AS_NAME, *own, *SERVICE, _ESTIMATE, OPEN, rubric_option)):
            found = option(found)
        return cast(F, found)

    return decorate


def named_for(owner: str, *options: Option) -> Callable[[F], F]:
    """Give a command that serves several graders the options of one of them, and say in their help whose they are."""

    def decorate(command: F) -> F:
        found: Any = command
        for option in reversed(options):
            found = option(found)
            added = found.__click_params__[-1]
            said = str(added.help)
            added.help = f"{owner}: {said if said[:2].isupper() else said[0].lower() + said[1:]}"
        return cast(F, found)

    return decorate
