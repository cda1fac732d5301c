"""``mlxintro check``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from mlxintro.cli.options import load_backend, model_options
from mlxintro.cli.output import echo


@click.command()
@model_options
@click.option(
    "--deep",
    is_flag=True,
    help="Also load the same files with transformers and compare log-probabilities; takes the memory of a second copy.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def check(deep: bool, as_json: bool, **settings: Any) -> int:
    """Check that a model loads, speaks, and can be injected into.

    Each line says pass or fail with its evidence; a failure says what to do. Exit code 1 if any failed.
    """
    from mlxintro.tools.check import run_checks

    failed = 0
    with load_backend(**settings) as backend:
        for line in run_checks(backend, deep=deep):
            failed += not line.passed
            if as_json:
                echo(json.dumps(asdict(line)))
                continue
            echo(f"{'pass' if line.passed else 'FAIL'}  {line.name:<16} {line.detail}")
            if line.advice:
                echo(f"      {'':<16} -> {line.advice}")
    return 1 if failed else 0
