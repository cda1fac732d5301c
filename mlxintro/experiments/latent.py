"""Latent detection: is there a trace of an injection in what the subject would answer, without sampling?

A vector is injected while the first turn is read (the user's message and a preset reply) and no longer while the second
is: its window ends before the question. What the question's tokens see of it is what the first turn left in keys and
values, so this is "injected, then removed". Read are the log-probabilities of yes and no after a fixed beginning of the
answer, each paired with the uninjected dialogue, under several framings and information texts; unrelated questions with
the same injection; the logit lens at that position, layer by layer; and numbers in a shuffled list of concepts.
Source: Pearson-Vogel et al. 2026, "Latent Introspection" (arXiv 2602.20031).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from mlxintro.analysis.head_figures import INJECTED, UNINJECTED, Display, HeadFigure, TrialGroup, found_or_not
from mlxintro.analysis.results import Analysis, Row
from mlxintro.analysis.trial_classes import MEASURED, TrialClass
from mlxintro.backends.base import ModelInfo, OnToken, Tokenizer
from mlxintro.backends.errors import UsageError
from mlxintro.experiments.base import Data, Experiment, Plan
from mlxintro.experiments.grid import Grid, Occasion, assistant, fill, holding, injected, user
from mlxintro.protocol import presets
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.prompts import Asked
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, PlannedInjection, Transform, TrialSpec
from mlxintro.replies.log_odds import log_odds
from mlxintro.running import readouts
from mlxintro.running.session import Session

RANDOM, LENS, IDENTIFY = "random", "lens", "identify"
QUESTION = "question:"
"""Prefix of the arms of unrelated questions."""
MOST_LISTED = 9
"""Concepts in a list: one digit each, and 0 for none."""


LEANS_YES = TrialClass("leans to yes", "●", "hit")
LEANS_NO = TrialClass("leans to no", "·", "quiet")
YES_UNINJECTED = TrialClass("yes uninjected", "▲", "alarm")


def _shipped_unrelated() -> str:
    return str(presets.load("latent").wording["unrelated"])


class LatentWording(Data):
    first: Annotated[str, holding("framing", "info")]
    """The user's first turn."""
    reply: str
    """The assistant's preset one."""
    question: str
    """The user's second turn."""
    identify: Annotated[str, holding("list")]
    """The user's second turn where it asks which word of a numbered list it was."""
    nothing: str
    """Text that the list offers as number 0."""
    prefix: str
    """Begins the answer."""
    yes: tuple[str, ...]
    no: tuple[str, ...]
    framings: Mapping[str, str]
    infos: Mapping[str, str]
    questions: Mapping[str, tuple[str, ...]]
    """Unrelated questions by group."""
    unrelated: Annotated[str, holding("question")] = Field(default_factory=_shipped_unrelated)
    """The user's second turn with an unrelated question as ``{question}``. Presets stored before this was a setting
    have none, and ask as the preset that ships does."""
    identify_info: str = "explained"
    """Name of the information text that stands before the list, where it is among those chosen; else the first is."""


class LatentOptions(Data):
    through: float | None = None
    """Last layer of a range that begins at the study's layer: index or depth fraction. Every layer of it gets its own
    vector. Without it one layer does."""
    framings: tuple[str, ...] = ()
    """Names of those to use; all by default."""
    infos: tuple[str, ...] = ()
    orders: int = Field(default=5, ge=0, le=50)
    """Shuffled orders of the list; 0 leaves identification out."""
    lens: bool = True
    """Read the logit lens as well, under the first framing."""


