"""A run as a document that stands alone: Markdown, or one HTML file with its figures as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Analysis, Row, Table
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.ladder.climb import table_of
from mlxintro.rendering.figures.building import report_figures
from mlxintro.rendering.figures.drawing import svg_text
from mlxintro.rendering.figures.panels import PaperFigure
from mlxintro.rendering.figures.style import can_draw
from mlxintro.rendering.markdown import as_table
from mlxintro.rendering.markdown import escape as markdown_escape
from mlxintro.rendering.text import cell_text, heat_map_lines, plot_lines, value_map_lines

PER_CLASS = 2
"""Replies of every class that a report shows."""


@dataclass(frozen=True, slots=True)
class ReportContent:
    title: str
    facts: tuple[tuple[str, str], ...]
    """Names and values of what was run."""
    analysis: Analysis
    examples: tuple[tuple[str, Row], ...]
    """Replies under the class they belong to."""
    study: str
    """The study as TOML."""
    methods: str = ""
    """The methods paragraph."""


def examples_of(rows: Sequence[Row], display: Display) -> tuple[tuple[str, Row], ...]:
    """Choose the first replies of every class among those of the grid and its controls; nobody picks them."""
    found: dict[TrialClass, list[Row]] = {one: [] for one in display.classes}
    for row in rows:
        if row.arm or not row.response or (display.from_grades and row.grade is None):
            continue
        members = found[display.classify(row)]
        if len(members) < PER_CLASS:
            members.append(row)
    return tuple((one.label, row) for one, members in found.items() for row in members)


def markdown(report: ReportContent) -> str:
    """Return the report as Markdown; heat maps are text."""
    analysis = report.analysis
    parts = [
        f"# {markdown_escape(report.title)}",
        "\n".join(f"- {markdown_escape(name)}: {markdown_escape(value)}" for name, value in report.facts),
    ]
    if analysis.verdict:
        evidence = "\n".join(f"- {markdown_escape(line)}" for line in analysis.verdict.evidence)
        parts.append(
            f"## Verdict: {analysis.verdict.kind}\n\n{markdown_escape(analysis.verdict.headline)}\n\n{evidence}"
        )
    if analysis.ladder:
        ladder = table_of(analysis.ladder)
        parts.append(f"## {markdown_escape(ladder.title)}\n\n" + as_table(ladder))
    if analysis.figures:
        parts.append("## Figures\n\n" + as_table(_figures(analysis)))
    if analysis.remarks:
        parts.append("\n".join(f"> {markdown_escape(remark)}" for remark in analysis.remarks))
    parts += [f"```\n{chr(10).join(heat_map_lines(map_))}\n```" for map_ in analysis.heat_maps]
    parts += [f"```\n{chr(10).join(value_map_lines(map_))}\n```" for map_ in analysis.value_maps]
    parts += [f"## {markdown_escape(table.title)}\n\n" + as_table(table) for table in analysis.tables if table.rows]
    if report.examples:
        parts.append("## Replies\n\nThe first of every class.")
        parts += [
            f"**{markdown_escape(label)}** ({markdown_escape(_about(row))})\n\n"
            + "\n".join(f"> {markdown_escape(line)}" for line in row.response.splitlines())
            for label, row in report.examples
        ]
    if report.methods:
        parts.append(f"## Methods\n\n{markdown_escape(report.methods)}")
    parts.append(f"## Study\n\n```toml\n{report.study.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def html(report: ReportContent) -> str:
    """Return the report as one HTML page that loads nothing."""
    return _page(report.title, _body(report, ""))


def study_html(
    title: str, tables: Sequence[Table], figure: PaperFigure | None, reports: Sequence[ReportContent]
) -> str:
    """Return several runs as one HTML page: all side by side, then each in full.

    Args:
        title: of the study.
        tables: of the runs side by side.
        figure: of all runs; ``None`` where they have nothing to draw.
        reports: one for each run.
    """
    body = [f"<h1>{escape(title)}</h1>"]
    body += [_picture(figure, "all-")] if figure is not None and can_draw() else []
    body += map(_html_table, tables)
    for number, one in enumerate(reports):
        body += _body(one, f"r{number}")
    return _page(title, body)


def study_markdown(
    title: str, tables: Sequence[Table], _figure: PaperFigure | None, reports: Sequence[ReportContent]
) -> str:
    """Return several runs as Markdown, which has no pictures; see ``study_html``."""
    beside = [f"## {markdown_escape(table.title)}\n\n{as_table(table)}" for table in tables]
    return "\n\n".join([f"# {markdown_escape(title)}", *beside, *map(markdown, reports)])


def _body(report: ReportContent, prefix: str) -> list[str]:
    """Return a run as pieces of HTML; names inside its pictures begin with the prefix."""
    analysis = report.analysis
    body = [f"<h1>{escape(report.title)}</h1>", "<dl>"]
    body += [f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.facts]
    body.append("</dl>")
    if analysis.verdict:
        evidence = "".join(f"<li>{escape(line)}</li>" for line in analysis.verdict.evidence)
        body.append(
            f'<section class="verdict"><h2>Verdict: {escape(analysis.verdict.kind)}</h2>'
            f"<p>{escape(analysis.verdict.headline)}</p><ul>{evidence}</ul></section>"
        )
    if analysis.ladder:
        body.append(_html_table(table_of(analysis.ladder)))
    body += [f'<p class="remark">{escape(remark)}</p>' for remark in analysis.remarks]
    if analysis.figures:
        body.append(_html_table(_figures(analysis)))
    body += pictures(analysis, prefix)
    body += [_html_table(table) for table in analysis.tables if table.rows]
    if report.examples:
        body.append("<h2>Replies</h2><p>The first of every class.</p>")
        for label, row in report.examples:
            body.append(f"<h3>{escape(label)} <small>{escape(_about(row))}</small></h3>")
            body.append(f"<blockquote>{escape(row.response)}</blockquote>")
    if report.methods:
        body.append(f"<h2>Methods</h2><p>{escape(report.methods)}</p>")
    body.append(f"<h2>Study</h2><pre>{escape(report.study)}</pre>")
    return body


def _page(title: str, body: Sequence[str]) -> str:
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.15rem .7rem;text-align:left}
th{border-bottom:1px solid #888}dt{font-weight:600;float:left;clear:left;width:9rem}dd{margin-left:9.5rem}
.verdict{border:2px solid #0b5cad;padding:.2rem 1rem;margin:1rem 0}
.remark{border-left:4px solid #b3541e;padding-left:.7rem}
blockquote,pre{background:#f4f4f4;padding:.6rem;white-space:pre-wrap;margin:.3rem 0}figure{margin:1rem 0}
svg{max-width:100%;height:auto}
"""


