"""Intentional control: does the subject think of a word when it is told to, and less when it is told not to?

Nothing is injected. The subject writes a sentence under instructions that name a word; the residual stream on the
reply's tokens is compared with the word's concept vector, layer by layer. Arms: think, don't think, incentives, mere
mentions of the word, and no word at all. What counts is the gap between think and don't think, beyond the gap that
unrelated words' vectors show on the same tokens and beyond that of mere mentions.
Source: Lindsey 2025, "Emergent Introspective Awareness", section on intentional control of internal states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mlxintro.analysis.head_figures import UNINJECTED, Display, HeadFigure, TrialGroup
from mlxintro.analysis.results import Analysis, Row
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.backends.base import Float32, Float64, ModelInfo, OnToken, Prompt, Tokenizer
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.grid import Grid, Occasion, SentenceText, distractors, fill, pick_sentence, sentences, user
from mlxintro.experiments.intentional_control_analysis import DONT, THINK, late_cosine, late_specific
from mlxintro.protocol import windows
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.prompts import Asked
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, TrialSpec
from mlxintro.replies.short_replies import repeats
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.vectors import cosines

FLOOR = "floor"


HOLDS = TrialClass("more than other words", "●", "hit")
HOLDS_NOT = TrialClass("no more than others", "·", "quiet")
NOT_READ = TrialClass("another sentence", "≋", "broken")


class IntentionalControlWording(Data):
    floor: SentenceText
    """Asks for the sentence and names no word."""
    arms: Mapping[str, str]
    """Instructions by name, with ``{sentence}`` and ``{word}``. There must be ``think`` and ``dont-think``."""
    contrasts: tuple[tuple[str, str], ...]
    """Pairs of arms whose difference is reported."""
    mentions: tuple[str, ...]
    """Arms that name the word without asking for anything."""


class IntentionalControlOptions(Data):
    mode: Literal["forced", "sampled"] = "forced"
    """Whether the reply is given, or written by the subject and then read."""
    last_token: bool = False
    """Read the sentence's last token as well; what is there is already about what comes next."""
    band: int = Field(default=20, ge=2, le=100)
    """Unrelated words whose vectors are compared beside the concept's."""
    centre: int = Field(default=8, ge=2, le=50)
    """Replies without a word whose mean activation is subtracted for the centred cosine."""
    unrelated: str = "set:lindsey-50"
    """Concept set from which the unrelated words are drawn."""


