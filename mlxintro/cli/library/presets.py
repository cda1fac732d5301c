"""``mlxintro presets``."""

from __future__ import annotations

import click

from mlxintro.cli.output import chatter, echo, json_line, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def presets() -> None:
    """List and show presets: the wording and the settings of an experiment."""


@presets.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(as_json: bool) -> None:
    """List every preset with its experiment and what it is."""
    from mlxintro.experiments.outside.presets import every_preset

    found = list(every_preset())
    if as_json:
        for name, preset in found:
            echo(json_line({"name": name, "experiment": preset.experiment, "source": preset.source}))
        return
    echo(table(["preset", "experiment", ""], [[name, one.experiment, one.summary] for name, one in found]))
    chatter("\n`mlxintro presets show NAME` prints one, to be edited and given to `run EXPERIMENT --preset-file FILE`")


@presets.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a preset as a TOML file."""
    from mlxintro.experiments.outside.presets import preset_text

    echo(preset_text(name), nl=False)