class Latent(Experiment):
    name = "latent"
    preset = "latent"
    thinks = True
    summary = "inject in the first turn only, and read yes against no in the second without sampling"
    where = "into the first turn"
    scored = (
        "log-probabilities of yes and no after a fixed beginning of the answer, paired with the uninjected "
        "dialogue; mutual information of a shuffled list; the logit lens"
    )
    compared = "no injection, random vectors, unrelated questions under the same injection"
    Wording = LatentWording
    Options = LatentOptions

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        grid = Grid.of(self.name, study, preset, info, tokenizer)
        grid.no_window(self.where)
        return grid.plan(_LatentPlanner(grid).trials)

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        yield from readouts.measure(session, [spec for spec in specs if spec.readout != "capture"], on_token)
        for spec in specs:
            if spec.readout == "capture":
                yield _lens(session, spec)

    def display(self, preset: Preset) -> Display:
        yes = LatentWording.model_validate(preset.wording).yes

        def odds_of(row: Row) -> float | None:
            return log_odds(row.measurements["logprobs"], yes) if row.arm == "" else None

        def leans_to_yes(row: Row) -> float | None:
            odds = odds_of(row)
            return None if odds is None else float(odds > 0)

        def class_of(row: Row) -> TrialClass:
            odds = odds_of(row)
            return MEASURED if odds is None else found_or_not(row, odds > 0, LEANS_YES, LEANS_NO, YES_UNINJECTED)

        return Display(
            (
                HeadFigure(
                    "sensitivity",
                    "yes likelier",
                    "rate",
                    leans_to_yes,
                    TrialGroup("injected", INJECTED, figure="sensitivity"),
                    TrialGroup("no injection", UNINJECTED, figure="false_alarms"),
                ),
                HeadFigure(
                    "log_odds",
                    "log-odds of yes",
                    "log-odds",
                    odds_of,
                    TrialGroup("injected", INJECTED),
                    TrialGroup("no injection", UNINJECTED),
                ),
            ),
            (LEANS_YES, LEANS_NO, YES_UNINJECTED, MEASURED),
            class_of,
        )

    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        from mlxintro.experiments.latent_analysis import analyse

        return analyse(rows, LatentWording.model_validate(preset.wording).yes, study)


