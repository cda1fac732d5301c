"""``mlxintro grade RUN --grader NAME``: every grader by flags, as the command was before it became a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mlxintro.cli.grading.asking import (
    AGAIN,
    AS_NAME,
    BASE_URL,
    BATCHES,
    JUDGE_BACKEND,
    OPEN,
    SERVICE,
    Asking,
    named_for,
    take,
)
from mlxintro.cli.grading.claude import grade_by_claude
from mlxintro.cli.grading.rubric import rubric_option, use_rubric
from mlxintro.cli.options import OpenChoice

if TYPE_CHECKING:
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store

NAME = "by flags"


@dataclass(frozen=True, slots=True)
class _Flags:
    """Holds the options of the command, as they were given or by default."""

    grader: str
    name: str | None
    model: str | None
    base_url: str | None
    rubric: str | None
    judge: str | None
    judge_backend: str
    path: str | None
    agreement: bool
    between: str | None
    disagreements: bool
    graders: str | None
    asking: Asking


@click.command(name=NAME, hidden=True)
@click.argument("run", required=False)
@click.option(
    "--grader",
    type=OpenChoice(["rules", "rules-strict", "claude", "openai", "local"], "mlxintro.graders"),
    default="rules",
    show_default=True,
)
@AGAIN
@AS_NAME
@click.option("--model", help="claude: the model's id; default: the cheapest. openai: as the endpoint calls it.")
@named_for("openai", BASE_URL)
@rubric_option
@named_for("claude, openai", *SERVICE)
@named_for("claude", *BATCHES)
@click.option("--judge", metavar="MODEL", help="local: any model a backend can run; see `mlxintro models list`.")
@named_for("local", JUDGE_BACKEND)
@click.option("--file", "path", metavar="FILE", help="Grade replies from elsewhere: JSON lines; - reads stdin.")
@click.option("--agreement", is_flag=True, help="Grade nothing: how far graders and labellers agree.")
@click.option("--between", metavar="A,B", help="--agreement: these two. Default: every pair there is.")
@click.option("--disagreements", is_flag=True, help="Grade nothing: list replies that graders read differently.")
@click.option("--graders", metavar="A,B", help="--disagreements: between these. Default: all there are.")
@named_for("claude, openai, local", OPEN)
@click.option("--json", "as_json", is_flag=True, help="--disagreements, --agreement, --dry-run: JSON.")
@click.pass_context
def by_flags(context: click.Context, /, run: str | None, **options: Any) -> None:
    """Grade the replies of a run. Nothing is generated; earlier grades are kept.

    A grader reads the reply and, to say whether it is named, the concept; it does not know whether anything was
    injected. `claude` sends replies to the Anthropic API, with the key in ANTHROPIC_API_KEY. `local` asks a model on
    this machine yes/no questions and reads how probable it finds either answer. What could not be graded stays
    unscored, which is not a "no".

    `--file` grades replies of other programs: {"response": ..., "concept": ..., "id": ...} per line, concept null for
    controls. It prints one object per line with the five fields and the verdict: "success" claims a thought and names
    the concept, "failure" does not, null is undecided.
    """
    asking = take(options)
    flags = _Flags(**options, asking=asking)
    if flags.path is not None:
        _grade_file(context, run, flags.path, flags)
        return
    if run is None:
        raise click.UsageError("name a RUN, or a file with --file; see `mlxintro runs list`")
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store

    reads_only = flags.disagreements or flags.agreement
    _check_flags(context, flags.grader, reads_only)
    use_rubric(flags.rubric)
    with Store(data_home(context.obj).db, read_only=reads_only) as store:
        found = store.runs.find(run)
        if flags.agreement:
            from mlxintro.cli.grading.agreement import show_agreement

            show_agreement(store, found, flags.between, asking.as_json)
        elif flags.disagreements:
            from mlxintro.cli.grading.compare import show_disagreements

            show_disagreements(store, found, flags.graders, asking.as_json)
        else:
            _grade_run(store, found, flags)


def _grade_file(context: click.Context, run: str | None, path: str, flags: _Flags) -> None:
    """Grade replies of other programs."""
    from mlxintro.cli.grading.file import grade_file

    if run is not None:
        raise click.UsageError("give a RUN or --file, not both")
    if flags.rubric is not None and flags.grader != "local":
        raise click.UsageError(f"--rubric belongs to --grader {_EACH}: add one, or leave it out")
    use_rubric(flags.rubric)
    grade_file(context, path, flags.grader, flags.judge, flags.judge_backend)


def _grade_run(store: Store, found: Run, flags: _Flags) -> None:
    """Grade the replies of a run by the grader that was asked for."""
    flags.asking.check()
    if flags.grader == "claude":
        grade_by_claude(store, found, flags.model, flags.name or "claude", flags.asking)
    elif flags.grader == "openai":
        from mlxintro.cli.grading.compatible import grade_by_endpoint

        grade_by_endpoint(store, found, flags.base_url, flags.model, flags.name or "openai", flags.asking)
    elif flags.grader == "local":
        from mlxintro.cli.grading.local import grade_by_judge

        grade_by_judge(
            store,
            found,
            flags.judge,
            flags.judge_backend,
            flags.name or "local",
            again=flags.asking.again,
            open_of=flags.asking.open_of,
        )
    else:
        from mlxintro.cli.grading.local import grade_by_rules

        grade_by_rules(store, found, flags.grader, again=flags.asking.again)


_ASKED = ("retry", "model", "concurrency", "budget", "price", "dry_run")
_JUDGES = ("claude", "openai", "local")
_EACH = "claude, openai and local"
_JUDGED = {"open_of": "open", "rubric": "rubric", "name": "as"}
"""Options that every judge takes, by the name of their value."""
_FOR: Mapping[str, tuple[str, ...]] = {
    "claude": (*_ASKED, "batch", "no_wait", "abandon"),
    "openai": (*_ASKED, "base_url"),
    "local": ("judge", "judge_backend"),
}


def _check_flags(context: click.Context, grader: str, disagreements: bool) -> None:
    """Refuse options that would be ignored.

    Raises:
        click.UsageError: naming the first.
    """
    given = {
        name for name in context.params if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    allowed = () if disagreements else _FOR.get(grader, ())
    for owner, names in _FOR.items():
        for name in names:
            if name in given and name not in allowed:
                raise click.UsageError(
                    f"--{name.replace('_', '-')} belongs to --grader {owner}: add it, or leave it out"
                )
    for name, flag in _JUDGED.items():
        if name in given and (grader not in _JUDGES or disagreements):
            raise click.UsageError(f"--{flag} belongs to --grader {_EACH}: add one, or leave it out")
    if "between" in given and "agreement" not in given:
        raise click.UsageError("--between belongs to --agreement: add it, or leave it out")
    if {"agreement", "disagreements"} <= given:
        raise click.UsageError("--agreement counts and --disagreements lists: choose one")
    if "graders" in given and "disagreements" not in given:
        raise click.UsageError("--graders belongs to --disagreements: add it, or leave it out")
    if "as_json" in given and not (disagreements or "dry_run" in given):
        raise click.UsageError("--json belongs to --disagreements and --dry-run: add one, or leave it out")
    if grader == "local" and "judge" not in given and not disagreements:
        raise click.UsageError("--grader local needs --judge MODEL: an alias, a hub id or a folder")
