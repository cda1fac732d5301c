"""A run as a document that stands alone: Markdown, or one HTML file with its plots as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Analysis, HeatMap, Plot, Row, Table
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.ladder.climb import table_of
from mlxintro.rendering.text import cell_text, downwards, heat_map_lines, value_map_lines
from mlxintro.rendering.value_maps import value_map_svg

PER_CLASS = 2
"""Replies of every class that a report shows."""
_WIDTH, _HEIGHT, _EDGE = 520, 260, 46
_COLOURS = ("#0b5cad", "#b3541e", "#3b7d3b", "#7a3b9a", "#555555")
_DASHES = ("none", "7 3", "2 3", "7 3 2 3")
"""Twenty curves can be told apart, in black and white four."""
_LETTER, _LINE = 7.5, 18


@dataclass(frozen=True, slots=True)
class ReportContent:
    title: str
    facts: tuple[tuple[str, str], ...]
    """What was run: name and value."""
    analysis: Analysis
    examples: tuple[tuple[str, Row], ...]
    """Replies under the class they belong to."""
    study: str
    """The study as TOML."""


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
    """The report as Markdown; heat maps are text."""
    analysis = report.analysis
    parts = [f"# {_md(report.title)}", "\n".join(f"- {_md(name)}: {_md(value)}" for name, value in report.facts)]
    if analysis.verdict:
        evidence = "\n".join(f"- {_md(line)}" for line in analysis.verdict.evidence)
        parts.append(f"## Verdict: {analysis.verdict.kind}\n\n{_md(analysis.verdict.headline)}\n\n{evidence}")
    if analysis.ladder:
        ladder = table_of(analysis.ladder)
        parts.append(f"## {_md(ladder.title)}\n\n" + _md_table(ladder))
    if analysis.figures:
        parts.append("## Figures\n\n" + _md_table(_figures(analysis)))
    if analysis.remarks:
        parts.append("\n".join(f"> {_md(remark)}" for remark in analysis.remarks))
    parts += [f"```\n{chr(10).join(heat_map_lines(map_))}\n```" for map_ in analysis.heat_maps]
    parts += [f"```\n{chr(10).join(value_map_lines(map_))}\n```" for map_ in analysis.value_maps]
    parts += [f"## {_md(table.title)}\n\n" + _md_table(table) for table in analysis.tables if table.rows]
    if report.examples:
        parts.append("## Replies\n\nThe first of every class.")
        parts += [
            f"**{_md(label)}** ({_md(_about(row))})\n\n"
            + "\n".join(f"> {_md(line)}" for line in row.response.splitlines())
            for label, row in report.examples
        ]
    parts.append(f"## Study\n\n```toml\n{report.study.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def html(report: ReportContent) -> str:
    """The report as one HTML page that loads nothing."""
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
    body += [heat_map_svg(map_) for map_ in analysis.heat_maps]
    body += [value_map_svg(map_) for map_ in analysis.value_maps]
    body += [plot_svg(plot) for plot in analysis.plots]
    body += [_html_table(table) for table in analysis.tables if table.rows]
    if report.examples:
        body.append("<h2>Replies</h2><p>The first of every class.</p>")
        for label, row in report.examples:
            body.append(f"<h3>{escape(label)} <small>{escape(_about(row))}</small></h3>")
            body.append(f"<blockquote>{escape(row.response)}</blockquote>")
    body.append(f"<h2>Study</h2><pre>{escape(report.study)}</pre>")
    head = f'<meta charset="utf-8"><title>{escape(report.title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.15rem .7rem;text-align:left}
th{border-bottom:1px solid #888}dt{font-weight:600;float:left;clear:left;width:9rem}dd{margin-left:9.5rem}
.verdict{border:2px solid #0b5cad;padding:.2rem 1rem;margin:1rem 0}
.remark{border-left:4px solid #b3541e;padding-left:.7rem}
blockquote,pre{background:#f4f4f4;padding:.6rem;white-space:pre-wrap;margin:.3rem 0}figure{margin:1rem 0}
"""