def pictures(analysis: Analysis, prefix: str = "") -> list[str]:
    """Return the figures of a run as HTML: drawn, or as text where matplotlib is not installed."""
    if not can_draw():
        blocks = [heat_map_lines(map_) for map_ in analysis.heat_maps]
        blocks += [value_map_lines(map_) for map_ in analysis.value_maps]
        blocks += [plot_lines(plot) for plot in analysis.plots]
        said = ["<p><small>Figures are text: drawing them needs matplotlib, the extra plots.</small></p>"]
        return (said if blocks else []) + [f"<pre>{escape(chr(10).join(block))}</pre>" for block in blocks]
    return [_picture(figure, f"{prefix}p{number}-") for number, figure in enumerate(report_figures(analysis))]


def _picture(figure: PaperFigure, prefix: str) -> str:
    return f"<figure><figcaption>{escape(figure.caption)}</figcaption>{svg_text(figure, prefix)}</figure>"


def _figures(analysis: Analysis) -> Table:
    rows = tuple((figure.label, cell_text(figure.value), figure.note) for figure in analysis.figures)
    return Table("figures", "Figures", ("figure", "value (95 % interval)", "note"), rows)


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell_text(cell))}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    note = f"<p><small>{escape(table.note)}</small></p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{rows}</table>{note}"


def _about(row: Row) -> str:
    if row.condition != "injected":
        return "uninjected"
    return f"{row.concept}, layer {row.layer}, strength {row.strength:g}"
