"""The line in which a filter is typed, or changed by keys; it says what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message
from textual.widgets import Input

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import TrialFilter
from mlxintro.store.searching.browse import Choices

from ..trials.filter_line import FilterSuggester, cycled, cycled_flag, parse, values_of


class FilterField(Input):
    @dataclass
    class Filtered(Message):
        """The line stands for another filter, or says something that is none (see ``wrong``)."""

        where: TrialFilter | None

    def __init__(self, *, id: str) -> None:
        self._words = FilterSuggester()
        super().__init__(
            placeholder="/ filters, e.g. is:injected concept:ocean grade:names water",
            id=id,
            suggester=self._words,
            # On a busy machine the focus comes after the first letter, which the second would then replace.
            select_on_focus=False,
        )
        self.wrong = ""
        """What is wrong with what stands there."""

    def offer(self, choices: Choices) -> None:
        """Complete and cycle through what a run has."""
        self._words.values = values_of(choices)

    def cycle_flag(self, *flags: str) -> None:
        """Take the next of some flags that exclude each other, then none."""
        self.value = cycled_flag(self.value, flags)

    def cycle(self, name: str) -> None:
        """Take the next value under a name, then any.

        Raises:
            UsageError: the run has none.
        """
        values = self._words.values.get(name, ())
        if not values:
            raise UsageError(f"this run has no {name} to choose: wait until it has trials")
        self.value = cycled(self.value, name, values)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        try:
            where = parse(event.value)
        except UsageError as error:
            self.wrong = str(error)
            self.post_message(self.Filtered(None))
        else:
            self.wrong = ""
            self.post_message(self.Filtered(where))
