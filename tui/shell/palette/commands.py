"""The command palette: every action that works here, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from textual import work
from textual.await_complete import AwaitComplete
from textual.binding import Binding
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.events import Mount

from ..error_border import Guarded
from ..home import home_of
from ..places import PLACES
from ..steady_screen import SteadyScreen


@dataclass(frozen=True, slots=True)
class Action:
    title: str
    detail: str
    call: Any


class Palette(Guarded, SteadyScreen, CommandPalette):
    """Replaces Textual's, which closes another screen when two keys choose, and turns no page before it is laid out."""

    @work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP, exit_on_error=False)
    async def _gather_commands(self, search_value: str) -> None:
        """Gather what matches. Textual's search fails in a palette that is closed meanwhile, and ends the app by it."""
        gather = cast(Any, CommandPalette._gather_commands).__wrapped__
        try:
            await gather(self, search_value)
        except Exception:
            if self.is_attached and self.query(CommandList):
                raise

    def _on_mount(self, event: Mount) -> None:
        """Leave out Textual's own start where the palette was closed before it began: it would find no screen below."""
        if self.app.screen is not self:
            event.prevent_default()

    def dismiss(self, result: None = None) -> AwaitComplete:
        if self.app.screen is not self:
            closed: AwaitComplete = AwaitComplete.nothing()  # type: ignore[no-untyped-call]
            return closed
        return super().dismiss(result)

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):
            super()._action_command_list(action)


class Actions(Provider):
    """Offers places, what works here, and, when something is sought, what other screens can do."""

    def _all(self) -> Iterator[Action]:
        app, home = self.app, home_of(self.screen)
        for place in PLACES:
            yield Action(f"Go to {place.title}", f"{place.summary}  ({place.key})", partial(home.action_go, place.name))
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            # Keys without an id are Textual's own: scrolling, copying.
            if binding.id is None or not active.enabled or binding.action.startswith(("go(", "app.go(")):
                continue
            title = binding.tooltip or binding.description
            if title not in seen:
                seen.add(title)
                detail = f"{binding.description}  ({app.get_key_display(binding)})"
                yield Action(title, detail, partial(app.run_action, binding.action, active.node))
        yield Action("Write a file of keys to edit", str(home.keys_file), home.action_write_keys)

    def _elsewhere(self) -> Iterator[Action]:
        """What other screens can do: chosen, it leads there."""
        app, home = self.app, home_of(self.screen)
        for place in PLACES:
            page = type(place.make())
            for binding in page.BINDINGS if not isinstance(self.screen, page) else ():
                if isinstance(binding, Binding) and binding.tooltip and "go(" not in binding.action:
                    detail = f"goes to {place.title}, where {app.get_key_display(binding)} does it"
                    yield Action(binding.tooltip, detail, partial(home.action_go, place.name))

    async def discover(self) -> Hits:
        for action in self._all():
            yield DiscoveryHit(action.title, action.call, help=action.detail)

    async def search(self, query: str) -> Hits:
        matcher, words = self.matcher(query), query.casefold().split()
        for action in (*self._all(), *self._elsewhere()):
            # Fuzzy by its title; by its detail, which is long, only where every word of the query stands in it.
            in_detail = all(word in f"{action.title} {action.detail}".casefold() for word in words)
            score = max(matcher.match(action.title), 0.6 if in_detail else 0.0)
            if score > 0:
                yield Hit(score, matcher.highlight(action.title), action.call, help=action.detail)
