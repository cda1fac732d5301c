"""What the lab has answered, as a file to keep: setting, both replies, and their cosines token by token."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlxintro.lab.messages import Ask, Side, Started, Trace

from . import wording


def markdown(
    subject: tuple[str, str], order: Ask, dose: Started | None, replies: Mapping[Side, str], trace: Trace | None
) -> str:
    """Return the file's text. The setting stands in it as JSON, too, so that a program can read it.

    Args:
        subject: model and adapter; empty text for no adapter.
        order: the setting.
        dose: what it comes to, as far as it is known.
        replies: both.
        trace: cosines of both, if they were read.
    """
    model, adapter = subject
    name = f"{model} with {adapter}" if adapter else model
    measured = ""
    if dose is not None:
        measured = f" = norm {dose.norm:.4g} = {dose.resid:.1%} of the residual norm"
    setting = {"model": model, "adapter": adapter or None, **order.model_dump(exclude={"do", "number"})}
    parts = [
        f"# {order.concept} in {name}, layer {order.layer}, α = {order.strength:g} ({order.unit}){measured}",
        f"```json\n{json.dumps(setting, ensure_ascii=False)}\n```",
        *([f"## System\n\n{_quoted(order.system)}"] if order.system else []),
        f"## Prompt\n\n{_quoted(order.prompt)}",
        f"## Reply without the vector\n\n{_quoted(replies['control'])}",
        f"## Reply with the vector\n\n{_quoted(replies['injected'])}",
    ]
    if trace is not None:
        parts.append(f"## Cosine with the concept at layer {trace.layer}\n\n{_table(trace)}")
    return wording.plain("\n\n".join(parts)) + "\n"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines()) or "> (empty)"


def _table(trace: Trace) -> str:
    lines = ["| token | without | cosine | with | cosine |", "|---|---|---|---|---|"]
    for at in range(max(len(trace.control), len(trace.injected))):
        cells = []
        for cosines, pieces in (
            (trace.control, trace.control_pieces),
            (trace.injected, trace.injected_pieces),
        ):
            piece = json.dumps(pieces[at], ensure_ascii=False)[1:-1].replace("|", "\\|") if at < len(pieces) else ""
            cells += [f"`{piece}`" if piece else "", f"{cosines[at]:+.4f}" if at < len(cosines) else ""]
        lines.append(f"| {at + 1} | {' | '.join(cells)} |")
    return "\n".join(lines)
