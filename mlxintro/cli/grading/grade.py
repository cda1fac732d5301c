"""``mlxintro grade``: a command for every grader, and for comparing what they said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlxintro.cli.grading.asking import AGAIN, AS_NAME, BASE_URL, BATCHES, JUDGE_BACKEND, OPEN, Asking, asks
from mlxintro.cli.grading.flags import NAME, by_flags
from mlxintro.cli.grading.rubric import rubric_option, use_rubric
from mlxintro.cli.options import CONCEPT_FILE

if TYPE_CHECKING:
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


class _GradeGroup(click.Group):
    """Takes ``grade RUN --grader NAME`` and ``grade --file FILE`` too, as the command was before."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = [NAME, *args]
        return super().parse_args(context, args)


@click.group(cls=_GradeGroup)
def grade() -> None:
    """Grade the replies of a run. Nothing is generated; earlier grades are kept.

    A grader reads the reply and, to say whether it is named, the concept; it does not know whether anything was
    injected. What could not be graded stays unscored, which is not a "no".

    `grade RUN --grader NAME` does the same as `grade NAME RUN`.
    """


_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


@contextmanager
def _found(context: click.Context, run: str, *, read_only: bool = False) -> Iterator[tuple[Store, Run]]:
    from mlxintro.paths import data_home
    from mlxintro.store.store import Store

    with Store(data_home(context.obj).db, read_only=read_only) as store:
        yield store, store.runs.find(run)


@grade.command()
@click.argument("run")
@click.option("--strict", is_flag=True, help="Names the concept only by its own word or a close relative.")
@AGAIN
@click.pass_context
def rules(context: click.Context, run: str, strict: bool, again: bool) -> None:
    """Grade by fixed rules: no model, no network, the same grade on every machine."""
    from mlxintro.cli.grading.local import grade_by_rules

    with _found(context, run) as (store, found):
        grade_by_rules(store, found, "rules-strict" if strict else "rules", again=again)


@grade.command()
@click.argument("run")
@asks(click.option("--model", help="The model's id. Default: the cheapest current one."), *BATCHES)
@click.pass_context
def claude(
    context: click.Context, run: str, name: str | None, model: str | None, rubric: str | None, asking: Asking
) -> None:
    """Grade by the Anthropic API, with the key in ANTHROPIC_API_KEY."""
    from mlxintro.cli.grading.claude import grade_by_claude

    use_rubric(rubric)
    with _found(context, run) as (store, found):
        grade_by_claude(store, found, model, name or "claude", asking)


@grade.command()
@click.argument("run")
@asks(BASE_URL, click.option("--model", help="As the endpoint calls it."))
@click.pass_context
def openai(
    context: click.Context,
    run: str,
    name: str | None,
    base_url: str | None,
    model: str | None,
    rubric: str | None,
    asking: Asking,
) -> None:
    """Grade by any OpenAI-compatible endpoint: Ollama, LM Studio, vLLM, OpenRouter.

    The key, if it takes one, is in OPENAI_API_KEY.
    """
    from mlxintro.cli.grading.compatible import grade_by_endpoint

    use_rubric(rubric)
    with _found(context, run) as (store, found):
        grade_by_endpoint(store, found, base_url, model, name or "openai", asking)


@grade.command()
@click.argument("run")
@click.option("--judge", metavar="MODEL", required=True, help="Any model a backend runs; see `mlxintro models list`.")
@JUDGE_BACKEND
@AGAIN
@AS_NAME
@OPEN
@rubric_option
@click.pass_context
def local(
    context: click.Context,
    run: str,
    judge: str,
    judge_backend: str,
    again: bool,
    name: str | None,
    rubric: str | None,
    open_of: str | None,
) -> None:
    """Grade by a model on this machine: yes/no questions, and how probable it finds either answer."""
    from mlxintro.cli.grading.local import grade_by_judge

    use_rubric(rubric)
    with _found(context, run) as (store, found):
        grade_by_judge(store, found, judge, judge_backend, name or "local", again=again, open_of=open_of)


@grade.command()
@click.argument("path", metavar="FILE")
@click.option("--grader", type=click.Choice(["rules", "rules-strict", "local"]), default="rules", show_default=True)
@click.option("--judge", metavar="MODEL", help="local: the model.")
@JUDGE_BACKEND
@CONCEPT_FILE
@click.pass_context
def file(
    context: click.Context,
    path: str,
    grader: str,
    judge: str | None,
    judge_backend: str,
    concept_file: tuple[Path, ...],
) -> None:
    """Grade replies of other programs: JSON lines with "response", "concept" (null for controls), "id"; - is stdin.

    Prints one object per line with the five fields and the verdict: "success" claims a thought and then names the
    concept, "failure" does not, null is undecided.
    """
    from mlxintro.cli.grading.file import grade_file

    grade_file(context, path, grader, judge, judge_backend, concept_file)


@grade.command()
@click.argument("run")
@click.option("--of", "names", metavar="A,B", default="rules,openai", show_default=True, help="Two graders of the run.")
@click.pass_context
def pair(context: click.Context, run: str, names: str) -> None:
    """Believe two graders where they agree; `mlxintro label RUN --open A+B` shows people the rest."""
    from mlxintro.cli.grading.local import grade_by_two

    with _found(context, run) as (store, found):
        grade_by_two(store, found, names)


@grade.command()
@click.argument("run")
@click.option("--between", metavar="A,B", help="These two. Default: every pair there is.")
@_json
@click.pass_context
def agreement(context: click.Context, run: str, between: str | None, as_json: bool) -> None:
    """Show how far graders and labellers agree: kappa and confusion per field and condition."""
    from mlxintro.cli.grading.agreement import show_agreement

    with _found(context, run, read_only=True) as (store, found):
        show_agreement(store, found, between, as_json)


@grade.command()
@click.argument("run")
@click.option("--graders", metavar="A,B", help="Between these. Default: all there are.")
@_json
@click.pass_context
def disagreements(context: click.Context, run: str, graders: str | None, as_json: bool) -> None:
    """List replies that graders read differently, worst first."""
    from mlxintro.cli.grading.compare import show_disagreements

    with _found(context, run, read_only=True) as (store, found):
        show_disagreements(store, found, graders, as_json)


grade.add_command(by_flags)

__all__: Sequence[str] = ("grade",)