class _LatentPlanner:
    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.wording = LatentWording.model_validate(grid.preset.wording)
        self.options = LatentOptions.model_validate(grid.study.options)
        self.framings = _chosen(self.wording.framings, self.options.framings, "framing", "framings")
        self.infos = _chosen(self.wording.infos, self.options.infos, "information text", "infos")
        self.listed = [concept.word for concept in grid.concepts][:MOST_LISTED]

    def trials(self) -> Iterator[TrialSpec]:
        for pair in self.grid.pairs:
            for framing in self.framings:
                for info in self.infos:
                    yield from self._detection(pair, framing, info)
            if pair.word in self.listed and len(self.listed) > 1:
                for order in range(self.options.orders):
                    yield from self._identification(pair, order)
        if self.grid.arms:
            yield from self._questions()

    def _detection(self, pair: Occasion, framing: str, info: str) -> Iterator[TrialSpec]:
        asked, window = self._ask(framing, info, self.wording.question)
        base = self._scored(pair, asked, "", {"framing": framing, "info": info})
        kinds = [base]
        if self.options.lens and framing == self.framings[0]:
            ids = {"yes": self._first(self.wording.yes), "no": self._first(self.wording.no)}
            kinds.append(base.changed(arm=LENS, readout="capture", options=(), detail={**base.detail, **ids}))
        for kind in kinds:
            # One pool: without a vector the dialogue is the same for all concepts.
            if pair.number == 0 and self.grid.uninjected:
                yield kind.changed(concept=None)
            for cell in self.grid.cells:
                yield injected(kind, *self._range(pair.word, cell, window))
        if self.grid.arms:
            for cell in self.grid.cells:
                yield injected(base, *self._range(pair.word, cell, window, "random"), arm=RANDOM)

    def _identification(self, pair: Occasion, order: int) -> Iterator[TrialSpec]:
        # The same orders for every concept, so that labels can be shuffled within one.
        words = list(self.listed)
        random.Random(f"{self.grid.study.seed}:{order}").shuffle(words)
        lines = [f"0. {self.wording.nothing}", *(f"{n}. {word}" for n, word in enumerate(words, 1))]
        text = fill(self.wording.identify, list="\n".join(lines))
        info = self.wording.identify_info if self.wording.identify_info in self.infos else self.infos[0]
        asked, window = self._ask(self.framings[0], info, text)
        base = self._scored(pair, asked, IDENTIFY, {"order": order, "words": words})
        base = base.changed(options=tuple(f" {n}" for n in range(len(words) + 1)))
        if pair.number == 0 and self.grid.uninjected:
            yield base.changed(concept=None)
        for cell in self.grid.cells:
            yield injected(base, *self._range(pair.word, cell, window))

    def _questions(self) -> Iterator[TrialSpec]:
        """Unrelated questions under the first framing; concepts take turns."""
        pairs = list(self.grid.pairs)
        texts = [(group, text) for group, texts in self.wording.questions.items() for text in texts]
        for number, (group, text) in enumerate(texts):
            pair = pairs[number % len(pairs)]
            asked, window = self._ask(self.framings[0], self.infos[0], fill(self.wording.unrelated, question=text))
            base = self._scored(pair, asked, QUESTION + group, {"text": text, "info": self.infos[0]}).changed(
                trial=number
            )
            if self.grid.uninjected:
                yield base
            for cell in self.grid.cells:
                yield injected(base, *self._range(pair.word, cell, window))

    def _ask(self, framing: str, info: str, question: str) -> tuple[Asked, tuple[int, int]]:
        """The dialogue, and its first turn as positions."""
        parts = {"framing": self.wording.framings[framing], "info": self.wording.infos[info]}
        first = fill(self.wording.first, **parts).strip().replace("\n\n\n\n", "\n\n")
        second = question.strip()
        asked = self.grid.ask([user(first), assistant(self.wording.reply), user(second)], self.wording.prefix)
        start, _ = asked.span(first, before=second)
        _, stop = asked.span(self.wording.reply, before=second)
        return asked, (start, stop)

    def _scored(self, pair: Occasion, asked: Asked, arm: str, detail: Mapping[str, object]) -> TrialSpec:
        options = (*self.wording.yes, *self.wording.no)
        return self.grid.trial(pair, asked, arm=arm, readout="score", options=options, detail=dict(detail))

    def _range(
        self, word: str, cell: tuple[int, float], window: tuple[int, int], transform: Transform | None = None
    ) -> tuple[PlannedInjection, ...]:
        first, strength = cell
        last = first if self.options.through is None else self.grid.info.layer(self.options.through)
        if last < first:
            raise UsageError(
                f"the range of layers begins at {first} and ends at {last}: set option through above it",
                setting="through",
            )
        return tuple(self.grid.inject(word, (layer, strength), window, transform) for layer in range(first, last + 1))

    def _first(self, texts: Sequence[str]) -> list[int]:
        """First tokens of several spellings, each once."""
        return list(dict.fromkeys(self.grid.tokenizer.encode(text).tokens[0] for text in texts))


def _chosen(known: Mapping[str, str], names: Sequence[str], what: str, setting: str) -> list[str]:
    for name in names:
        if name not in known:
            raise UsageError(f"no {what} called {name!r}: choose from {', '.join(known)}", setting=setting)
    return list(names or known)


def _lens(session: Session, spec: TrialSpec) -> Outcome:
    """Logit lens where the answer begins, after the own thought: log-probability of yes and of no at every layer."""
    ((prompt, doses, thought),) = readouts.ready_to_answer(session, [spec])
    (captured,) = session.backend.capture([prompt], positions=(-1,))
    yes, no = spec.detail["yes"], spec.detail["no"]
    logprobs = session.backend.lens(captured["resid_post"][:, 0], [*yes, *no]).astype(np.float64)
    found = {
        "yes": np.logaddexp.reduce(logprobs[:, : len(yes)], axis=1).tolist(),
        "no": np.logaddexp.reduce(logprobs[:, len(yes) :], axis=1).tolist(),
    }
    return Outcome(spec.key, "", "captured", 0, doses=doses, measurements={"lens": found, **thought})


EXPERIMENT = Latent()
