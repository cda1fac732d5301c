"""Text and tables as Markdown, whatever the text holds."""

from __future__ import annotations

from mlxintro.analysis.results import Table
from mlxintro.rendering.text import cell_text


def escape(text: str) -> str:
    """Return text in which no sign is markup."""
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def as_table(table: Table) -> str:
    """Return a table with its note under it."""
    lines = [table.columns, ["---"] * len(table.columns)]
    lines += [[escape(cell_text(cell)) for cell in row] for row in table.rows]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{text}\n\n{escape(table.note)}" if table.note else text
