"""``mlxintro grade --agreement``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from mlxintro.cli.output import chatter, echo, json_line, shell, table

if TYPE_CHECKING:
    from mlxintro.store.records import Run
    from mlxintro.store.store import Store


def show_agreement(store: Store, run: Run, between: str | None, as_json: bool) -> None:
    """Print agreement per pair, field and condition."""
    from mlxintro.grading.agreement import agreements
    from mlxintro.rendering.text import cell_text

    names = [name.strip() for name in (between or "").split(",") if name.strip()]
    found = agreements(store, run, names)
    if as_json:
        for one in found:
            echo(json_line({**asdict(one), "same": one.same, "calibration": one.confusion.calibration}))
        return
    rows = [
        [
            f"{one.first} / {one.second}",
            one.field,
            one.condition,
            cell_text(one.same),
            "-" if one.kappa is None else f"{one.kappa:.2f} ({one.kappa_low:.2f} to {one.kappa_high:.2f})",
            *(str(n) for n in (one.confusion.yes_yes, one.confusion.yes_no, one.confusion.no_yes, one.confusion.no_no)),
            str(one.confusion.undecided),
        ]
        for one in found
    ]
    head = ["between", "field", "trials", "same (95 %)", "kappa (95 %)", "yy", "yn", "ny", "nn", "open"]
    if rows:
        echo(table(head, rows, right=(5, 6, 7, 8, 9)))
        chatter("yn: the first says yes, the second no; open: one of them did not decide")
    else:
        chatter(f"nobody decided anything on the same replies of {run.name}; see mlxintro label {shell(run.name)}")
