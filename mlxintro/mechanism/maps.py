"""Maps over layers, sites and positions, averaged over concepts: what patched runs come to together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.analysis.stats import Mean, mean
from mlxintro.backends.errors import UsageError
from mlxintro.mechanism.patching import Direction, Patch, PatchedRuns


@dataclass(frozen=True, slots=True, eq=False)
class PatchMap:
    """Holds patched runs of several concepts, each with the same patches."""

    runs: tuple[PatchedRuns, ...]
    """One for each concept."""

    def __post_init__(self) -> None:
        if not self.runs or any(run.added.keys() != self.runs[0].added.keys() for run in self.runs):
            raise UsageError("a map needs one run at least, all with the same patches")

    @property
    def patches(self) -> tuple[Patch, ...]:
        return tuple(self.runs[0].added)

    def gap(self, outcome: str = "log_odds") -> Mean:
        """Return the injected run's outcome minus the clean one's, in nats, with an interval over concepts."""
        return mean([run.gap(outcome) for run in self.runs])

    def shift(self, patch: Patch, direction: Direction, outcome: str = "log_odds") -> Mean:
        """Return by how many nats a patch moves the outcome towards the other run, with an interval over concepts."""
        return mean([run.shift(patch, direction, outcome) for run in self.runs])

    def share(self, patch: Patch, direction: Direction, outcome: str = "log_odds") -> Mean:
        """Return ``shift`` as a share of the mean gap: 0 is one end and 1 the other.

        A ratio of means: the ratios of single concepts have no mean where a concept's own gap is near nothing.
        """
        return as_share(self.shift(patch, direction, outcome), self.gap(outcome))

    def strongest(
        self, direction: Direction, outcome: str = "log_odds", patches: Sequence[Patch] | None = None
    ) -> Patch:
        """Return the patch that moves the outcome furthest towards the other run."""
        sign = 1.0 if (self.gap(outcome).value or 0.0) >= 0 else -1.0

        def moved(patch: Patch) -> float:
            return sign * (self.shift(patch, direction, outcome).value or 0.0)

        return max(patches or self.patches, key=moved)


def as_share(shift: Mean, gap: Mean) -> Mean:
    """Return the nats as a share of a gap's mean; unknown where there is no gap."""
    whole = gap.value
    if not whole or shift.value is None:
        return Mean(None, None, None, shift.count)
    bounds = [None if bound is None else bound / whole for bound in (shift.low, shift.high)]
    low, high = bounds if whole > 0 else bounds[::-1]
    return Mean(shift.value / whole, low, high, shift.count)
