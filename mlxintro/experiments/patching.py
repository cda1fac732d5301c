"""Patching: which layers, sites and positions carry an injected thought into the answer?

A dialogue is run clean and with a concept's vector injected, and activations are exchanged between the two runs place
by place (``mlxintro.mechanism.patching``). One trial is one layer of one concept's map. Beside the map stands that of a
random vector of the same norm: what moves the answer there as well carries a disturbance, not the concept. The logit
lens over the same positions says where in the network yes, no and the concept's name become likelier.
Sources: ``docs/protocols.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from mlxintro.analysis.head_figures import INJECTED, Display, HeadFigure, TrialGroup
from mlxintro.analysis.results import Analysis, Row
from mlxintro.analysis.trial_classes import MEASURED
from mlxintro.backends.base import ModelInfo, OnToken, Site, Tokenizer
from mlxintro.backends.checks import check_sites
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.grid import Grid, Occasion, fill, holding, injected
from mlxintro.mechanism.lens import LENS_ANSWERS, lens_shift
from mlxintro.mechanism.patching import PatchedDialogue, PositionGroup, patch_runs, patches_of
from mlxintro.mechanism.readings import AnswerOptions
from mlxintro.mechanism.stored import LENS, RANDOM, StoredPatches, gap_of
from mlxintro.protocol import windows
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.prompts import Asked
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, PlannedInjection, TrialSpec
from mlxintro.running import readouts
from mlxintro.running.session import Session

GROUPS = ("window", "question", "last")


class PatchingWording(Data):
    yes: tuple[str, ...]
    """Spellings of yes as the first word of an answer."""
    no: tuple[str, ...]
    opening: str = ""
    """Begins an answer that says yes; the concept's name is read after it."""
    name: Annotated[str, holding("word")]
    """The name as it follows the opening; the word in the case in which it is extracted."""


class PatchingOptions(Data):
    sites: tuple[Site, ...] = Field(default=("resid_post", "attn_out", "mlp_out"), min_length=1)
    heads: bool = False
    """Patch every attention head by itself as well."""
    groups: tuple[str, ...] = Field(default=GROUPS, min_length=1)
    """Positions that are patched together: the injection's window, the question, the last token."""
    every: int = Field(default=1, ge=1)
    """Patch every so many layers, counted down from the last."""
    lens: bool = True
    """Read the logit lens over the window as well."""


