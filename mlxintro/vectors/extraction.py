"""Concept vectors: what a word adds to the residual stream, against the average of other words.

A vector is the activation on a prompt such as "Tell me about ocean" minus the mean activation on the same prompt with
baseline words, for every layer from one forward pass per word. The prompt always goes through the chat template, and by
default the activation is read at the last token of the template, where the model is about to reply. The difference is
kept raw; ``ConceptVector.scaled`` turns a strength in any unit into what is added.
Source: Lindsey 2025, "Emergent Introspective Awareness in Large Language Models", appendix on concept vectors.

Nothing here generates text or decides where a vector is injected.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mlxintro.backends.base import Backend, Float32, Message, ModelInfo, Prompt, Tokenizer
from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.protocol.concepts import library
from mlxintro.protocol.hashing import canonical_json, tagged_hash
from mlxintro.protocol.trials import Dose, Transform, Unit, model_key
from mlxintro.protocol.windows import span, token_at

if TYPE_CHECKING:
    from mlxintro.protocol.presets import Extraction
    from mlxintro.vectors.cache import VectorCache

Case = Literal["lower", "as-is", "title"]
Read = Literal["last-template-token", "word", "mean"]
"""Where the activation is taken: the last token of the rendered prompt; the last token of the word itself; the mean
over the tokens of what the user says."""

Progress = Callable[[int, int], None]
"""Called with the number of words read so far and their total."""

_CHUNK = 32
"""Words per call of ``capture``: bounds what is held at once and how long progress stays silent."""

_LIBRARIES = ("mlxintro", "numpy", "safetensors", "torch", "transformers", "mlx", "mlx-lm")


@dataclass(frozen=True, slots=True)
class ExtractionRecipe:
    """Everything a vector depends on; its hash names the vector."""

    word: str
    model: str
    """``trials.model_key`` of the model."""
    baseline: str
    """Name of the word list, for people."""
    baseline_words: tuple[str, ...]
    """The list itself, without the target; a word that stands twice weighs twice."""
    template: str = "Tell me about {word}"
    case: Case = "lower"
    read: Read = "last-template-token"
    method: Literal["word-minus-baseline"] = "word-minus-baseline"

    def __post_init__(self) -> None:
        if self.template.count("{word}") != 1:
            raise UsageError(f"the extraction template {self.template!r} must hold {{word}} exactly once")
        if self.case not in get_args(Case):
            raise UsageError(f"no case called {self.case!r}: choose one of {', '.join(get_args(Case))}")
        if self.read not in get_args(Read):
            raise UsageError(f"no read position called {self.read!r}: choose one of {', '.join(get_args(Read))}")
        if not self.word.strip() or not self.baseline_words:
            raise UsageError(f"a vector of {self.word!r} needs a word, and other words to compare it with")

    @property
    def key(self) -> str:
        return tagged_hash(self)

    @property
    def baseline_key(self) -> str:
        """Names the baseline's mean, which many vectors share."""
        return tagged_hash(["baseline-mean", self.model, self.template, self.case, self.read, self.baseline_words])

    def reading(self, word: str) -> _Reading:
        return _Reading(self.template, self.read, cased(word, self.case))


