"""What was measured, as a table in a document."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median

from benchmarks.workload import Contestant

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


@dataclass(frozen=True)
class Timing:
    """One contestant in one round."""

    trials: int
    seconds: float
    cpu_seconds: float
    """CPU seconds of the process, all threads."""
    same: int
    compared: int
    """Replies that were compared with mlxintro's, and how many had the same tokens throughout."""

    @property
    def rate(self) -> float:
        return self.trials / self.seconds


@dataclass(frozen=True)
class Missing:
    """A contestant that did not run."""

    reason: str


Rounds = Sequence[Timing | Missing]


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def table(
    contestants: Mapping[str, Contestant], results: Mapping[str, Rounds], bases: Mapping[str, str], ceiling: float
) -> str:
    """Markdown: trials per second, and how many times a base's within the same round.

    Args:
        bases: contestants the others are compared with, one column each.
        ceiling: trials per second if every needed operation ran at the rate of a large matrix product.
    """
    header = ["contestant", "injects", "trials/s", *(f"times {said}" for said in bases.values())]
    header += ["of the matmul ceiling", "CPU s/trial", "same tokens", "trials x rounds"]
    lines = [_row(header), _row(["---", "---", *["---:"] * (len(header) - 4), "---", "---"])]
    for name, rounds in results.items():
        one = contestants[name]
        injects = "no" if not one.injected else "one layer for all" if one.one_layer else "a layer per trial"
        injects = "at every position" if one.everywhere else injects
        timed = [timing for timing in rounds if isinstance(timing, Timing)]
        if not timed:
            reasons = [missing.reason for missing in rounds if isinstance(missing, Missing)]
            lines.append(_row([one.title, injects, reasons[-1] if reasons else "-", *["-"] * (len(header) - 3)]))
            continue
        rate = median(timing.rate for timing in timed)
        lines.append(
            _row(
                [
                    one.title,
                    injects,
                    f"{rate:.2f}",
                    *(_ratio(rounds, results.get(base, ())) for base in bases),
                    f"{rate / ceiling:.0%}",
                    f"{median(timing.cpu_seconds / timing.trials for timing in timed):.2f}",
                    f"{min(timing.same for timing in timed)} of {timed[0].compared}" if timed[0].compared else "-",
                    f"{timed[0].trials} x {len(timed)}",
                ]
            )
        )
    return "\n".join(lines)


def _ratio(rounds: Rounds, base: Rounds) -> str:
    """Median over rounds, and the range when there are several."""
    found = [
        ours.rate / theirs.rate
        for ours, theirs in zip(rounds, base, strict=False)
        if isinstance(ours, Timing) and isinstance(theirs, Timing)
    ]
    if not found:
        return "-"
    spread = f" ({min(found):.2f}-{max(found):.2f})" if len(found) > 1 else ""
    return f"{median(found):.2f}{spread}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine(command: str, packages: Sequence[str], loads: Sequence[float], matmul: float, ceiling: float) -> str:
    """What the figures were measured on."""
    import psutil

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(": ")[2] if names else processor
    versions = ", ".join(f"{package} {version(package)}" for package in packages if version(package))
    return "\n".join(
        [
            f"- {datetime.now(UTC):%Y-%m-%d}, `{command}`",
            f"- {processor}, {psutil.cpu_count()} cores of which 2 threads are used, "
            f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, Python {platform.python_version()}",
            f"- {versions}",
            f"- large float32 matrix products: {matmul / 1e9:.0f} GFLOP/s, so the ceiling is {ceiling:.1f} trials/s",
            f"- load average before each run: {min(loads):.1f} to {max(loads):.1f}, median {median(loads):.1f}",
        ]
    )


def write(path: Path, text: str) -> None:
    """Put the results between the markers of a document."""
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{path} has no {BEGIN} ... {END}: the results are above")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")
