"""Textual's list of options, which cannot turn a page before it has been laid out."""

from __future__ import annotations

from textual.widgets import OptionList


class Options(OptionList):
    def action_page_down(self) -> None:
        if self.size.area and self._lines:
            super().action_page_down()  # type: ignore[no-untyped-call]

    def action_page_up(self) -> None:
        if self.size.area and self._lines:
            super().action_page_up()  # type: ignore[no-untyped-call]
