"""Text in columns, counted in cells of a terminal: side by side, or below each other where there is no room."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mlxintro.rendering.cleaning import visible

NOTHING = "-"
"""Stands for a value that nothing was measured for."""
_INDENT = "  "


def grid(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return the columns as wide as they need, counted in cells of a terminal.

    Those in ``right`` are aligned to the right.
    """
    from rich.cells import cell_len

    lines = [[" ".join(visible(cell).split("\n")) for cell in row] for row in (header, *rows)]
    widths = [max(cell_len(row[i]) for row in lines) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = []
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            room = " " * (width - cell_len(cell))
            padded.append(room + cell if i in right else cell + room)
        return "  ".join(padded).rstrip()

    return [line(lines[0]), "  ".join("-" * width for width in widths), *map(line, lines[1:])]


def fitted(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], width: int) -> list[str]:
    """Return a grid, or where it is wider than ``width`` the rows below each other.

    Args:
        header: names of the columns.
        rows: their cells.
        right: numbers of the columns that are aligned to the right.
        width: columns of the terminal; 0 where lines may be of any length.
    """
    from rich.cells import cell_len

    lines = grid(header, rows, right)
    if not width or max(map(cell_len, lines)) <= width:
        return lines
    return [line for row in rows for line in _block(header, row, width)]


def _block(header: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """Return one row as a block: its first cell, and below it the other columns' names and cells, a line each.

    Cells without a value are left out.
    """
    from rich.cells import cell_len

    names = [" ".join(visible(name).split("\n")) for name in header[1:]]
    room = max(map(cell_len, names), default=0)
    found = [" ".join(visible(row[0]).split("\n"))]
    for name, cell in zip(names, row[1:], strict=True):
        if cell == NOTHING:
            continue
        padding = " " * (room - cell_len(name))
        found += fitted_line(f"{_INDENT}{name}{padding}", visible(cell), "", width)
    return found


def fitted_line(label: str, value: str, note: str, width: int) -> list[str]:
    """Return a label, a value and a note on one line, or on as many as they need to be at most ``width`` wide.

    The label may be filled up with blanks. What does not fit beside it stands below it, further to the right.
    """
    from rich.cells import cell_len

    line = f"{label}  {value}"
    noted = f"{line}   {note}" if note else line
    if not width or cell_len(noted) <= width:
        return [noted]
    deeper = " " * (len(label) - len(label.lstrip())) + 2 * _INDENT
    below = textwrap.wrap(note, max(20, width), initial_indent=deeper, subsequent_indent=deeper)
    if cell_len(line) <= width:
        return [line, *below]
    first = textwrap.wrap(label.strip(), max(20, width), initial_indent=deeper[4:], subsequent_indent=deeper[4:])
    return [*first, *textwrap.wrap(value, max(20, width), initial_indent=deeper, subsequent_indent=deeper), *below]
