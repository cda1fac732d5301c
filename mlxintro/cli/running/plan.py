"""``mlxintro plan``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from mlxintro.backends.errors import KnownError
from mlxintro.cli.options import model_options
from mlxintro.cli.output import chatter, echo, json_line, table

if TYPE_CHECKING:
    from mlxintro.running.study_order import OrderedPart
    from mlxintro.tools.forecast.machines import RatedMachine
    from mlxintro.tools.forecast.rated import Forecast


@click.command()
@click.argument("study", required=False)
@model_options
@click.option("--on", "on", metavar="MACHINE,...", default="here", show_default=True, help="See --machines.")
@click.option("--machines", "list_machines", is_flag=True, help="List the machines that are known, and stop.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per run and machine.")
@click.pass_context
def plan(
    context: click.Context, /, study: str | None, on: str, list_machines: bool, as_json: bool, **options: Any
) -> int:
    """Say what a study takes, without loading its models: hours, memory, whether it fits, and the price.

    STUDY is a study's file or an experiment's name. Ranges are ranges: a machine that is not there is known by its data
    sheet, and replies end when they do. `here` times a stand-in of random weights with the model's width, within a
    factor of two.

    \b
    mlxintro plan study.toml --on l4,a100-80,h100
    mlxintro plan injected-thoughts -m qwen2.5-7b --on here,m3-max-64
    """
    from mlxintro.paths import data_home
    from mlxintro.running.study_order import order_of
    from mlxintro.tools.forecast.machines import HERE, prices_from, rated

    if list_machines:
        _list_machines(as_json)
        return 0
    if study is None:
        raise click.UsageError("say which study, e.g. `mlxintro plan study.toml --on l4,h100`, or --machines")
    names = list(dict.fromkeys(name.strip() for name in on.split(",") if name.strip()))
    machines = [(name, None if name == HERE else rated(name)) for name in names]
    given = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    order = order_of(data_home(context.obj).db, study, given)
    rows: list[list[str]] = []
    failed = 0
    for name, machine in machines:
        found = list(_forecasts(order.parts, machine))
        for label, forecast, problem in found:
            price = forecast.dollars(machine.price) if forecast and machine else None
            failed += forecast is None
            if as_json:
                echo(json_line(_record(name, label, forecast, price, problem)))
            rows.append(_row(name, label, forecast, price, problem))
        if len(found) > 1:
            rows.append(_total(name, [one for _, one, _ in found], machine.price if machine else None))
    if not as_json:
        echo(table(["machine", "model", "trials", "rows", "memory", "time", "price (USD)", ""], rows, right=(2, 3, 4)))
        if any(machine is not None and machine.price for _, machine in machines):
            chatter(f"\nprices: {prices_from()}")
    return 1 if failed else 0


def _forecasts(
    parts: tuple[OrderedPart, ...], machine: RatedMachine | None
) -> Iterator[tuple[str, Forecast | None, str]]:
    """What every run takes on one machine, or why that cannot be told."""
    from mlxintro.tools.forecast.here import forecast_here
    from mlxintro.tools.forecast.outline import outline_of
    from mlxintro.tools.forecast.rated import forecast

    for part in parts:
        try:
            if part.problem is not None:
                raise KnownError(part.problem)
            outline = outline_of(part.checked, "torch" if machine is None else machine.backend)
            found = forecast_here(outline) if machine is None else forecast(outline, machine)
            guessed = "" if outline.counted else "lengths are guessed: the model is not on disk"
            yield part.label, found, guessed
        except KnownError as error:
            yield part.label, None, str(error)


def _row(
    machine: str, label: str, found: Forecast | None, price: tuple[float, float] | None, problem: str
) -> list[str]:
    if found is None:
        return [machine, label, "", "", "", "", "", problem]
    memory = f"{found.needed / 1e9:.1f} of {found.usable / 1e9:.0f} GB"
    if not found.fits:
        return [machine, label, str(found.trials), "", memory, "does not fit", "", problem]
    note = "; ".join(filter(None, (found.note, problem)))
    return [machine, label, str(found.trials), str(found.rows), memory, _range(found.seconds), _dollars(price), note]


def _total(machine: str, found: list[Forecast | None], price: tuple[float, float] | None) -> list[str]:
    """All runs that fit, one after the other."""
    times = [one.seconds for one in found if one is not None and one.seconds is not None]
    seconds = (sum(low for low, _ in times), sum(high for _, high in times))
    dollars = price and (price[0] * seconds[0] / 3600, price[1] * seconds[1] / 3600)
    trials = sum(one.trials for one in found if one is not None and one.seconds is not None)
    left = len(found) - len(times)
    note = f"without {left} that cannot be run there" if left else ""
    return [
        machine,
        f"all {len(times)}",
        str(trials),
        "",
        "",
        _range(seconds) if times else "",
        _dollars(dollars),
        note,
    ]


def _range(seconds: tuple[float, float] | None) -> str:
    from mlxintro.rendering.quantities import duration

    return "" if seconds is None else f"{duration(seconds[0])} to {duration(seconds[1])}"


def _dollars(price: tuple[float, float] | None) -> str:
    return "" if price is None else f"{price[0]:.2f} to {price[1]:.2f}"


def _record(
    machine: str, label: str, found: Forecast | None, price: tuple[float, float] | None, problem: str
) -> dict[str, Any]:
    record: dict[str, Any] = {"machine": machine, "part": label, "problem": problem or None}
    if found is not None:
        record |= {
            **{name: getattr(found, name) for name in ("fits", "needed", "usable", "rows", "trials", "note")},
            "seconds": found.seconds,
            "dollars": price,
        }
    return record


def _list_machines(as_json: bool) -> None:
    from mlxintro.tools.forecast.machines import HERE, machine_names, prices_from, rated

    rows = []
    for one in map(rated, machine_names()):
        if as_json:
            echo(json_line(one))
        price = "" if one.price is None else f"{one.price[0]:.2f} to {one.price[1]:.2f}"
        speed = f"{one.bandwidth / 1e9:.0f} GB/s, {one.compute / 1e12:.0f} TFLOPS"
        rows.append([one.name, one.title, f"{one.memory / 2**30:.0f} GB", speed, one.backend, price])
    if not as_json:
        echo(table(["machine", "", "memory", "data sheet", "backend", "USD per hour"], rows))
        chatter(f"\n{HERE} is this machine; prices: {prices_from()}")
