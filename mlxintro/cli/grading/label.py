"""``mlxintro label``."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlxintro.cli.output import chatter, echo, json_line, shell

if TYPE_CHECKING:
    from mlxintro.grading.labels.labelling import Item, LabellingSession
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


@click.command()
@click.argument("run")
@click.option("--labeller", metavar="NAME", help="Who labels. Default: the user's name.")
@click.option("--n", "count", type=click.IntRange(1), default=20, show_default=True, help="Trials in a new set.")
@click.option("--set", "name", metavar="NAME", default="labels", show_default=True, help="Label set to go on with.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of a new set's draw.")
@click.option("--open", "grader", metavar="GRADER", help="Only replies that this grader left open; a set of its own.")
@click.option("--freeze", is_flag=True, help="Let the set take no more labels, for good.")
@click.option("--export", "target", metavar="FILE", help="Write all labels as JSON lines; - is stdout.")
@click.option("--import", "source", metavar="FILE", help="Add labels from JSON lines; - is stdin.")
@click.pass_context
def label(
    context: click.Context,
    run: str,
    labeller: str | None,
    count: int,
    name: str,
    seed: int,
    grader: str | None,
    freeze: bool,
    target: str | None,
    source: str | None,
) -> None:
    """Label replies by hand: one key says whether a reply claims a thought, a second whether it names the word shown.

    Up to half of a new set are replies that graders left open and nobody has decided since; they come first. Blind:
    condition, layer, strength and grades are hidden, trials are shuffled, and controls show a decoy word. Every label
    is stored at once; the same command goes on. A second labeller gets the same set in the same order.
    """
    from mlxintro.backends.errors import UsageError
    from mlxintro.grading.labels import files as label_files
    from mlxintro.paths import data_home
    from mlxintro.protocol.plain_data import is_utf16
    from mlxintro.rendering.whole_file import write_whole
    from mlxintro.store.store import Store

    if sum((freeze, target is not None, source is not None)) > 1:
        raise click.UsageError("--freeze, --export and --import are three things: choose one")
    with Store(data_home(context.obj).db) as store:
        found = store.runs.find(run)
        try:
            if target is not None:
                lines = "".join(json_line(row) + "\n" for row in label_files.rows(store, found))
                if target == "-":
                    echo(lines, nl=False)
                else:
                    write_whole(Path(target), lines)
            elif source is not None:
                with click.open_file(source, "rb") as file:
                    data = file.read()
                if is_utf16(data):
                    raise UsageError(f"{source}: it is UTF-16: save it as UTF-8")
                labels = label_files.read(data.decode("utf-8-sig").split("\n"), labeller)
                store.labels.add(found.id, labels)
                chatter(f"{len(labels)} labels added to {found.name}")
            elif freeze:
                if name not in {its.name for its in store.label_sets.of_run(found.id)}:
                    raise UsageError(f"{found.name} has no label set {name!r}: label some trials first")
                store.label_sets.freeze(found.id, name)
                chatter(f"the label set {name} of {found.name} is frozen")
            else:
                chosen_name = name if grader is None or name != "labels" else f"open of {grader}"
                _label(store, found, labeller or getpass.getuser(), chosen_name, count, seed, grader)
        except UnicodeDecodeError as error:
            raise UsageError(f"{source}: it is not UTF-8: save it as UTF-8") from error
        except OSError as error:
            if error.filename is None:
                raise
            raise UsageError(
                f"{error.filename}: {(error.strerror or 'no access').lower()}: name another file"
            ) from error


def _label(store: Store, run: Run, labeller: str, name: str, count: int, seed: int, grader: str | None = None) -> None:
    from mlxintro.backends.errors import UsageError
    from mlxintro.grading.labels.labelling import LabellingSession, draw, items, to_grade
    from mlxintro.grading.open_replies import left_open, waiting
    from mlxintro.grading.passes import check_has_graded, gradable

    trials = list(gradable(store, run))
    if not trials:
        raise UsageError(f"{run.name} has no replies to label: run it first")
    drawn = trials
    if grader is not None:
        check_has_graded(store, run, grader)
        open_of_it = left_open(store, run, grader)
        drawn = [trial for trial in trials if trial.key in open_of_it]
        if not drawn:
            raise UsageError(f"{grader} left no reply of {run.name} open: nothing is left to label")
    chosen = next((its for its in store.label_sets.of_run(run.id) if its.name == name), None)
    if chosen is None:
        chosen = store.label_sets.draw(run.id, name, seed, draw(drawn, count, seed, first=waiting(store, run)))
    if chosen.frozen:
        raise UsageError(f"the label set {name} is frozen: draw another with --set NAME")
    have = {its.key for its in store.labels.latest(run.id, labeller=labeller) if to_grade(its.fields) is not None}
    session = LabellingSession(labeller, [item for item in items(trials, chosen.keys) if item.key not in have])
    total = len(chosen.keys)
    while (item := session.item) is not None:
        show_item(session, item, total)
        key = _key()
        if key in ("q", ""):
            break
        if key == "s":
            session.skip()
        elif key == "u":
            if (withdrawn := session.undo()) is not None:
                store.labels.add(run.id, [withdrawn])
        elif key in session.keys and (finished := session.press(key)) is not None:
            store.labels.add(run.id, [finished])
    left = len(session.queue)
    after = (
        f"go on with mlxintro label {shell(run.name)}" if left else f"see mlxintro grade {shell(run.name)} --agreement"
    )
    chatter(f"{labeller}: {total - left} of {total} labelled; {after}")


def show_item(session: LabellingSession, item: Item, total: int) -> None:
    """Print what a labeller reads, and the keys that answer the question that stands."""
    if session.stage == "claim":
        echo(f"\n--- {total - len(session.queue) + 1} of {total} " + "-" * 60)
        if item.thought:
            echo("thought, for context; label the answer below it:")
            echo("\n".join(f"  | {line}" for line in item.thought.splitlines()))
            echo("\nanswer:")
        echo(item.response or "(empty)")
        echo()
    else:
        echo(f"word: {item.word}")
    for key, meaning in session.keys.items():
        echo(f"  {key}  {meaning}")


def _key() -> str:
    """One key; from a pipe, one character that is no line break. Empty at the end of input."""
    if sys.stdin.isatty():
        return click.getchar().lower()
    while (char := sys.stdin.read(1)) in ("\n", "\r"):
        pass
    return char.lower()
