"""Make the tutorial's notebooks from the scripts in ``sources``, and run them: ``python -m docs.tutorial.build``.

A script has cells after lines ``# %%`` and, for text, ``# %% [markdown]``. Notebooks are kept with what they print, so
they can be read without running them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
SOURCES = HERE / "sources"
SECONDS = 900
"""Most time for a cell."""


def notebook_of(script: Path) -> nbformat.NotebookNode:
    """Read a script as a notebook that has not been run."""
    cells = []
    for number, part in enumerate(script.read_text("utf-8").split("# %%")[1:]):
        head, _, body = part.partition("\n")
        text = body.strip("\n")
        if head.strip() == "[markdown]":
            lines = (line.removeprefix("#").removeprefix(" ") for line in text.splitlines())
            cell = nbformat.v4.new_markdown_cell("\n".join(lines))
        else:
            cell = nbformat.v4.new_code_cell(text)
        # Without names of its own, a cell would get another random one each time.
        cell["id"] = f"cell-{number}"
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def run(script: Path) -> nbformat.NotebookNode:
    """Run a script as a notebook; what it wrote to stderr is left out.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = notebook_of(script)
    NotebookClient(notebook, timeout=SECONDS, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell["outputs"] = [one for one in cell["outputs"] if one.get("name") != "stderr"]
    notebook.metadata.pop("language_info", None)
    return notebook


def main() -> None:
    """Make all notebooks, or those that are named."""
    wanted = sys.argv[1:]
    for script in sorted(SOURCES.glob("*.py")):
        if not wanted or script.stem in wanted:
            nbformat.write(run(script), HERE / f"{script.stem}.ipynb")
            print(f"{script.stem}.ipynb")


if __name__ == "__main__":
    main()
