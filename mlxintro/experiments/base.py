"""What an experiment is: it plans trials and says how a trial is measured. It does not store, grade or count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backends.base import Backend, Injection, ModelInfo, OnToken, Prompt, Request, Sampling, Tokenizer
from mlxintro.presets import Preset
from mlxintro.study import Study
from mlxintro.trials import Dose, Outcome, PromptRecord, TrialSpec
from mlxintro.vectors import ConceptVector, ExtractionRecipe


@dataclass(frozen=True, slots=True)
class Plan:
    """All trials of a study. Iterating expands them anew, so a large plan takes no memory."""

    count: int
    prompts: Mapping[str, PromptRecord]
    recipes: Mapping[str, ExtractionRecipe]
    """Vectors the trials refer to, by recipe hash."""
    expand: Callable[[], Iterator[TrialSpec]]

    def __iter__(self) -> Iterator[TrialSpec]:
        return self.expand()

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True, slots=True)
class Session:
    """A loaded model with everything the planned trials refer to."""

    backend: Backend
    prompts: Mapping[str, PromptRecord]
    vectors: Mapping[str, ConceptVector]


class Experiment(Protocol):
    name: str
    summary: str

    def plan(self, study: Study, preset: Preset, info: ModelInfo, tokenizer: Tokenizer) -> Plan:
        """Expand a resolved study.

        Raises:
            UsageError: settings that do not fit this model.
        """
        ...

    def measure(
        self, session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None
    ) -> Iterator[Outcome]:
        """Run trials, as one batch where the backend can; yields outcomes as they finish."""
        ...


def prompt_of(session: Session, spec: TrialSpec) -> tuple[Prompt, tuple[Dose, ...]]:
    """Turn a planned trial into what the backend runs: vectors scaled, doses in every unit."""
    injections, doses = [], []
    for planned in spec.injections:
        vector, dose = session.vectors[planned.vector].scaled(
            planned.layer, planned.strength, planned.unit, transform=planned.transform, seed=spec.seed
        )
        injections.append(
            Injection(
                layer=planned.layer,
                vector=vector,
                start=planned.start,
                stop=planned.stop,
                site=planned.site,
                operation=planned.operation,
            )
        )
        doses.append(dose)
    return Prompt(session.prompts[spec.prompt].tokens, tuple(injections)), tuple(doses)


def generate(session: Session, specs: Sequence[TrialSpec], on_token: OnToken | None = None) -> Iterator[Outcome]:
    """Measure trials by letting the subject answer."""
    prepared = [prompt_of(session, spec) for spec in specs]
    requests = [
        Request(prompt, Sampling(spec.max_tokens, spec.temperature, spec.top_p, spec.seed, spec.stop))
        for (prompt, _), spec in zip(prepared, specs, strict=True)
    ]
    for completion in session.backend.generate(requests, on_token):
        yield Outcome(
            key=specs[completion.index].key,
            response=completion.text,
            finish=completion.finish,
            tokens=len(completion.tokens),
            proofs=completion.proofs,
            doses=prepared[completion.index][1],
        )
