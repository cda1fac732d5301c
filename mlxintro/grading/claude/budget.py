"""A budget that is never exceeded: what a question may cost at worst is set aside before it is sent."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from mlxintro.backends.errors import KnownError, UsageError


class BudgetSpentError(KnownError):
    """The next question might cost more than is left."""


class Budget:
    """Counts US dollars: spent, and set aside for questions under way. Safe to use from several threads.

    ``spent + held`` never exceeds ``limit``, so neither do the true costs as long as no question costs more than what
    was set aside for it.
    """

    def __init__(self, limit: float | None = None, *, spent: float = 0.0) -> None:
        """
        Args:
            limit: US dollars; none when ``None``.
            spent: what earlier passes have cost.
        """
        if limit is not None and not (math.isfinite(limit) and limit >= 0):
            raise UsageError(f"a budget of {limit} dollars is no limit: give a finite number, or leave it out")
        self.limit = math.inf if limit is None else limit
        self._spent = spent
        self._held = 0.0
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        with self._lock:
            return self._spent

    def reserve(self, dollars: float) -> None:
        """Set aside what a question may cost.

        Raises:
            BudgetSpentError: there is not that much left; nothing was set aside.
        """
        with self._lock:
            if self._spent + self._held + dollars > self.limit:
                left = self.limit - self._spent - self._held
                raise BudgetSpentError(
                    f"${self._spent:.4f} of the budget of ${self.limit:g} is spent and the next question may cost "
                    f"${dollars:.4f}, of which ${max(0.0, left):.4f} is left: raise --budget to go on"
                )
            self._held += dollars

    def settle(self, reserved: float, cost: float) -> None:
        """Settle a question that money was set aside for and that has ended.

        Args:
            reserved: what was set aside.
            cost: what it came to; what was set aside when that is not known.
        """
        with self._lock:
            self._held = max(0.0, self._held - reserved)
            self._spent += cost


class Account:
    """Says what one question costs over its attempts. The first attempt's worst case has been set aside already."""

    def __init__(self, budget: Budget, worst: float, on_lost: Callable[[], None]) -> None:
        """
        Args:
            budget: of the pass.
            worst: US dollars of one attempt.
            on_lost: called when an attempt may have been paid for in vain.
        """
        self.lost = 0.0
        self._budget, self._worst, self._on_lost = budget, worst, on_lost
        self._held = True

    def begin(self) -> None:
        """Set aside what the next attempt may cost.

        Raises:
            BudgetSpentError: the budget does not cover another one.
        """
        if not self._held:
            self._budget.reserve(self._worst)
            self._held = True

    def lose(self) -> None:
        """Count an attempt at its worst case: its answer never arrived, and it may have been billed."""
        self._budget.settle(self._worst, self._worst)
        self._held = False
        self.lost += self._worst
        self._on_lost()

    def close(self, cost: float) -> float:
        """Note that the question has ended.

        Args:
            cost: US dollars of the answer, 0 without one.

        Returns:
            What it came to with the attempts that were lost.
        """
        if self._held:
            self._budget.settle(self._worst, cost)
            self._held = False
        return self.lost + cost
