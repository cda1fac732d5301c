"""Numbers and states as short text. A state has a symbol beside its colour, so that none depends on colour."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from rich.cells import cell_len, set_cell_size

from mlxintro.ladder.rungs import RungState
from mlxintro.rendering.quantities import duration
from mlxintro.running.counting import ProgressCount
from mlxintro.store.records import Run

SYMBOLS = {
    "planned": "○",
    "running": "▶",
    "paused": "‖",
    "interrupted": "!",
    "done": "✓",
    "cancelled": "■",
    "failed": "✗",
}
RUNG_SIGNS: Mapping[RungState, str] = {"excluded": "✓", "not excluded": "▲", "not tested": "?"}


_COUNT, _INTERVAL, _COUNTS = re.compile(r" n=\d+"), re.compile(r" \[[^\]]*\]"), re.compile(r"\d+/\d+ = ")


def state(run: Run) -> str:
    """Return the state of a run in a word, with its symbol; what was asked of its process stands behind it."""
    if run.preparing:
        return {"pause": "‖ paused", "cancel": "◔ stopping"}.get(run.control, "◔ preparing")
    asked = {"pause": " (pausing)", "cancel": " (stopping)"}.get(run.control, "")
    return f"{SYMBOLS[run.state]} {run.state}{asked if run.state == 'running' else ''}"


def preparation(counting: ProgressCount | None, line: str) -> str:
    """Return what a process does while it gets a run ready, with a bar where it counts something."""
    if counting is None:
        return f"◔ {line.strip() or 'starting'}"
    done, total = counting.done, counting.total
    left = "" if counting.seconds_left is None else f", {duration(counting.seconds_left)} left"
    return f"◔ {counting.what} {done}/{total}{counting.unit}{left}  {bar(done, total, 20)}"


def bar(done: int, total: int, width: int) -> str:
    """Return a bar of that many characters, in eighths."""
    eighths = min(width * 8, round(width * 8 * done / total)) if total else 0
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width, "·")


def pace(per_second: float) -> str:
    return f"{per_second:.1f}/s" if per_second >= 0.1 else f"{60 * per_second:.1f}/min"


def model(run: Run) -> str:
    """Return the model's name without the folders or the owner before it."""
    return str(run.model.get("model", "?")).rstrip("/").rsplit("/", 1)[-1]


def plain(value: Any) -> str:
    """Return the text of a model without what steers the terminal; line breaks stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def fit(text: str, width: int) -> str:
    """Make a text exactly that many columns wide, on one line: filled up, or cut with an ellipsis."""
    text = plain(text).replace("\n", " ")
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def fit_figure(text: str, width: int) -> str:
    """Return a figure, ``detects 52/400 = 13 % [10, 17]``; without its interval or counts where these have no room."""
    shorter = text
    for left_out in (_COUNT, _INTERVAL, _COUNTS):
        if cell_len(shorter) > width:
            shorter = left_out.sub("", shorter)
    return fit(shorter, width)


def joined(parts: Sequence[str], width: int | None = None) -> str:
    """Return parts side by side, as many of the first as there is room for, and at least one."""
    texts = list(accumulate(parts, lambda before, part: f"{before}   {part}"))
    fitting = [text for text in texts if width is None or cell_len(text) <= width]
    return (fitting or texts[:1] or [""])[-1]


def fit_middle(text: str, width: int) -> str:
    """Return the text, cut in its middle where it is too long."""
    text = plain(text).replace("\n", " ")
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    end = text[-(width // 3) :]
    return set_cell_size(text, width - 1 - cell_len(end)) + "…" + end


def identity(run: Run) -> str:
    """Return what run it is: experiment, model, preset if it has another name, concepts, sampling."""
    study = run.study
    concepts = [str(one) for one in study.get("concepts") or ()]
    words = ", ".join(concepts[:3]) + (f" and {len(concepts) - 3} more" if len(concepts) > 3 else "")
    temperature = study.get("temperature")
    preset = str(study.get("preset") or "")
    parts = [
        run.experiment,
        " ".join(
            str(one)
            for one in (model(run), run.model.get("quantization"), run.model.get("backend"))
            if one and one != "none"
        ),
        preset if preset != run.experiment else "",
        words,
        f"T {temperature:g}" if isinstance(temperature, (int, float)) else "",
        f"unit {study.get('unit')}" if study.get("unit") else "",
    ]
    return plain(" · ".join(part for part in parts if part))