@dataclass(frozen=True, slots=True)
class _Reading:
    """One activation to take; recipes that share a reading share a forward pass."""

    template: str
    read: Read
    word: str

    def place(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of the prompt, and the positions to read, counted from its end."""
        text = self.template.replace("{word}", self.word)
        said = text.strip()
        message: Message = {"role": "user", "content": said}
        rendered = tokenizer.render([message])
        length = len(rendered.tokens)
        if self.read == "last-template-token":
            return rendered.tokens, (-1,)
        start, stop = span(rendered, said)
        if self.read == "mean":
            return rendered.tokens, tuple(range(start - length, stop - length))
        # The word is looked for inside what the user says: a chat template may well hold the same letters.
        begin = self.template.index("{word}") - (len(text) - len(text.lstrip()))
        last = token_at(rendered, rendered.text.rfind(said) + begin + len(self.word) - 1)
        return rendered.tokens, (last - length,)


def cased(word: str, case: Case) -> str:
    """A word as it stands in the prompt; ``title`` raises the first letter of each part of a name."""
    word = word.strip()
    match case:
        case "lower":
            return word.lower()
        case "title":
            return " ".join(part[:1].upper() + part[1:] for part in word.split(" "))
        case "as-is":
            return word


@dataclass(frozen=True, slots=True, eq=False)
class ConceptVector:
    recipe: ExtractionRecipe
    direction: Float32
    """(layers, width): word minus baseline mean at ``resid_post`` of every layer, not normalised. Read-only."""
    resid_norms: Float32
    """(layers,): mean L2 norm of the baseline words' activations at the place where they are read."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """When and with what it was made; no part of its identity."""

    @property
    def norms(self) -> Float32:
        """(layers,): L2 norm of the raw vector."""
        return np.asarray(np.linalg.norm(self.direction.astype(np.float64), axis=1), np.float32)

    @property
    def content_hash(self) -> str:
        """``sha256:...`` of the numbers."""
        digest = hashlib.sha256(self.direction.astype("<f4").tobytes())
        digest.update(self.resid_norms.astype("<f4").tobytes())
        return f"sha256:{digest.hexdigest()}"

    def scaled(
        self, layer: int, strength: float, unit: Unit, *, transform: Transform = "none", seed: int = 0
    ) -> tuple[Float32, Dose]:
        """What is added at a layer for a strength.

        Args:
            layer: block index.
            strength: in ``unit``; a negative one points the other way, 0 adds exactly nothing.
            transform: ``negate`` turns the vector around; ``random`` puts an isotropic random direction of the same
                norm in its place, ``shuffle`` the vector's own components in random order, both fixed by recipe, layer
                and seed and so the same at every strength.
            seed: of what is random.

        Returns:
            float32 (width,), and the strength in every unit. ``Dose.raw`` carries the sign, of ``negate`` as well.

        Raises:
            UsageError: the layer is not there, the strength is not finite or too large, or the vector is zero.
        """
        if not 0 <= layer < len(self.direction):
            raise UsageError(f"layer {layer} is out of range: the vector has layers 0 to {len(self.direction) - 1}")
        if not math.isfinite(strength):
            raise UsageError(f"a strength must be a finite number, got {strength}")
        raw = self.direction[layer].astype(np.float64)
        norm, resid = float(np.linalg.norm(raw)), float(self.resid_norms[layer])
        if strength == 0:
            return np.zeros(raw.shape, np.float32), Dose(0.0, 0.0, 0.0, norm, resid)
        if norm == 0 or resid == 0:
            raise UsageError(
                f"the vector of {self.recipe.word!r} is zero at layer {layer}, where all words look alike: "
                "choose a later layer"
            )
        multiple = {"raw": strength, "norm": strength / norm, "resid": strength * resid / norm}[unit]
        if transform == "random":
            drawn = self._generator(layer, seed).standard_normal(raw.shape)
            raw = drawn / np.linalg.norm(drawn) * norm
        elif transform == "shuffle":
            raw = self._generator(layer, seed).permutation(raw)
        elif transform == "negate":
            multiple = -multiple
        size = abs(multiple) * norm
        if size > float(np.finfo(np.float32).max):
            raise UsageError(f"strength {strength} ({unit}) exceeds what float32 can hold: choose a smaller one")
        return (raw * multiple).astype(np.float32), Dose(multiple, size, size / resid, norm, resid)

    def _generator(self, layer: int, seed: int) -> np.random.Generator:
        digest = hashlib.blake2b(f"{self.recipe.key}:{layer}:{seed}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))


def recipe_for(extraction: Extraction, word: str, info: ModelInfo) -> ExtractionRecipe:
    """The recipe of a word as a preset extracts it, the word itself left out of the baseline."""
    baseline = library().baseline(extraction.baseline)
    return ExtractionRecipe(
        word=word.strip(),
        model=model_key(info),
        baseline=baseline.name,
        baseline_words=baseline.without(word),
        template=extraction.template,
        case=extraction.case,
        read=extraction.read,
    )


def extract(
    backend: Backend,
    recipes: Iterable[ExtractionRecipe],
    cache: VectorCache | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, ConceptVector]:
    """Extract vectors, or take them from the cache.

    One forward pass per word gives all layers. The baseline is read once for all recipes that share it and its mean is
    cached; with every vector in the cache the model is not used at all. Means and differences are taken in float64.

    Returns:
        Recipe key -> vector.

    Raises:
        UsageError: a recipe is for another model.
        ModelError: activations overflow.
    """
    asked = {recipe.key: recipe for recipe in recipes}
    vectors: dict[str, ConceptVector] = {}
    for recipe in asked.values():
        if recipe.model != model_key(backend.info):
            raise UsageError(f"the vector of {recipe.word!r} is planned for {recipe.model}, not {backend.info.model}")
        kept = _kept_vector(cache, recipe, backend.info)
        if kept is not None:
            vectors[recipe.key] = kept
    missing = [recipe for recipe in asked.values() if recipe.key not in vectors]
    baselines = {recipe.baseline_key: _kept_baseline(cache, recipe.baseline_key) for recipe in missing}

    words = [recipe.reading(recipe.word) for recipe in missing]
    for recipe in missing:
        if baselines[recipe.baseline_key] is None:
            words += [recipe.reading(word) for word in recipe.baseline_words]
    activations = _read(backend, list(dict.fromkeys(words)), progress)

    made = _made_with(backend.info)
    for recipe in missing:
        baseline = baselines[recipe.baseline_key]
        if baseline is None:
            baseline = _Baseline.of([activations[recipe.reading(word)] for word in recipe.baseline_words])
            baselines[recipe.baseline_key] = baseline
            if cache is not None:
                cache.save(recipe.baseline_key, {"mean": baseline.mean, "norms": baseline.norms}, made)
        activation = activations[recipe.reading(recipe.word)]
        direction = (activation.astype(np.float64) - baseline.mean).astype(np.float32)
        vectors[recipe.key] = vector = _frozen(recipe, direction, baseline.norms, made)
        if cache is not None:
            tensors = {"direction": vector.direction, "resid_norms": vector.resid_norms}
            cache.save(recipe.key, tensors, {"recipe": canonical_json(recipe), **made})
    return {key: vectors[key] for key in asked}


@dataclass(frozen=True, slots=True, eq=False)
class _Baseline:
    mean: NDArray[np.float64]
    """(layers, width); kept in float64, so that a vector is the same with and without the cached mean."""
    norms: Float32
    """(layers,): mean of the norms, not norm of the mean."""

    @classmethod
    def of(cls, activations: Sequence[Float32]) -> _Baseline:
        total = np.zeros(activations[0].shape, np.float64)
        norms = np.zeros(len(total), np.float64)
        for activation in activations:
            exact = activation.astype(np.float64)
            total += exact
            norms += np.linalg.norm(exact, axis=1)
        return cls(total / len(activations), (norms / len(activations)).astype(np.float32))


def _read(backend: Backend, readings: Sequence[_Reading], progress: Progress | None) -> dict[_Reading, Float32]:
    """Activations of shape (layers, width), by reading."""
    # Positions are shared by all prompts of one call, so readings are grouped by them.
    groups: dict[tuple[int, ...], list[tuple[_Reading, Prompt]]] = defaultdict(list)
    for reading in readings:
        tokens, positions = reading.place(backend.tokenizer)
        groups[positions].append((reading, Prompt(tokens)))
    activations: dict[_Reading, Float32] = {}
    for positions, members in groups.items():
        for first in range(0, len(members), _CHUNK):
            chunk = members[first : first + _CHUNK]
            captured = backend.capture([prompt for _, prompt in chunk], positions=positions)
            for (reading, _), sites in zip(chunk, captured, strict=True):
                mean = sites["resid_post"].mean(axis=1, dtype=np.float64).astype(np.float32)
                if not np.isfinite(mean).all():
                    raise ModelError(
                        f"activations on {reading.word!r} overflow {backend.info.dtype}: load with --dtype bfloat16"
                    )
                activations[reading] = mean
            if progress is not None:
                progress(len(activations), len(readings))
    return activations


def _kept_vector(cache: VectorCache | None, recipe: ExtractionRecipe, info: ModelInfo) -> ConceptVector | None:
    entry = cache.load(recipe.key) if cache is not None else None
    if entry is None or entry.metadata.get("recipe") != canonical_json(recipe):
        return None
    direction, norms = entry.tensors["direction"], entry.tensors["resid_norms"]
    if direction.shape != (info.layers, info.width):
        return None
    made = {name: value for name, value in entry.metadata.items() if name not in ("recipe", "key", "sha256")}
    return _frozen(recipe, direction, norms, made)


def _kept_baseline(cache: VectorCache | None, key: str) -> _Baseline | None:
    entry = cache.load(key) if cache is not None else None
    return None if entry is None else _Baseline(entry.tensors["mean"], entry.tensors["norms"])


def _frozen(
    recipe: ExtractionRecipe, direction: Float32, resid_norms: Float32, made: Mapping[str, str]
) -> ConceptVector:
    for array in (direction, resid_norms):
        array.setflags(write=False)
    return ConceptVector(recipe, direction, resid_norms, made)


def _made_with(info: ModelInfo) -> dict[str, str]:
    made = {"created": datetime.now(UTC).isoformat(timespec="seconds"), "device": info.device}
    for package in _LIBRARIES:
        with suppress(PackageNotFoundError):
            made[f"version-{package}"] = version(package)
    return made
