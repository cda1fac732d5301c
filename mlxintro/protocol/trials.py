"""What a trial is: fully resolved data, planned before anything runs.

A ``TrialSpec`` holds nothing that still has to be looked up: layers are indices, windows are token positions, concepts
are hashes of vector recipes, the dialogue is the hash of a rendered prompt. Its key is the hash of all that, so a
changed setting is a different trial and resuming is planned keys minus finished keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from mlxintro.backends.base import Message, ModelInfo, Operation, Proof, Rendered, ReplyPart, Site
from mlxintro.protocol.hashing import canonical_json, field_names, tagged_hash

Unit = Literal["raw", "norm", "resid"]
"""Unit of a strength: multiples of the raw concept vector; absolute norm of what is added; fraction of the residual
norm at that layer (mean norm over the baseline words at the vector's read token)."""

Transform = Literal["none", "negate", "random", "shuffle"]
"""What is done to a concept vector before it is scaled: turned around; a random direction of the same norm in its
place; its own components in random order."""

Condition = Literal["injected", "control"]
"""Whether anything is injected."""

Readout = Literal["text", "score", "capture", "witness", "bank", "swap"]
"""How a trial is measured: the subject's sampled reply; log-probabilities of given continuations; activations; what the
subject and a reader say of a text it wrote; how much the study's vectors resemble each other; its answers after
thoughts of its own and of a twin with another state."""


@dataclass(frozen=True, slots=True)
class PlannedInjection:
    concept: str
    vector: str
    """Hash of the vector's recipe."""
    layer: int
    strength: float
    unit: Unit
    start: int
    stop: int | None
    transform: Transform = "none"
    site: Site = "resid_post"
    operation: Operation = "add"
    part: ReplyPart = "reply"
    """Part of a reply that begins with a thought, covered by an open window; see ``backends.base.Injection``."""
    taken_at: int | None = None
    """Layer whose direction of the vector is used, where it is not the one that is injected into: what was injected is
    projected out again at later layers."""

    LATER: ClassVar[Mapping[str, Any]] = {"taken_at": None, "part": "reply"}
    """Fields that stored trials do not know; see ``hashing.canonical_json``."""


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """Holds a dialogue as it was rendered, shared by many trials and stored once."""

    messages: tuple[Message, ...]
    prefill: str
    text: str
    tokens: tuple[int, ...]
    pieces: tuple[str, ...]
    """Each token as text, so that a store can be read without the model."""

    @classmethod
    def of(cls, messages: tuple[Message, ...], prefill: str, rendered: Rendered, pieces: list[str]) -> PromptRecord:
        return cls(messages, prefill, rendered.text, rendered.tokens, tuple(pieces))

    @property
    def key(self) -> str:
        return tagged_hash([self.messages, self.prefill, self.tokens])


@dataclass(frozen=True)
class TrialSpec:
    experiment: str
    preset: str
    model: str
    """``model_key`` of the loaded model."""
    prompt: str
    """Key of a ``PromptRecord``."""
    condition: Condition
    concept: str | None
    """The concept this trial is about, i.e. what would be right to name; ``None`` where there is none. It is not always
    the concept that is injected."""
    trial: int
    """Number within its cell. Equal numbers share a seed across cells and with the control, so rows are paired."""
    seed: int
    temperature: float
    top_p: float
    max_tokens: int
    """Most tokens of the reply; of the answer alone where it thinks first."""
    stop: tuple[str, ...] = ()
    injections: tuple[PlannedInjection, ...] = ()
    arm: str = ""
    """Which comparison of the experiment this trial belongs to, e.g. ``random`` or ``clear-no``; empty for the trials
    the experiment is about, and for its pool of uninjected controls."""
    readout: Readout = "text"
    options: tuple[str, ...] = ()
    """Continuations whose log-probabilities are read, for the readout ``score``."""
    thinking_tokens: int = 0
    """Most tokens of the thought before the reply or the readout; 0 where there is none."""
    detail: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Data the experiment needs to score the trial, e.g. the sentence to repeat."""

    def changed(self, **changes: Any) -> TrialSpec:
        """Copy with other values, as ``dataclasses.replace`` does, at a quarter of its cost: plans are made of copies.

        Raises:
            TypeError: there is no such field.
        """
        if not changes.keys() <= self.__dataclass_fields__.keys():
            unknown = sorted(changes.keys() - self.__dataclass_fields__.keys())
            raise TypeError(f"a trial has no {', '.join(unknown)}")
        copy = object.__new__(TrialSpec)
        values = copy.__dict__
        values.update(self.__dict__)
        values.pop("key", None)
        values.update(changes)
        return copy

    @cached_property
    def key(self) -> str:
        """Return the key, worked out once: planning, running, storing and watching all ask for it."""
        return tagged_hash(self._plain())

    def to_json(self) -> str:
        return canonical_json(self._plain())

    def _plain(self) -> dict[str, Any]:
        """Fields that came later are left out at their defaults, so that trials stored before keep their keys."""
        plain = {name: getattr(self, name) for name in field_names(TrialSpec)}
        for name, default in _LATER.items():
            if plain[name] == default:
                del plain[name]
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrialSpec:
        injections = tuple(PlannedInjection(**injection) for injection in data["injections"])
        lists = {name: tuple(data.get(name, ())) for name in ("stop", "options")}
        return cls(**{**data, **lists, "injections": injections})


_LATER: dict[str, Any] = {"arm": "", "readout": "text", "options": (), "thinking_tokens": 0, "detail": {}}


@dataclass(frozen=True, slots=True)
class Dose:
    """States one injection's strength in every unit, so that results can be compared across models and papers."""

    raw: float
    """Multiple of the raw concept vector."""
    norm: float
    """Norm of the vector that was added."""
    resid: float
    """Norm of the injection as a fraction of the layer's residual norm."""
    vector_norm: float
    resid_norm: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Says what one trial gave when it ran."""

    key: str
    response: str
    finish: str
    tokens: int
    """Generated tokens."""
    proofs: tuple[Proof, ...] = ()
    doses: tuple[Dose, ...] = ()
    measurements: dict[str, Any] = field(default_factory=dict)
    """Plain data that an experiment measures beside text."""
    error: str | None = None
    """Set instead of a response when the trial failed."""


def model_key(info: ModelInfo) -> str:
    """Name the function that maps tokens to text: weights, adapter, precision, implementation and template."""
    plain = f"{info.model}@{info.revision} {info.backend} {info.dtype} {info.quantization} {info.template_hash}"
    return f"{plain} adapter {info.adapter_revision}" if info.adapter_revision else plain
