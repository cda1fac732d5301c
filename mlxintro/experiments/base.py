"""What an experiment is: it plans trials, says how a trial is measured, and what the results come to.

It does not store, grade or print. Every other module of this package is one experiment, whose name is the module's with
hyphens; its wording and settings are a preset (``mlxintro/data/presets``).
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from mlxintro.analysis.head_figures import CLAIMS_DISPLAY, Display
from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.base import ModelInfo, OnToken, Tokenizer
from mlxintro.protocol import presets
from mlxintro.protocol.bounds import Data
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.study import Study
from mlxintro.protocol.trials import Outcome, PromptRecord, TrialSpec
from mlxintro.running import readouts
from mlxintro.running.session import Session
from mlxintro.vectors.recipe import VectorRecipe

__all__ = ["Data", "Experiment", "Plan", "seed_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Holds all trials of a study. Iterating expands them anew, so a large plan takes no memory."""

    count: int
    prompts: Mapping[str, PromptRecord]
    recipes: Mapping[str, VectorRecipe]
    """Vectors the trials refer to, by recipe hash."""
    expand: Callable[[], Iterator[TrialSpec]]

    def __iter__(self) -> Iterator[TrialSpec]:
        return self.expand()

    def __len__(self) -> int:
        return self.count


class Experiment(abc.ABC):
    """Defines one protocol. Instances hold no state."""

    name: ClassVar[str]
    summary: ClassVar[str]
    preset: ClassVar[str]
    """The preset that is taken when none is named."""
    where: ClassVar[str] = ""
    """Place where its design injects, e.g. "into the first turn"; empty where a study's window says it."""
    scored: ClassVar[str] = ""
    """How it scores a trial itself, in a phrase for people; empty where graders do."""
    compared: ClassVar[str] = ""
    """Standard controls of the experiment, in a phrase for people, where they are its own."""
    graded: ClassVar[bool] = False
    """Whether graders of claims and names (``mlxintro.grading``) apply to its sampled replies."""
    thinks: ClassVar[bool] = False
    """Whether its subject may think before it answers (``--thinking on``)."""
    thoughtless: ClassVar[str] = ""
    """Why it may not, in half a sentence for people."""
    own_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Presets that come with an experiment of another package, by name, as plain data of the same shape as the TOML
    files of those that ship."""
    reads_every: ClassVar[frozenset[str] | None] = None
    """Arms of which its analysis reads every trial: its number, detail and measurements. One row then stands for all
    replies of another arm that are alike and claim nothing (``Row.times``). ``None``: it reads every trial there is."""
    Wording: ClassVar[type[Data]] = Data
    """Texts that the preset's table ``[wording]`` must give."""
    Options: ClassVar[type[Data]] = Data
    """Settings of this experiment alone: the preset's table ``[options]``, and a study's over it."""

    def preset_of(self, study: Study) -> Preset:
        """Return the preset of a study: its own wording, the one it names, or the experiment's.

        With the study's extraction.

        Raises:
            UsageError: there is no such preset, or the extraction is none.
        """
        if study.preset_data is not None:
            found = presets.validated(study.preset_data, study.preset or "preset")
        else:
            name = study.preset or self.preset
            own = self.own_presets.get(name)
            found = presets.load(name) if own is None else presets.validated(dict(own), name)
        return presets.with_extraction(found, study.extraction or {})

    @abc.abstractmethod
    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        """Expand a resolved study.

        Raises:
            UsageError: settings that do not fit this model.
        """

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        """Run trials, as one batch where the backend can; yields outcomes as they finish."""
        return readouts.measure(session, specs, on_token)

    def display(self, preset: Preset) -> Display:
        """Return what lists, live maps, lines of trials and comparisons show for it: see ``Display``.

        Args:
            preset: of the run that is shown; some experiments need its wording to read a trial.
        """
        return CLAIMS_DISPLAY if self.graded else Display()

    @abc.abstractmethod
    def analyse(self, rows: Sequence[Row], study: Study, preset: Preset) -> Analysis:
        """Say what finished trials come to; a pure function of what is stored.

        Args:
            study: resolved, as it was run.
            preset: the wording and settings that it was planned with.
        """


@lru_cache(maxsize=64)
def seed_of(study_seed: int, number: int) -> int:
    """Return one seed per pair number.

    A trial, its control and its neighbours in the grid draw the same random numbers.
    """
    digest = hashlib.blake2b(f"{study_seed}:{number}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")
