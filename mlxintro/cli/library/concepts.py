"""``mlxintro concepts``."""

from __future__ import annotations

import click

from mlxintro.cli.output import chatter, echo, json_line, table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def concepts() -> None:
    """List the concepts, their sets and categories, and the baseline words."""


@concepts.command("list")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(names: tuple[str, ...], as_json: bool) -> None:
    """List sets, categories and baselines, or the concepts of those that are named.

    NAMES are what --concepts takes: set:lindsey-50, category:nature, a word.
    """
    from mlxintro.protocol.concepts import library

    shipped = library()
    if names:
        found = shipped.resolve(list(names), allow_unknown=False)
        if as_json:
            for concept in found:
                echo(json_line(concept))
            return
        rows = [[concept.word, concept.category, ", ".join(concept.related)] for concept in found]
        echo(table(["concept", "category", "also counts as naming it"], rows))
        return
    lists = [
        *(
            (f"category:{name}", "category", shipped.resolve([f"category:{name}"], False))
            for name in shipped.categories
        ),
        *((f"set:{name}", "set", shipped.resolve([f"set:{name}"], False)) for name in shipped.sets),
    ]
    rows = [[name, kind, str(len(members)), _some([one.word for one in members])] for name, kind, members in lists]
    rows += [[name, "baseline", str(len(one.words)), _some(list(one.words))] for name, one in shipped.baselines.items()]
    if as_json:
        for name, kind, size, _ in rows:
            echo(json_line({"name": name, "kind": kind, "words": int(size)}))
        return
    echo(table(["name", "kind", "words", "for example"], rows, right=(2,)))
    chatter("\n`mlxintro concepts list category:nature` shows the words; any other word works with --any-word")


def _some(words: list[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