class Patching(Experiment):
    name = "patching"
    preset = "patching"
    summary = (
        "exchange activations between a clean and an injected run, place by place: where does the answer come from?"
    )
    where = "into the prompt alone"
    thoughtless = (
        "activations are exchanged place by place, and the thoughts of a clean and an injected run have other words in "
        "the same places"
    )
    scored = (
        "log-odds of yes against no and the log-probability of the concept's name, of either run with one place "
        "patched from the other, as a share of the gap between the two"
    )
    compared = "the same map for a random vector of the same norm"
    Wording = PatchingWording
    Options = PatchingOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        return grid.plan(_PatchingPlanner(grid).trials)

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        maps: dict[tuple[str, tuple[PlannedInjection, ...], int], list[TrialSpec]] = defaultdict(list)
        for spec in specs:
            if spec.arm == LENS:
                yield _lens(session, spec)
            else:
                maps[spec.prompt, spec.injections, spec.seed].append(spec)
        for layers in maps.values():
            yield from _patched(session, layers)

    def display(self, preset: Preset) -> Display:
        def gap(outcome: str, row: Row) -> float | None:
            return None if row.arm == LENS else gap_of(row, outcome)

        groups = (TrialGroup("injected", INJECTED, figure="gap"), TrialGroup("random", INJECTED, RANDOM, "gap_random"))
        names = (
            TrialGroup("injected", INJECTED, figure="gap_name"),
            TrialGroup("random", INJECTED, RANDOM, "gap_name_random"),
        )
        return Display(
            (
                HeadFigure("gap", "log-odds of yes moved", "log-odds", partial(gap, "log_odds"), *groups),
                HeadFigure("gap_name", "log P(name) moved", "log-odds", partial(gap, "name"), *names),
            ),
            (MEASURED,),
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        from mlxintro.mechanism.findings import analyse

        return analyse(rows, study.unit or "raw")


class _PatchingPlanner:
    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.wording = PatchingWording.model_validate(grid.preset.wording)
        self.options = PatchingOptions.model_validate(grid.study.options)
        if grid.preset.dialogue is None:
            raise UsageError("patching needs a preset with a dialogue", setting="preset")
        for name in self.options.groups:
            if name not in GROUPS:
                raise UsageError(f"no positions called {name!r}: choose from {', '.join(GROUPS)}", setting="groups")
        heads = ("head_out",) if self.options.heads else ()
        check_sites((*self.options.sites, *heads), grid.info)
        messages, self._question = grid.preset.dialogue.at_trial(1)
        self._asked = grid.ask(messages, grid.preset.dialogue.prefill)
        self._last = messages[-1]["content"]
        self.window = self._window(self._asked)

    def _window(self, asked: Asked) -> tuple[int, int]:
        rendered = asked.rendered
        start, stop = windows.resolve(self.grid.study.window or "question", rendered, self._question)
        if start >= len(rendered.tokens):
            raise UsageError(
                "patching injects into the prompt: choose the window question, prompt or all", setting="window"
            )
        # The answer must follow from what stands in the prompt.
        return start, min(len(rendered.tokens), stop or len(rendered.tokens))

    def groups(self) -> list[PositionGroup]:
        """Return the chosen positions; the question runs from its first word to the end of the user's message."""
        end = len(self._asked.rendered.tokens)
        asked = self._last[self._last.rindex(self._question) :].strip()
        known = {"window": self.window, "question": self._asked.span(asked), "last": (end - 1, end)}
        return [PositionGroup(name, *known[name]) for name in self.options.groups]

    def trials(self) -> Iterator[TrialSpec]:
        layers = sorted(range(self.grid.info.layers - 1, -1, -self.options.every))
        for pair in self.grid.pairs:
            base = self._base(pair)
            for cell in self.grid.cells:
                own = self.grid.inject(pair.word, cell, self.window)
                if self.options.lens:
                    yield injected(base.changed(detail=self._lens_detail(base)), own, arm=LENS)
                arms = {"": own}
                if self.grid.arms:
                    arms[RANDOM] = self.grid.inject(pair.word, cell, self.window, "random")
                for arm, injection in arms.items():
                    for layer in layers:
                        yield injected(base.changed(detail={**base.detail, "layer": layer}), injection, arm=arm)

    def _base(self, pair: Occasion) -> TrialSpec:
        word = pair.word.lower() if self.grid.preset.extraction.case == "lower" else pair.word
        detail: dict[str, Any] = {
            "yes": list(self.wording.yes),
            "no": list(self.wording.no),
            "opening": self.wording.opening,
            "name": fill(self.wording.name, word=word),
            "sites": list(self.options.sites),
            "heads": self.grid.info.heads if self.options.heads else 0,
            "groups": [list(group) for group in self.groups()],
        }
        return self.grid.trial(pair, self._asked, readout="capture", detail=detail)

    def _lens_detail(self, base: TrialSpec) -> dict[str, Any]:
        pieces = self.grid.dialogues.records[self._asked.key].pieces
        kept = {name: base.detail[name] for name in ("yes", "no", "name")}
        return {**kept, "start": self.window[0], "pieces": list(pieces[self.window[0] :])}


def _patched(session: Session, specs: Sequence[TrialSpec]) -> Iterator[Outcome]:
    """Layers of one map, from one pair of runs."""
    prompt, doses = readouts.prompt_of(session, specs[0])
    detail, backend = specs[0].detail, session.backend
    groups = tuple(PositionGroup(*group) for group in detail["groups"])
    options = AnswerOptions.encoded(backend.tokenizer, detail["yes"], detail["no"], detail["opening"], detail["name"])
    sites: list[Site] = list(detail["sites"])
    if detail["heads"] and "head_out" not in sites:
        sites.append("head_out")
    layers = [spec.detail["layer"] for spec in specs]
    patches = patches_of(layers, sites, groups, heads=detail["heads"])
    runs = patch_runs(backend, PatchedDialogue(prompt.tokens, prompt.injections, groups, options), patches)
    for spec, layer in zip(specs, layers, strict=True):
        found = StoredPatches.of_layer(runs, layer).as_dict()
        yield Outcome(spec.key, "", "patched", 0, runs.injected_proofs, doses, found)


def _lens(session: Session, spec: TrialSpec) -> Outcome:
    prompt, doses = readouts.prompt_of(session, spec)
    encode = session.backend.tokenizer.encode
    texts = (spec.detail["yes"], spec.detail["no"], [spec.detail["name"]])
    answers = [list(dict.fromkeys(encode(text).tokens[0] for text in spellings)) for spellings in texts]
    positions = range(spec.detail["start"], len(prompt.tokens))
    shift = lens_shift(session.backend, prompt.tokens, prompt.injections, positions, answers)
    lens = {
        name: [[round(float(v), 4) for v in row] for row in one] for name, one in zip(LENS_ANSWERS, shift, strict=True)
    }
    return Outcome(spec.key, "", "captured", 0, doses=doses, measurements={"lens": lens})


EXPERIMENT = Patching()
