"""Settings that were asked in the lab, the latest last, with a place among them."""

from __future__ import annotations

from typing import Any

_MOST = 50


class LabHistory:
    def __init__(self, settings: list[dict[str, Any]] | None = None) -> None:
        self.settings = (settings or [])[-_MOST:]
        """Plain data, the latest last."""
        self._at = len(self.settings) - 1

    def add(self, setting: dict[str, Any]) -> None:
        """Append a setting, unless it is the one at hand."""
        if self.settings and self.settings[self._at] == setting:
            return
        self.settings = [*self.settings, setting][-_MOST:]
        self._at = len(self.settings) - 1

    def step(self, by: int) -> dict[str, Any] | None:
        """Go to another setting; ``None`` where there is none."""
        if not 0 <= self._at + by < len(self.settings):
            return None
        self._at += by
        return self.settings[self._at]

    @property
    def place(self) -> str:
        return f"{self._at + 1} of {len(self.settings)}"
