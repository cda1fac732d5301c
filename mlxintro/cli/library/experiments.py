"""``mlxintro experiments``."""

from __future__ import annotations

import json

import click

from mlxintro.cli.output import chatter, echo, json_line, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def experiments() -> None:
    """List and show experiments: what each asks, and the options that --set takes."""


@experiments.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(as_json: bool) -> None:
    """List every experiment: those that ship, those of other packages, and files of your own that were run here."""
    from mlxintro import experiments as known
    from mlxintro.backends.errors import KnownError

    rows = []
    for name in known.names():
        try:
            summary, preset = (found := known.find(name)).summary, found.preset
        except KnownError as error:
            # What one file or package has wrong must not hide the others.
            summary, preset = str(error), ""
        rows.append([name, preset, summary])
    if as_json:
        for name, preset, summary in rows:
            echo(json_line({"name": name, "preset": preset, "summary": summary}))
        return
    echo(table(["experiment", "preset", ""], rows))
    chatter("\n`mlxintro experiments show NAME` has its options; a file of your own: `mlxintro run ./my_experiment.py`")


@experiments.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The options as a JSON schema.")
def show(name: str, as_json: bool) -> None:
    """Show what an experiment asks, what it compares with, and its options for `run --set KEY=VALUE`."""
    from mlxintro import experiments as known

    found = known.find(name)
    if as_json:
        echo(json_line({"name": name, "summary": found.summary, "options": found.Options.model_json_schema()}))
        return
    echo(f"{name}: {found.summary}")
    for title, text in (("injects", found.where), ("scores", found.scored), ("compares", found.compared)):
        if text:
            echo(f"  {title:<9}{text}")
    echo(f"  {'preset':<9}{found.preset}")
    rows = []
    for option, field in found.Options.model_fields.items():
        default = (
            "must be given"
            if field.is_required()
            else json.dumps(field.get_default(call_default_factory=True), default=str)
        )
        rows.append([option, _kind(field.annotation), default])
    echo("\n" + table(["option", "takes", "default"], rows) if rows else "\nit has no options of its own")


def _kind(annotation: object) -> str:
    return str(getattr(annotation, "__name__", annotation)).replace("typing.", "")
