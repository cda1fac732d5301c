"""Entry point. Commands are imported when they are called, so that ``--help`` is instant."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module

import click

from mlxintro.backends.errors import KnownError
from mlxintro.cli.output import echo, refuse, write_anything

COMMANDS = {
    "demo": ("running.demo", "Run a small real study on the embedded model and read its replies."),
    "check": ("models.check", "Check that a model loads, speaks, and can be injected into."),
    "models": ("models.models", "List and fetch models."),
    "concepts": ("library.concepts", "List concepts, their sets and categories, and baseline words."),
    "experiments": ("library.experiments", "List and show experiments: what each asks, and its options."),
    "presets": ("library.presets", "List and show the wordings and settings of experiments."),
    "extract": ("vectors.vectors", "Extract concept vectors and show their norms by layer."),
    "vectors": ("vectors.library", "List, show, export and import concept vectors; carry them over to another model."),
    "steer": ("vectors.vectors", "Reply with and without a vector, and test that it steers."),
    "run": ("running.run", "Run an experiment, or resume one."),
    "plan": ("running.plan", "Say what a study takes on machines you do not have: hours, memory, price."),
    "certify": ("running.certify", "Test every rival explanation of a model's claims, in one run."),
    "studies": ("running.studies", "List, show, resume and delete studies: the runs of one file, as one."),
    "runs": ("running.runs", "List, show, export, import and delete runs; pause or cancel one."),
    "label": ("grading.label", "Label replies by hand, blind, one key at a time."),
    "grade": ("grading.grade", "Grade the replies of a run."),
    "stats": ("results.stats", "Rates of a run with their intervals."),
    "tui": ("tui", "The terminal app: launch studies, watch them, read every reply."),
    "train": ("models.train", "Train an adapter that reports injected concepts: a positive control, or a fake."),
    "dose": ("vectors.dose", "Find strengths that steer without garbling, layer by layer."),
    "compare": ("results.compare", "Put runs side by side, with differences and intervals."),
    "figure": ("results.figure", "Draw runs for a paper, with numbers, table, caption and methods beside the picture."),
    "report": ("results.report", "Write a run as one HTML or Markdown document."),
    "bench": ("models.bench", "Time this machine: trials per second, the cost of injection, the floor."),
}
"""Command -> module in ``mlxintro.cli`` and its one-line help, which must not cost an import."""


class LazyGroup(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"mlxintro.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else " See `mlxintro --help`."
            raise click.UsageError(f"no command called {args[0]!r}.{hint}", context)
        return super().resolve_command(context, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--db", metavar="PATH", help="Store to use. Default: $MLXINTRO_HOME, else the platform's data folder.")
@click.version_option(package_name="mlxintro", prog_name="mlxintro")
@click.pass_context
def cli(context: click.Context, db: str | None) -> None:
    """Do open language models notice what is injected into their thoughts?

    mlxintro extracts a concept's direction from a model's residual stream, injects it while the model answers, and
    asks whether the model notices. Start with `mlxintro demo`.
    """
    if db is not None and (not db or os.path.isdir(db)):
        raise click.UsageError(f"--db takes the path of a file, and {db!r} is none: name one in it, e.g. mlxintro.db")
    context.obj = db


def main() -> None:
    """Run the command line: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Bugs keep their traceback."""
    write_anything()
    try:
        code = cli.main(prog_name="mlxintro", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KnownError as error:
        refuse(str(error))
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        refuse(error.format_message())
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        # The terminal may be gone.
        with suppress(OSError):
            echo("mlxintro: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        echo("mlxintro: the disk is full: free some space and try again", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _drop_output() -> None:
    """Forget what cannot be written. Python would complain once more when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
