"""Write the pages of docs/reference from the program itself: ``make docs``. A test fails while they are stale."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from textual.binding import Binding

from mlxintro import experiments
from mlxintro.cli.main import cli
from mlxintro.protocol import presets
from mlxintro.store.exporting.columns import GRADE_COLUMNS, TRIAL_COLUMNS, Column
from mlxintro.store.store import Store
from mlxintro.tui.app import IntroApp
from mlxintro.tui.shell.places import PLACES

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py; change the program, then run `make docs`. -->\n"


def commands_page() -> str:
    """Return every command's help, as a terminal of 100 columns shows it."""
    parts = [f"# Commands\n\n{NOTE}"]
    for context in _walk(cli, "mlxintro", None):
        parts.append(f"## {context.command_path}\n\n```text\n{context.command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    # A command's own settings, such as "-h", count here as they do when it is called; its help option is kept by click.
    settings = {**command.context_settings, "max_content_width": 100, "terminal_width": 100}
    context = click.Context(command, parent=parent, info_name=name, **settings)
    yield context
    if isinstance(command, click.Group):
        for inner_name in command.list_commands(context):
            inner = command.get_command(context, inner_name)
            if inner is not None and not inner.hidden:
                yield from _walk(inner, inner_name, context)


def experiments_page() -> str:
    """Return a section per experiment: its question, its preset and the preset's known differences from the source."""
    parts = [f"# Experiments\n\n{NOTE}"]
    for name in experiments.names():
        experiment = experiments.find(name)
        preset = presets.load(experiment.preset)
        rows = [
            ("asks", experiment.summary),
            ("injects", experiment.where),
            ("scores", experiment.scored or "by graders (docs/grading.md)"),
            ("compares with", experiment.compared),
            ("preset", f"`{experiment.preset}`: {preset.summary}"),
            ("source", preset.source),
        ]
        lines = [f"- **{title}**: {text}" for title, text in rows if text]
        parts.append(f"## {name}\n\n" + "\n".join(lines) + "\n")
        if preset.differences:
            parts.append(
                "Known differences from the source:\n\n" + "\n".join(f"- {one}" for one in preset.differences) + "\n"
            )
    return "\n".join(parts)


def keys_page() -> str:
    """Return the keys of the terminal app, screen by screen, with the names that keys.toml takes."""
    parts = [f"# Keys of the terminal app\n\n{NOTE}"]
    screens: list[tuple[str, type]] = [("Everywhere", IntroApp)]
    screens += [(place.title, type(place.make())) for place in PLACES]
    for title, owner in screens:
        rows = [
            f"| `{binding.key.replace(',', '` `')}` | {binding.tooltip or binding.description} | `{binding.id}` |"
            for binding in owner.BINDINGS  # type: ignore[attr-defined]
            if isinstance(binding, Binding) and binding.id is not None
        ]
        if rows:
            parts.append(f"## {title}\n\n| key | does | name in keys.toml |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def schema_page() -> str:
    """Return the tables of a blank store."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "blank.db"
        Store(path).close()
        database = sqlite3.connect(path)
        try:
            rows = database.execute(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql NOT NULL"
                " AND name NOT LIKE 'sqlite_%' AND name NOT GLOB '*_config' AND name NOT GLOB '*_data'"
                " AND name NOT GLOB '*_idx' AND name NOT GLOB '*_docsize' ORDER BY name"
            ).fetchall()
        finally:
            database.close()
    parts = [f"# Tables of the store\n\n{NOTE}"]
    parts += [f"## {name}\n\n```sql\n{sql.rstrip()}\n```\n" for name, sql in rows]
    return "\n".join(parts)


def columns_page() -> str:
    """Return what every column of an exported trial holds."""

    def rows(columns: Sequence[Column]) -> str:
        head = "| column | kind | what it holds |\n|---|---|---|\n"
        return head + "".join(f"| `{one.name}` | {one.kind} | {one.meaning} |\n" for one in columns)

    return (
        f"# Columns of an exported trial\n\n{NOTE}\n"
        "`runs export` and `mi.frame` give one row per trial. Nested values are JSON text in CSV and Parquet.\n\n"
        f"{rows(TRIAL_COLUMNS)}\n"
        "Each grader adds its latest verdict, as `rules.affirms`. `yes/no` columns are empty where it did not decide: "
        'that is no "no".\n\n'
        f"{rows(GRADE_COLUMNS)}\n"
        "Each person who labelled adds `label.PERSON.FIELD` and `label.PERSON.note`.\n"
    )


PAGES: dict[str, Callable[[], str]] = {
    "columns.md": columns_page,
    "commands.md": commands_page,
    "experiments.md": experiments_page,
    "keys.md": keys_page,
    "schema.md": schema_page,
}
"""Page -> what writes it."""


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
