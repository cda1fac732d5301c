"""A study: every setting of a run, validated, and resolved so that nothing is left to defaults.

A ``Study`` comes from flags and files (``mlxintro.protocol.study_file``); ``resolve`` fills what it leaves open from
its preset. The resolved study is stored with the run, and planning it again gives the same trials.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlxintro.backends.errors import UsageError, reason_of
from mlxintro.backends.thinking.marks import ThinkingMode
from mlxintro.protocol.bounds import Controls, Layers, Strengths, Temperature, Tokens, TopP, Trials, Words
from mlxintro.protocol.concepts import Concept, Library
from mlxintro.protocol.presets import Preset
from mlxintro.protocol.trials import Transform, Unit
from mlxintro.protocol.windows import WindowName
from mlxintro.protocol.words.imported import VectorReference, resolve_concepts
from mlxintro.protocol.words.own_concepts import OwnConcepts, library_with

THINKING_TOKENS = 1024
"""Budget of a thought where a study names none."""


class Study(BaseModel):
    """Holds settings as the user gave them; ``None`` means "as the preset says"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str = "injected-thoughts"
    preset: str | None = None
    """Name of the preset; by default the experiment's own."""
    preset_data: dict[str, Any] | None = None
    """A user's own wording instead of a preset that ships; ``preset`` is then the file's name."""
    model: str
    backend: str = "auto"
    device: str | None = None
    dtype: str | None = None
    quantize: str | None = None
    kv_bits: Literal[4, 8] | None = None
    """Bits of quantised keys and values."""
    adapter: str | None = None
    """Low-rank adapter that the model speaks with: a folder, a hub id, or one that ships."""
    dialogue: Literal["chat", "plain"] | None = None
    """How dialogues are rendered: by the chat template, or plainly as for base models; by default as the model."""
    concepts: Words = ("set:blueprint",)
    extraction: dict[str, Any] | None = None
    """How vectors are extracted, where it differs from the preset; the keys of its table ``[extraction]``."""
    vectors: dict[str, VectorReference] | None = None
    """Imported vectors by name, which ``concepts`` name as ``vector:NAME``; filled in from the store where left out."""
    any_word: bool = False
    """Accept words that are not in the concept library."""
    own_concepts: OwnConcepts | None = None
    """What files of concepts say (``concept_file``), beside the concepts that ship."""
    layers: Layers | None = None
    """Indices, or depth fractions between 0 and 1."""
    strengths: Strengths | None = None
    unit: Unit | None = None
    transform: Transform = "none"
    trials: Trials | None = None
    """Number of trials for each concept, layer and strength."""
    controls: Controls | None = None
    """A suite of controls; a number: that many uninjected trials in the one shared pool, and no other control; or names
    of control arms, beside the pool (injected thoughts only)."""
    window: WindowName | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: Tokens | None = None
    """Most tokens of a reply; where the subject thinks, of its answer."""
    thinking: ThinkingMode | None = None
    """Whether the subject thinks before it answers: ``off`` by its template's switch, ``on``, or ``empty``: an empty
    block of thought is put in its mouth. ``None`` is ``off`` where the template has a switch or knows no thoughts."""
    thinking_tokens: Tokens | None = None
    """Most tokens of a thought, with ``thinking = "on"``; then it is closed by force and the answer follows."""
    seed: int = Field(default=0, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of one experiment alone; see its ``Options``."""

    @property
    def library(self) -> Library:
        """Return the concepts that the study knows: its own and those that ship."""
        return library_with(self.own_concepts)

    @property
    def resolved_concepts(self) -> dict[str, tuple[Concept, VectorReference | None]]:
        """Return the word -> concept, with the imported vector it comes with.

        Raises:
            UsageError: an unknown name.
        """
        return resolve_concepts(self.concepts, self.any_word, self.vectors or {}, self.library)

    def resolve(self, preset: Preset) -> Study:
        """Fill what is open from the preset.

        Raises:
            UsageError: repeats that would be copies of each other, or a budget for thoughts that are not wanted.
        """
        defaults = preset.defaults.model_dump()
        study = self.model_copy(
            update={
                **{name: value for name, value in defaults.items() if getattr(self, name, None) is None},
                "options": {**preset.options, **self.options},
            }
        )
        if study.thinking == "on":
            study = study.model_copy(update={"thinking_tokens": study.thinking_tokens or THINKING_TOKENS})
        elif study.thinking_tokens is not None:
            raise UsageError(
                "thinking_tokens: only thoughts have this budget: add --thinking on", setting="thinking_tokens"
            )
        numbers = study.options.get("trial_numbers", 1)
        texts = numbers if isinstance(numbers, int) else 1
        for name, count in (("trials", study.trials), ("controls", study.controls)):
            if study.temperature == 0 and isinstance(count, int) and count > texts:
                raise UsageError(
                    f"{name}: at temperature 0 every repeat of a trial gives the same text: use --{name} 1, or "
                    "--temperature 1",
                    setting=name,
                )
        return study


def make_study(**settings: Any) -> Study:
    """Validate settings.

    Raises:
        UsageError: one line that names the first wrong setting.
    """
    try:
        return Study(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = str(first["loc"][0]) if first["loc"] else ""
        what = reason_of(first)
        if first["type"] == "tuple_type":
            what = f"this is a list: write {where} = [{json.dumps(first['input'], default=str)}]"
        raise UsageError(f"{where}: {what}" if where else what, setting=where or None) from None
