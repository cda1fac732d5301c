"""Textual's list of options, which cannot turn a page before the option it stands on has been laid out."""

from __future__ import annotations

from textual.widgets import OptionList


class Options(OptionList):
    def action_page_down(self) -> None:
        if self._has_a_page:
            super().action_page_down()  # type: ignore[no-untyped-call]

    def action_page_up(self) -> None:
        if self._has_a_page:
            super().action_page_up()  # type: ignore[no-untyped-call]

    @property
    def _has_a_page(self) -> bool:
        """Tells whether the list has room, and a line for the highlighted option."""
        return bool(self.size.area) and (self.highlighted or 0) in self._index_to_line
