"""What the live screen says of a run, as text: what run it is, how it goes, what it has come to, its latest replies."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from mlxintro.analysis.tally import RunTally
from mlxintro.rendering.quantities import duration, size
from mlxintro.running.live import Writing
from mlxintro.store.searching.browse import Seen

from ..running.run_monitor import RunSight
from ..trials.trial_line import TrialLines
from . import colours, head_text, wording

_SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the last values, from 0 to the highest."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0)
    return "".join(_SPARKS[min(7, int(value / most * 7.999))] if most > 0 else _SPARKS[0] for value in shown)


def progress(sight: RunSight, paces: Sequence[float], memories: Sequence[float], pace: float | None, width: int) -> str:
    """Return how far and how fast it is, with what is left: as much as there is room for."""
    run = sight.run
    parts = [f"{wording.bar(run.done, run.planned, 24 if width >= 100 else 12)} {run.done:,}/{run.planned:,}"]
    if run.state == "running":
        if pace:
            parts.append(f"{wording.pace(pace)} {sparkline(paces, 12)}")
            parts.append(f"{duration(run.remaining / pace)} left")
        if sight.memory is not None:
            parts.append(f"{size(sight.memory)} {sparkline(memories, 8) if width >= 100 else ''}".strip())
            parts.append(f"{size(sight.free)} free")
    if run.batch_size:
        parts.append(f"batch {run.batch_size}")
    return wording.joined(parts, width)


def so_far(tally: RunTally, *, dark: bool) -> Content:
    """Return the head figures with counts and intervals, then how many trials each class has."""
    rows = list(head_text.lines(tally))
    name = max((cell_len(one) for one, _ in rows), default=0)
    parts = [f"{label.ljust(name)}  {text}\n" for label, text in rows] or ["this experiment has no head figure\n"]
    return Content.assemble(*parts, "\n", class_lines(tally, dark=dark))


def class_lines(tally: RunTally, *, dark: bool) -> Content:
    """Return how many trials each class has, a line each."""
    classes = list(head_text.class_counts(tally))
    total = sum(count for *_, count in classes)
    return Content.assemble(
        *(
            Content.styled(
                f"{sign} {label:<22} {count:>7,} {100 * count / total:>4.0f} %\n", colours.role_colour(role, dark=dark)
            )
            for sign, label, role, count in classes
        )
    )


def feed(seen: Sequence[Seen], lines: TrialLines, width: int, height: int) -> Content:
    """Return the latest trials, a line each, the last one on top."""
    found = []
    for one in seen[: max(0, height)]:
        found.append(Content.assemble(*(Content.styled(text, style) for text, style in lines.parts(one, width))))
    return Content("\n").join(found)


def being_written(writing: Writing) -> Content:
    """Return the reply so far; tokens that are injected into are underlined."""
    if writing.condition == "control":
        head = "control: nothing is injected"
    else:
        head = f"{writing.concept} at layer {writing.layer}, α = {writing.strength:g} ({writing.unit})"
    rows = f"{head}; one of {writing.rows} replies being written; {len(writing.pieces)} tokens\n"
    parts = [Content.styled(wording.plain(rows), "$text-muted")]
    for at, piece in enumerate(writing.pieces):
        hit = any(start <= at and (stop is None or at < stop) for start, stop in writing.steered)
        text = wording.plain(piece)
        parts.append(Content.styled(text, "underline") if hit else Content(text))
    return Content.assemble(*parts, Content.styled("▌", "bold"))