class IntentionalControl(Experiment):
    name = "intentional-control"
    preset = "intentional-control"
    summary = (
        "tell the subject to think about a word, or not to, while it writes, and look for the word in its activations"
    )
    where = "nothing"
    thoughtless = (
        "activations are read on a sentence that the subject writes at once, and a thought would come before it"
    )
    scored = (
        "cosine of the residual stream on the reply's sentence with the word's vector, by layer, raw and "
        "centred on replies without a word"
    )
    compared = "unrelated words' vectors, no word; with standard and full incentives and mere mentions of the word"
    Wording = IntentionalControlWording
    Options = IntentionalControlOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        grid.no_window(self.where)
        return grid.plan(partial(self._trials, grid))

    def _trials(self, grid: Grid) -> Iterator[TrialSpec]:
        wording = IntentionalControlWording.model_validate(grid.preset.wording)
        options = IntentionalControlOptions.model_validate(grid.study.options)
        among = grid.study.library.resolve([options.unrelated], allow_unknown=False)
        centre = []
        for sentence in sentences()[: options.centre]:
            asked = grid.ask([user(fill(wording.floor, sentence=sentence))], sentence)
            centre.append({"prompt": asked.key, "at": self._at(asked, sentence, options)})
        for pair in grid.pairs:
            sentence = pick_sentence(pair)
            detail: dict[str, Any] = {
                "sentence": sentence,
                "layers": list(grid.layers),
                "vector": grid.vector(pair.word),
                "band": [grid.vector(one.word) for one in distractors(pair, options.band, among)],
                "centre": centre,
            }
            for arm, text in {FLOOR: wording.floor, **wording.arms}.items():
                if not grid.arms and arm not in (FLOOR, "think", "dont-think"):
                    continue
                yield self._trial(grid, pair, arm, fill(text, sentence=sentence, word=pair.word), options, detail)

    def _trial(
        self,
        grid: Grid,
        pair: Occasion,
        arm: str,
        text: str,
        options: IntentionalControlOptions,
        detail: dict[str, Any],
    ) -> TrialSpec:
        if options.mode == "sampled":
            return grid.trial(pair, grid.ask([user(text)]), arm=arm, detail=detail | {"last_token": options.last_token})
        asked = grid.ask([user(text)], detail["sentence"])
        where = detail | {"at": self._at(asked, detail["sentence"], options)}
        return grid.trial(pair, asked, arm=arm, readout="capture", max_tokens=1, detail=where)

    def _at(self, asked: Asked, sentence: str, options: IntentionalControlOptions) -> list[int]:
        """Positions ``[start, stop)`` of the reply's sentence that are read."""
        start, stop = asked.span(sentence)
        return [start, stop if options.last_token else max(start + 1, stop - 1)]

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        forced = [spec for spec in specs if spec.readout == "capture"]
        sampled = [spec for spec in specs if spec.readout == "text"]
        read = _Reader(session)
        for spec in forced:
            tokens = session.prompts[spec.prompt].tokens
            yield Outcome(spec.key, "", "captured", 0, measurements=read(spec, tokens, spec.detail["at"]))
        by_key = {spec.key: spec for spec in sampled}
        for outcome in readouts.measure(session, sampled, on_token) if sampled else ():
            spec = by_key[outcome.key]
            if not outcome.response.strip():
                yield replace(outcome, measurements={"copied": False})
                continue
            record = session.prompts[spec.prompt]
            rendered = session.backend.tokenizer.render(record.messages, outcome.response)
            copied = repeats(outcome.response, spec.detail["sentence"])
            inside = spec.detail["sentence"] if spec.detail["sentence"] in outcome.response else outcome.response
            start, stop = windows.span(rendered, inside)
            stop = stop if spec.detail["last_token"] else max(start + 1, stop - 1)
            found = read(spec, rendered.tokens, [start, stop])
            yield replace(outcome, measurements={**found, "copied": copied})

    def display(self, preset: Preset) -> Display:
        return Display(
            (
                HeadFigure(
                    "cosine",
                    "centred cosine",
                    "mean",
                    late_cosine,
                    TrialGroup("told to think of it", UNINJECTED, THINK, figure="cosine_think"),
                    TrialGroup("told not to", UNINJECTED, DONT, figure="cosine_dont-think"),
                ),
                HeadFigure(
                    "beyond",
                    "beyond unrelated words",
                    "mean",
                    late_specific,
                    TrialGroup("told to think of it", UNINJECTED, THINK),
                    TrialGroup("told not to", UNINJECTED, DONT),
                ),
            ),
            (HOLDS, HOLDS_NOT, NOT_READ),
            _class_of,
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        from mlxintro.experiments.intentional_control_analysis import analyse

        wording = IntentionalControlWording.model_validate(preset.wording)
        measured = [row for row in rows if "centred" in row.measurements]
        return analyse(measured, wording.contrasts, wording.mentions, study)


def _class_of(row: Row) -> TrialClass:
    if row.measurements.get("copied") is False:
        return NOT_READ
    specific = late_specific(row)
    return HOLDS if specific is not None and specific > 0 else HOLDS_NOT


class _Reader:
    """Captures activations and compares them, sharing the centre among the trials of one batch."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._centres: dict[str, Float64] = {}

    def __call__(self, spec: TrialSpec, tokens: Sequence[int], at: Sequence[int]) -> dict[str, Any]:
        """Mean cosines over ``tokens[at[0]:at[1]]``, by layer: raw and centred, own word and band."""
        layers = spec.detail["layers"]
        streams = self._capture(tuple(tokens), layers, at)
        vectors = self._session.vectors
        directions = np.stack([vectors[key].direction[layers] for key in (spec.detail["vector"], *spec.detail["band"])])
        found: dict[str, Any] = {"layers": list(layers)}
        for name, centre in (("raw", None), ("centred", self._centre(spec))):
            values = cosines.mean_cosines(streams, directions, centre)
            found[name] = values[0].tolist()
            found[f"{name}_band"] = cosines.band(values[1:])
        return found

    def _capture(self, tokens: tuple[int, ...], layers: Sequence[int], at: Sequence[int]) -> Float32:
        (captured,) = self._session.backend.capture([Prompt(tokens)], layers=layers, positions=range(*at))
        return captured["resid_post"]

    def _centre(self, spec: TrialSpec) -> Float64:
        key = repr((spec.detail["centre"], spec.detail["layers"]))
        if key not in self._centres:
            parts = [
                self._capture(self._session.prompts[one["prompt"]].tokens, spec.detail["layers"], one["at"])
                for one in spec.detail["centre"]
            ]
            self._centres[key] = np.concatenate(parts, axis=1).mean(axis=1, dtype=np.float64)
        return self._centres[key]


EXPERIMENT = IntentionalControl()
