"""Transfer: does a concept's vector from another model do here what this model's own does?

``mlxintro vectors align`` learns a map between two models on other words and carries the concepts' vectors over; this
experiment injects them. Two questions of every vector: does it steer (log-probability that the concept's names come
next, on neutral prompts), and is the concept named when the model is asked for an injected thought? Beside the carried
vector stand the model's own, the vector that a permuted map carries, another word's carried vector, the source's
without a map where widths are equal, and a random one of the same norm. Without an alignment the model's own vectors
take the carried ones' place, which shows what a carried vector would have to reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from pydantic import Field

from mlxintro.analysis.head_figures import INJECTED, Display, HeadFigure, TrialGroup
from mlxintro.analysis.results import Analysis, Row
from mlxintro.analysis.transfer import NAMES, NAMES_NOT, STEERED, analyse, log_of_names, named
from mlxintro.backends.base import ModelInfo, OnToken, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.grid import Grid, Occasion, injected, user
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.prompts import Asked
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, PlannedInjection, Transform, TrialSpec
from mlxintro.protocol.windows import ReplyWindow
from mlxintro.protocol.words.imported import VectorReference
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.steering import neutral_prompts

OWN, PERMUTED, OTHER, UNMAPPED, RANDOM = "own", "permuted", "other", "unmapped", "random"
STEER, SAID = "steer", "said"


class TransferOptions(Data):
    alignment: str = ""
    """Name of an alignment (``mlxintro vectors align``); without one the model's own vectors are tested."""
    prompts: int = Field(default=3, ge=1, le=20)
    """Neutral prompts per concept and repeat."""


class Transfer(Experiment):
    name = "transfer"
    preset = "transfer"
    thinks = True
    summary = "inject vectors carried over from another model: do they steer and get named as the model's own do?"
    scored = "log-probability of the concept's names on neutral prompts; the concept named in the reply, by rules"
    compared = "no injection, the model's own vector, a permuted map, another word's carried vector, random vectors"
    Options = TransferOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        if preset.dialogue is None:
            raise UsageError(f"the preset {study.preset!r} has no dialogue: give its [dialogue]", setting="preset")
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        messages, question = preset.dialogue.at_trial(1)
        asked = grid.ask(messages, preset.dialogue.prefill)
        window = grid.window(asked, question)
        options = TransferOptions.model_validate(study.options)
        vectors = _Carried(grid, options.alignment)
        return grid.plan(partial(_trials, grid, vectors, options.prompts, asked, window))

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        by_key = {spec.key: spec for spec in specs}
        for outcome in readouts.measure(session, specs, on_token):
            cosine = _cosine(session, by_key[outcome.key])
            measured = {} if cosine is None else {"cosine": cosine}
            yield replace(outcome, measurements={**outcome.measurements, **measured})

    def display(self, preset: Preset) -> Display:
        return Display(
            (
                HeadFigure(
                    "named",
                    "names it",
                    "rate",
                    named,
                    TrialGroup("carried over", INJECTED, figure="named"),
                    TrialGroup("random vector", INJECTED, RANDOM, figure="named_random"),
                ),
                HeadFigure(
                    "steering",
                    "log P(names)",
                    "mean",
                    log_of_names,
                    TrialGroup("carried over", INJECTED),
                    TrialGroup("random vector", INJECTED, RANDOM),
                ),
            ),
            (NAMES, NAMES_NOT, STEERED),
            lambda row: STEERED if row.detail["question"] == STEER else NAMES if named(row) else NAMES_NOT,
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        return analyse(rows, study.unit or "raw", str(study.options.get("alignment") or ""))


class _Carried:
    """Holds keys of the vectors of every arm, by word; all recipes go into the plan."""

    def __init__(self, grid: Grid, alignment: str) -> None:
        self._grid = grid
        self._references = grid.study.vectors or {}
        words = [concept.word for concept in grid.concepts]
        self.keys: dict[str, dict[str, str]] = {word: {OWN: grid.vector(word)} for word in words}
        if not alignment:
            for own in self.keys.values():
                own[""] = own.pop(OWN)
            return
        for word in words:
            for arm, kind in (("", ""), (PERMUTED, "permuted/"), (UNMAPPED, "unmapped/")):
                reference = self._references.get(f"{alignment}/{kind}{word}")
                if reference is not None:
                    self.keys[word][arm] = self._key(word, reference)
            if "" not in self.keys[word]:
                raise UsageError(
                    f"the alignment {alignment!r} carries no vector of {word!r}: make one with `mlxintro vectors align "
                    f"SOURCE -m MODEL --name NAME --concepts {word}`",
                    setting="alignment",
                )

    def _key(self, word: str, reference: VectorReference) -> str:
        reference.check_layers(self._grid.layers)
        recipe = recipe_for(self._grid.preset.extraction, word, self._grid.info, reference)
        self._grid.recipes[recipe.key] = recipe
        return recipe.key

    def own(self, word: str) -> str:
        """Return the key of the model's own vector."""
        return self._grid.vector(word)

    def arms(self, pair: Occasion) -> Iterator[tuple[str, str, str, Transform]]:
        """Arm, word whose vector it is, its key, and what is done to it; the arm in question first."""
        keys = self.keys[pair.word]
        yield "", pair.word, keys[""], "none"
        if not self._grid.arms:
            return
        for arm in (OWN, PERMUTED, UNMAPPED):
            if arm in keys:
                yield arm, pair.word, keys[arm], "none"
        yield RANDOM, pair.word, keys[""], "random"
        concepts = self._grid.concepts
        other = concepts[(pair.number + 1) % len(concepts)].word
        if other != pair.word:
            yield OTHER, other, self.keys[other][""], "none"


def _trials(grid: Grid, vectors: _Carried, prompts: int, asked: Asked, window: ReplyWindow) -> Iterator[TrialSpec]:
    neutral = neutral_prompts()
    for pair in grid.pairs:
        own = vectors.own(pair.word)
        said = grid.trial(pair, asked, detail={"question": SAID, "own": own})
        places = [(said, window)]
        names = tuple(f" {name}" for name in pair.concept.names if " " not in name)
        first = pair.number // len(grid.concepts) * prompts
        for at in range(first, first + prompts):
            prompt = neutral[at % len(neutral)]
            detail = {"question": STEER, "own": own, "prompt": at}
            scored = grid.trial(
                pair, grid.ask([user(prompt.user)], prompt.prefill, aside=True),
                readout="score", options=names, detail=detail, max_tokens=1, thinking_tokens=0,
            )  # fmt: skip
            places.append((scored, ReplyWindow(0, None)))
        for base, where in places:
            if pair.number < grid.uninjected:
                yield base
            for cell in grid.cells:
                for arm, word, key, transform in vectors.arms(pair):
                    planned: PlannedInjection = replace(
                        grid.inject(word, cell, where, transform), vector=key, site=grid.recipes[key].site
                    )
                    yield injected(base, planned, arm=arm)


def _cosine(session: Session, spec: TrialSpec) -> float | None:
    """Cosine of the injected vector with the model's own of the concept; ``None`` for what is no vector of it."""
    if not spec.injections or spec.arm == RANDOM:
        return None
    (one,) = spec.injections
    rows = [session.vectors[key].direction[one.layer].astype(np.float64) for key in (one.vector, spec.detail["own"])]
    size = float(np.linalg.norm(rows[0]) * np.linalg.norm(rows[1]))
    return float(rows[0] @ rows[1]) / size if size else None


EXPERIMENT = Transfer()
