"""What can be done with the trial under the cursor: copy it, cite it, open it elsewhere; and labelling blind."""

from __future__ import annotations

import getpass
from dataclasses import replace
from functools import partial

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.trials import PromptRecord
from mlxintro.store.records import Run
from mlxintro.store.searching.browse import Seen

from ..reading.map_plan import map_study
from ..shell.page import Page
from ..trials import trial_text
from ..trials.trial_line import TrialLines
from ..trials.trial_sources import citation, open_outside
from ..widgets.trial_list import TrialList
from ..widgets.trial_pane import TrialPane
from .labelling import Blind, LabelSetup, OpenedSet, Wish, open_blind


class TrialActions(Page):
    """Is a page with a list of trials and a pane for the one under the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self.wish = Wish("", "labels", 20)
        self.prompts: dict[str, PromptRecord] = {}
        """Prompts by key, as far as they have been read."""

    @property
    def trials(self) -> TrialList:
        return self.query_one("#trials", TrialList)

    @property
    def run(self) -> Run | None:
        """Return the run whose trials are listed."""
        raise NotImplementedError

    @property
    def lines(self) -> TrialLines:
        """Return what draws its trials."""
        raise NotImplementedError

    def _seen(self) -> Seen:
        seen = self.trials.current
        if seen is None:
            raise UsageError("no trial is under the cursor")
        return seen

    def action_prompt(self) -> None:
        self.query_one("#trial", TrialPane).turn_prompt()

    def action_copy(self) -> None:
        seen = self._seen()
        self.app.copy_to_clipboard(seen.trial.response or self.lines.said(seen))
        self.notify("The reply is copied")

    def action_cite(self) -> None:
        if self.run is not None:
            self.app.copy_to_clipboard(citation(self.run, self._seen().trial))
            self.notify("A citation is copied")

    def action_outside(self) -> None:
        seen = self._seen()
        key = seen.trial.spec.prompt
        width = 100
        text = trial_text.everything(seen, self.prompts.get(key), self.lines, width, chat=True)
        open_outside(self.app, text.plain)

    def action_map(self) -> None:
        if self.run is None:
            raise UsageError(self.home.keyed("no run is open: {go.runs} lists the runs, Enter opens one"))
        self.home.set_up_study(map_study(self.run, self._seen().trial.spec), "a map by layer, site and position")

    def action_blind(self) -> None:
        run = self.run
        if run is None:
            raise UsageError(self.home.keyed("no run is open: {go.runs} lists the runs, Enter opens one"))
        wish = self.wish if self.wish.labeller else replace(self.wish, labeller=getpass.getuser())

        def opened(found: OpenedSet) -> None:
            self.consult(Blind(run, found), lambda _: self.look())

        def answered(wish: Wish) -> None:
            self.wish = wish
            self.write("draw", partial(open_blind, run, wish), opened)

        self.consult(LabelSetup(run.name, wish), answered)
