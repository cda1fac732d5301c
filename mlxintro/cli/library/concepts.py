"""``mlxintro concepts``."""

from __future__ import annotations

from pathlib import Path

import click

from mlxintro.cli.options import CONCEPT_FILE
from mlxintro.cli.output import chatter, echo, json_line, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def concepts() -> None:
    """List the concepts, their sets and categories, and the baseline words."""


@concepts.command("list")
@click.argument("names", nargs=-1)
@CONCEPT_FILE
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(names: tuple[str, ...], concept_file: tuple[Path, ...], as_json: bool) -> None:
    """List sets, categories and baselines, or the concepts of those that are named.

    NAMES are what --concepts takes: set:lindsey-50, category:nature, a word.
    """
    from mlxintro.protocol.words.own_concepts import library_with, read_concept_files

    known = library_with(read_concept_files(concept_file))
    if names:
        found = known.resolve(list(names), allow_unknown=False)
        if as_json:
            for concept in found:
                echo(json_line(concept))
            return
        rows = [[concept.word, concept.category, ", ".join(concept.related)] for concept in found]
        echo(table(["concept", "category", "also counts as naming it"], rows))
        return
    lists = [
        *((f"category:{name}", "category", known.resolve([f"category:{name}"], False)) for name in known.categories),
        *((f"set:{name}", "set", known.resolve([f"set:{name}"], False)) for name in known.sets),
    ]
    rows = [[name, kind, str(len(members)), _some([one.word for one in members])] for name, kind, members in lists]
    rows += [[name, "baseline", str(len(one.words)), _some(list(one.words))] for name, one in known.baselines.items()]
    if as_json:
        for name, kind, size, _ in rows:
            echo(json_line({"name": name, "kind": kind, "words": int(size)}))
        return
    echo(table(["name", "kind", "words", "for example"], rows, right=(2,)))
    chatter("\n`mlxintro concepts list category:nature` shows the words; any other word works with --any-word")


def _some(words: list[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