def heat_map_svg(map_: HeatMap) -> str:
    """Layers down, strengths across; darker is more, and every cell holds its number and its interval as a tip."""
    size, left, top = 58, 60, 30
    width, height = left + size * len(map_.strengths), top + 30 * len(map_.layers)
    parts = [
        f'<text x="{left + size * i + size / 2}" y="20" text-anchor="middle">{strength:g}</text>'
        for i, strength in enumerate(map_.strengths)
    ]
    for j, layer in enumerate(downwards(map_.layers)):
        y = top + 30 * j
        parts.append(f'<text x="{left - 8}" y="{y + 20}" text-anchor="end">{layer}</text>')
        for i, strength in enumerate(map_.strengths):
            rate = map_.cells.get((layer, strength))
            value = rate.value if rate else None
            fill = (
                "#eee"
                if value is None
                else f"rgb({255 - 244 * value:.0f},{255 - 163 * value:.0f},{255 - 82 * value:.0f})"
            )
            ink = "#fff" if value is not None and value > 0.55 else "#222"
            text = "-" if value is None else f"{value:.0%}"
            x = left + size * i
            parts.append(
                f"<g><title>layer {layer}, strength {strength:g}: {escape(cell_text(rate))}</title>"
                f'<rect x="{x}" y="{y}" width="{size - 2}" height="28" fill="{fill}"/>'
                f'<text x="{x + size / 2 - 1}" y="{y + 19}" text-anchor="middle" fill="{ink}">{text}</text></g>'
            )
    caption = f"{map_.title}: the deepest layer on top, strengths across ({map_.unit})"
    return _figure(caption, width, height, parts)


def plot_svg(plot: Plot) -> str:
    """Curves with their intervals as bars, over the range of their values and 0."""
    points = [point for curve in plot.curves for point in curve.points]
    if not points:
        return ""
    xs = [point.x for point in points]
    ys = [y for point in points for y in (point.y, point.low, point.high) if y is not None]
    left, right = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    low, high = min(0.0, *ys), max(0.0, *ys)
    high = high if high > low else low + 1

    def at(x: float, y: float) -> tuple[float, float]:
        across = _EDGE + (x - left) / (right - left) * (_WIDTH - 2 * _EDGE)
        return across, _HEIGHT - _EDGE - (y - low) / (high - low) * (_HEIGHT - 2 * _EDGE)

    parts = [f'<path d="M{_EDGE},{_EDGE} V{_HEIGHT - _EDGE} H{_WIDTH - _EDGE}" fill="none" stroke="#888"/>']
    for y in (low, (low + high) / 2, high):
        parts.append(f'<text x="{_EDGE - 6}" y="{at(left, y)[1] + 4:.1f}" text-anchor="end">{y:.2g}</text>')
    for x in sorted(set(xs)):
        parts.append(f'<text x="{at(x, low)[0]:.1f}" y="{_HEIGHT - _EDGE + 18}" text-anchor="middle">{x:g}</text>')
    legend = _WIDTH - _EDGE + 14
    for number, curve in enumerate(plot.curves):
        colour = _COLOURS[number % len(_COLOURS)]
        stroke = f'stroke="{colour}" stroke-dasharray="{_DASHES[number // len(_COLOURS) % len(_DASHES)]}"'
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(point.x, point.y) for point in curve.points))
        parts.append(f'<polyline points="{line}" fill="none" {stroke} stroke-width="2"/>')
        for point in curve.points:
            x, y = at(point.x, point.y)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            if point.low is not None and point.high is not None:
                ends = f"M{x:.1f},{at(0, point.low)[1]:.1f} V{at(0, point.high)[1]:.1f}"
                parts.append(f'<path d="{ends}" stroke="{colour}" stroke-opacity="0.5"/>')
        y = _EDGE + _LINE * number
        parts.append(f'<path d="M{legend},{y - 4} h26" fill="none" {stroke} stroke-width="2"/>')
        parts.append(f'<text x="{legend + 32}" y="{y}" fill="{colour}">{escape(curve.label)}</text>')
    width = legend + 32 + _LETTER * max(len(curve.label) for curve in plot.curves)
    height = max(_HEIGHT, _EDGE + _LINE * len(plot.curves))
    return _figure(f"{plot.title}: {plot.y} by {plot.x}, 95 % intervals", width, height, parts)


def _figure(caption: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<figure><figcaption>{escape(caption)}</figcaption><svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" font-size="13" font-family="sans-serif" role="img">{"".join(parts)}</svg></figure>'
    )


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


def _md_table(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns)]
    lines += [[_md(cell_text(cell)) for cell in row] for row in table.rows]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{text}\n\n{_md(table.note)}" if table.note else text


def _md(text: str) -> str:
    for sign in "\\`*_[]<>|#":
        text = text.replace(sign, f"\\{sign}")
    return text


def _about(row: Row) -> str:
    if row.condition != "injected":
        return "uninjected"
    return f"{row.concept}, layer {row.layer}, strength {row.strength:g}"
