"""A figure with what belongs beside it: its numbers as CSV, a table for LaTeX and for Markdown, caption and methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlxintro.rendering.exporting import write_rows
from mlxintro.rendering.figures.drawing import check_ending, draw, save
from mlxintro.rendering.figures.numbers import latex, number_table, records
from mlxintro.rendering.figures.panels import PaperFigure
from mlxintro.rendering.figures.style import Width
from mlxintro.rendering.markdown import as_table, escape
from mlxintro.rendering.whole_file import whole_file, write_whole

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True, slots=True, repr=False)
class DrawnFigure:
    """Holds a figure of stored runs with its numbers and words; a notebook shows it as a picture."""

    shown: PaperFigure
    width: Width
    methods: str
    """The methods paragraph, one for each run."""

    @property
    def caption(self) -> str:
        """Return what is drawn, what the intervals are, and n."""
        return self.shown.caption

    @property
    def canvas(self) -> Canvas:
        """Return the figure of matplotlib, freshly drawn, for changes of one's own."""
        return draw(self.shown, self.width)

    @property
    def numbers(self) -> pandas.DataFrame:
        """Return what the figure shows, a row for each value; docs/figures.md lists the columns."""
        import pandas

        return pandas.DataFrame(list(records(self.shown)))

    def __repr__(self) -> str:
        return f"<figure: {self.caption}>"

    def _repr_png_(self) -> bytes:
        """Draw it for a notebook."""
        import io

        buffer = io.BytesIO()
        self.canvas.savefig(buffer, format="png")
        return buffer.getvalue()

    def save(self, target: Path | str) -> list[Path]:
        """Write the figure, and beside it its numbers (.csv), table (.tex) and words (.md).

        Returns:
            the files, the figure first.

        Raises:
            UsageError: an ending other than .pdf, .png or .svg, or a folder that is not there.
            KnownError: a file cannot be written.
            PrerequisiteError: matplotlib is not installed.
        """
        target = Path(target)
        ending = check_ending(target)
        canvas = self.canvas
        table = number_table(self.shown)
        with whole_file(target) as place:
            save(canvas, place, ending)
        beside = [target.with_suffix(one) for one in (".csv", ".tex", ".md")]
        rows: Sequence[dict[str, Any]] = list(records(self.shown))
        write_rows(rows, "csv", beside[0])
        write_whole(beside[1], latex(table, self.caption, f"tab:{target.stem}"))
        write_whole(beside[2], self._words(target.name, as_table(table)))
        return [target, *beside]

    def _words(self, name: str, table: str) -> str:
        methods = "\n\n".join(map(escape, self.methods.split("\n\n")))
        return f"![]({name})\n\n{escape(self.caption)}\n\n## Numbers\n\n{table}\n\n## Methods\n\n{methods}\n"
