"""Which simulated subjects there are, with their parameters, and what a change of the residual stream is to them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from urllib.parse import parse_qsl

from ..errors import UsageError

COMMON = {"delay": 0.0, "weak": 1.2, "strong": 5.0, "shallow": 0.5, "deep": 0.9, "layers": 8.0, "width": 128.0}
THOUGHTFUL = {"think": 0.0, "admits": 1.0, "blurts": 0.0, "notes": 1.0}
"""Parameters of a subject that thinks before it answers; the others are without effect while ``think`` is 0."""


@dataclass(frozen=True, slots=True)
class SubjectKind:
    """Says what a simulated subject does about an injection."""

    does: str
    """One thing, for lists."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Parameters that only some kinds have, with their defaults."""


SUBJECTS: Mapping[str, SubjectKind] = {
    "detector": SubjectKind(
        "notices it inside a band of layers and names it: an introspector", {"hit": 0.4, "fa": 0.02}
    ),
    "null": SubjectKind("nothing"),
    "yes-biased": SubjectKind("says yes to anything", {"yes": 0.7}),
    "steering-only": SubjectKind("is steered by it and notices nothing"),
    "refuser": SubjectKind("refuses to answer"),
    "biased": SubjectKind("moves all its answers towards yes", {"fa": 0.0001, "shift": 8.5}),
    "compressed": SubjectKind("moves all its answers towards the middle", {"fa": 0.0001, "squeeze": 0.1}),
    "disturbed": SubjectKind("claims any disturbance", {"hit": 0.9, "fa": 0.02}),
    "text-reader": SubjectKind("claims an odd text in the prompt", {"hit": 0.9, "fa": 0.02}),
    "habitual": SubjectKind("notices it, and always says one word", {"hit": 0.9, "fa": 0.02}),
    "echo": SubjectKind("names the word that it is being made to say", {"hit": 0.9, "fa": 0.02}),
}
"""The first is an introspector. Of the others each does one thing that may pass for introspection."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Describes a subject and its parameters. Band, rates and depth are what an experiment is meant to find."""

    name: str
    hit: float = 0.0
    """Probability of affirming, and naming the right word, when a word is injected inside the band."""
    fa: float = 0.0
    """Probability of affirming otherwise; the word named is an everyday one."""
    yes: float = 0.0
    """Probability of saying yes to anything (yes-biased)."""
    shift: float = 0.0
    """Nats that any vector adds to every yes."""
    squeeze: float = 1.0
    """Factor by which any vector multiplies every yes-no logit."""
    weak: float = COMMON["weak"]
    """Change of the residual, relative to its norm, below which nothing is noticed."""
    strong: float = COMMON["strong"]
    """Above it, the reply is garbage."""
    shallow: float = COMMON["shallow"]
    """Layers from this fraction of the depth ..."""
    deep: float = COMMON["deep"]
    """... to below this one are where injections are noticed. They steer what is said at any layer."""
    delay: float = 0.0
    """Seconds per decoding step."""
    layers: float = COMMON["layers"]
    width: float = COMMON["width"]
    think: float = THOUGHTFUL["think"]
    """Sentences it thinks before it comes to a conclusion, where it is let think; 0: it never thinks."""
    admits: float = THOUGHTFUL["admits"]
    """Probability of saying in the answer that it noticed something, when its thought says so."""
    blurts: float = THOUGHTFUL["blurts"]
    """Probability of saying so when its thought says that there is nothing."""
    notes: float = THOUGHTFUL["notes"]
    """How far the answer follows what the thought says (1) instead of the state it is in (0)."""

    @classmethod
    def parse(cls, model: str) -> Subject:
        """Read ``name?parameter=value&...``.

        Raises:
            UsageError: for a name, a parameter or a value that does not exist.
        """
        name, _, query = model.partition("?")
        if name not in SUBJECTS:
            raise UsageError(f"no simulated subject {name!r}: use one of {', '.join(SUBJECTS)}", setting="model")
        values = {**SUBJECTS[name].parameters, **COMMON, **THOUGHTFUL}
        for key, text in parse_qsl(query, keep_blank_values=True):
            if key not in values:
                raise UsageError(f"{name} has no parameter {key!r}: use {', '.join(values)}")
            try:
                values[key] = float(text)
            except ValueError:
                values[key] = math.nan
            if not math.isfinite(values[key]):
                raise UsageError(f"{key}={text} is not a number: write it like {name}?{key}=0.5")
        for key in ("hit", "fa", "yes", "admits", "blurts", "notes"):
            if not 0 <= values.get(key, 0) <= 1:
                raise UsageError(f"{key}={values[key]:g} is not a probability: give a number from 0 to 1")
        if not (0 <= values["delay"] <= 60 and 2 <= values["layers"] <= 200 and 96 <= values["width"] <= 8192):
            raise UsageError("a subject has a delay of 0 to 60, 2 to 200 layers and a width of 96 to 8192: change them")
        if not 0 <= values["think"] <= 1000:
            raise UsageError("a subject thinks 0 to 1000 sentences: change think")
        return cls(name, **values)

    @property
    def revision(self) -> str:
        """Return a hash of everything that changes an answer, so not of the delay."""
        left_out = {"delay"} if self.think else {"delay", *THOUGHTFUL}
        text = ",".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self) if f.name not in left_out)
        return "fake:" + hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class FeltInjection:
    """Says what the change of the residual stream amounts to."""

    word: str | None = None
    """The word it spells in the end, ``None`` for no change and for one that spells nothing."""
    felt: str | None = None
    """The word it spells at the layer of the injection, which later layers may have lost."""
    speaking: bool = False
    """Whether the reply is changed, too."""
    strength: float = 0.0
    """Largest mean change over the layers, relative to the norm of the undisturbed stream."""
    depth: float = 0.0
    """Mean fraction of the depth at which it was injected."""
    positions: tuple[int, ...] = ()
    """Prompt positions changed."""
    sizes: tuple[float, ...] = ()
    """Amount by which each of them was changed."""
