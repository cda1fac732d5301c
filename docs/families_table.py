"""Measures every family of ``tests/families.py`` on both backends, and writes the table and the data that come of it.

``python docs/families_table.py`` takes some ten minutes on two cores. It writes ``docs/families.md``, and
``backends/models/families.json``, by which both backends say what to use instead.
``python docs/families_table.py NAME...`` measures some anew, and ``--from-data`` writes the table alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "backends" / "models" / "families.json"
TABLE = ROOT / "docs" / "families.md"
SECONDS = 300

HEAD = """# Model families

A tiny random model of every family, in float32 on the CPU, against transformers' own forward pass: log-probabilities
of six tokens after prompts of three lengths. "works" means at most 0.002 nats apart, the same greedy tokens in a
batch as alone, and an injection that is accepted and proven. Parity is the same greedy tokens on both backends.
Sites: "all" where `attn_out` and `mlp_out` are what a block adds to the residual stream, and `attn_out` follows from
`head_out`, the output of every single head; else those that can be used, and the program says so in one line.
Rows of hybrids and state
spaces decode in one batch on torch; they are read with rows of exactly their length (docs/architecture.md), and their
steps are not recorded as CUDA graphs. Folders are written by
transformers {transformers} with the keys that checkpoints on the hub carry; "another form" means that mlx-lm {mlx_lm}
expects others, and a conversion made for it may still load. Made by `python docs/families_table.py`.

| family | torch | MLX | parity | sites |
|---|---|---|---|---|
"""


def measure(name: str) -> dict[str, Any]:
    """Compare one family in a process of its own, so that none disturbs another."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.families", name],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    except (subprocess.TimeoutExpired, StopIteration):
        return {"family": name, "failed": True}
    return dict(json.loads(line.removeprefix("FOUND ")))


def table(data: dict[str, Any]) -> str:
    """The document for what was measured."""
    lines = [HEAD.format(transformers=data["transformers"], mlx_lm=data["mlx-lm"])]
    for name, found in sorted(data["families"].items()):
        torch, mlx = found.get("torch", {}), found.get("mlx", {})
        parity = {True: "yes", False: "no", None: "-"}[found.get("parity")]
        lines.append(f"| {name} | {_said(torch)} | {_said(mlx)} | {parity} | {_sites(torch, mlx)} |\n")
    return "".join(lines)


def _sites(torch: dict[str, Any], mlx: dict[str, Any]) -> str:
    """Sites that can be read and changed; of both backends where they differ."""
    reached = {name: found["sites"] for name, found in (("torch", torch), ("MLX", mlx)) if "sites" in found}
    if len(set(reached.values())) <= 1:
        return next(iter(reached.values()), "-")
    return "; ".join(f"{name}: {sites}" for name, sites in reached.items())


def _said(found: dict[str, Any]) -> str:
    if not found:
        return "not tried"
    if found["works"]:
        return "works"
    if "nats" in found:
        return f"refused: off by {found['nats']:.2g} nats" if found["batched"] else "refused: batches differ"
    text = found.get("refused", found.get("crash", ""))
    for sign, meaning in (
        ("another form", "refused: reads another form of it"),
        ("mlx-lm does not know the architecture", "refused: unknown to mlx-lm"),
        ("a form of its own", "refused: keeps its state in a cache of its own"),
        ("by a table of its own", "refused: masks tokens by a table of its own"),
        ("no decoder layers", "refused: laid out in another way"),
        ("mask per token", "refused: takes no mask per token"),
        ("does not know for", "refused: ignores a setting"),
    ):
        if sign in text:
            return meaning
    return "refused"


def main() -> None:
    """Measure, and write both files."""
    if "--from-data" in sys.argv:
        TABLE.write_text(table(json.loads(DATA.read_text("utf-8"))), "utf-8")
        return
    sys.path.insert(0, str(ROOT))
    from tests.family_settings import FAMILIES, WRAPPERS

    wanted = sys.argv[1:] or sorted(FAMILIES | WRAPPERS)
    held = json.loads(DATA.read_text("utf-8"))["families"] if sys.argv[1:] else {}
    # What was measured before must have no say in what is measured now.
    write({name: one for name, one in held.items() if name not in wanted})
    for name in wanted:
        found = measure(name)
        sys.stderr.write(f"{name}: {found}\n")
        if not found.get("failed"):
            held[name] = found
    write(held)


def write(found: dict[str, dict[str, Any]]) -> None:
    """Write the data and the table of what was found, by family."""
    versions = {name: version(name) for name in ("transformers", "mlx-lm")}
    DATA.write_text(json.dumps({**versions, "families": found}, indent=1, sort_keys=True) + "\n", "utf-8")
    TABLE.write_text(table(json.loads(DATA.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    main()
