"""Maps between the residual streams of two models, and vectors carried over by them.

Both models read the same prompts. From the pairs of activations a linear map is learned, orthogonal Procrustes
(Schönemann 1966) or ridge regression, whichever carries the vectors of held-out words better; words that are to be
carried, and held-out words, are never among those it is learned on. For each layer of the target the source's layer is
the one of the same depth, or the one that fits best. Maps learned on pairs in random order are the control: they know
both models and nothing of what belongs together. There are several, which the concepts take in turn, so that a figure
over concepts does not hang on one order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlxintro.analysis.stats import Mean, mean
from mlxintro.backends.base import Backend, Float32, Float64, ModelInfo
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.concepts import library, same_word
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import Progress, extract, read
from mlxintro.vectors.imported import LayerDirections
from mlxintro.vectors.reading import PromptReading, cased
from mlxintro.vectors.settings import ExtractionSettings, recipe_for, shipped_texts

MapKind = Literal["procrustes", "ridge"]
Matching = Literal["depth", "best"]

_HELD_OUT = 5
"""One of so many learning words is held out for the choice of the map."""
_PENALTIES = (1e-4, 1e-2, 1.0)
"""Ridge penalties that are tried, as fractions of the activations' mean variance times their number."""
_REACH = 0.2
"""How far from its own depth the best-fitting layer is looked for."""
PERMUTATIONS = 8
"""Random orders of the pairs; concepts take them in turn."""
FEWEST = 10
"""Words that a map is learned on at least."""


@dataclass(frozen=True, slots=True)
class AlignmentPlan:
    """Says what both models read."""

    concepts: tuple[str, ...]
    """Words whose vectors are carried over."""
    learning: tuple[str, ...]
    """Words the map is learned on, held-out ones included; none of them is a concept in another form."""
    extraction: ExtractionSettings
    templates: tuple[str, ...]
    layers: tuple[int | float, ...]
    """Layers of the target, as indices or depths."""
    matching: Matching = "depth"
    seed: int = 0

    @classmethod
    def of(
        cls,
        concepts: Sequence[str],
        extraction: ExtractionSettings,
        *,
        learning: Sequence[str] | None = None,
        layers: Sequence[int | float] = (0.66,),
        matching: Matching = "depth",
        prompts: int = 4,
        seed: int = 0,
    ) -> AlignmentPlan:
        """Make a plan; words to carry are taken out of those to learn on.

        Args:
            learning: words; every concept and baseline word that ships when ``None``.
            prompts: how many prompts each learning word is read with.

        Raises:
            UsageError: too few words are left to learn on.
        """
        shipped = (*(one.word for one in library().concepts), *library().baseline(extraction.baseline).words)
        given = dict.fromkeys(word.strip().lower() for word in (learning if learning is not None else shipped))
        kept = tuple(word for word in given if not any(same_word(word, concept) for concept in concepts))
        if len(kept) < FEWEST:
            raise UsageError(f"{len(kept)} words are left to learn a map on, and it takes {FEWEST}: give other words")
        others = [one for one in shipped_texts("templates") if one != extraction.template]
        templates = (extraction.template, *others)[:prompts]
        return cls(tuple(concepts), kept, extraction, templates, tuple(layers), matching, seed)


@dataclass(frozen=True, slots=True, eq=False)
class ModelReading:
    """Says what one model gave."""

    info: ModelInfo
    activations: Float32
    """(learning words, prompts, layers, width)."""
    vectors: Mapping[str, Float32]
    """(layers, width) of each concept."""
    held_out: Mapping[str, Float32]
    """(layers, width) of each held-out word, extracted as concepts are."""

    def words_at(self, layer: int, chosen: NDArray[np.int64]) -> Float64:
        """Return (words x prompts, width): what the chosen words do at a layer, beyond what each prompt does.

        Vectors are differences between words, so maps are learned on those, and not on the much larger differences
        between prompts.
        """
        rows = self.activations[chosen, :, layer].astype(np.float64)
        return np.asarray((rows - rows.mean(axis=0)).reshape(-1, self.info.width))


@dataclass(frozen=True, slots=True, eq=False)
class LayerMap:
    """Maps a layer of the source linearly to one of the target."""

    source: int
    target: int
    kind: MapKind
    matrix: Float64
    """(source width, target width); a vector is carried by multiplying from the left."""
    held_out: Mean
    """Cosine of carried with own vectors of held-out words."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Holds maps between two models, and what they carry over."""

    source: str
    target: str
    maps: tuple[LayerMap, ...]
    learned_on: int
    """Words."""
    carried: Mapping[str, LayerDirections]
    permuted: Mapping[str, LayerDirections]
    """Vectors carried by maps that were learned on pairs in another random order for each of the first concepts."""
    unmapped: Mapping[str, LayerDirections]
    """The source's own vectors, where the widths are equal; empty otherwise."""
    own: Mapping[str, LayerDirections]
    """The target's own."""

    def cosines(self, kind: Literal["carried", "permuted", "unmapped"], layer: int) -> Mean:
        """Return the cosine with the target's own vector at a layer: mean and interval over words."""
        vectors: Mapping[str, LayerDirections] = {
            "carried": self.carried, "permuted": self.permuted, "unmapped": self.unmapped,
        }[kind]  # fmt: skip
        return mean([_cosine(_row(one, layer), _row(self.own[word], layer)) for word, one in vectors.items()])

    def figures(self) -> dict[str, Any]:
        """Return what it comes to, as plain data."""
        return {
            "source": self.source,
            "target": self.target,
            "learned_on": self.learned_on,
            "maps": [
                {
                    "layer": one.target,
                    "from": one.source,
                    "map": one.kind,
                    "held_out": one.held_out.as_dict(),
                    **{kind: self.cosines(kind, one.target).as_dict() for kind in _ARMS},
                }
                for one in self.maps
            ],
        }


_ARMS: tuple[Literal["carried", "permuted", "unmapped"], ...] = ("carried", "permuted", "unmapped")


def read_model(
    backend: Backend, plan: AlignmentPlan, cache: VectorCache | None = None, *, progress: Progress | None = None
) -> ModelReading:
    """Read everything that an alignment needs of one model.

    Args:
        cache: where concept vectors are kept.
    """
    readings = [
        [PromptReading(template, plan.extraction.read, cased(word, plan.extraction.case), site=plan.extraction.site)
         for template in plan.templates]
        for word in plan.learning
    ]  # fmt: skip
    found = read(backend, list(dict.fromkeys(one for row in readings for one in row)), progress)
    activations = np.stack([np.stack([found[one] for one in row]) for row in readings])
    held_out = plan.learning[::_HELD_OUT]
    words = (*plan.concepts, *held_out)
    recipes = {word: recipe_for(plan.extraction, word, backend.info) for word in words}
    vectors = extract(backend, recipes.values(), cache)
    by_word = {word: vectors[recipe.key].direction for word, recipe in recipes.items()}
    return ModelReading(
        backend.info,
        activations,
        {word: by_word[word] for word in plan.concepts},
        {word: by_word[word] for word in held_out},
    )


def fit(source: ModelReading, target: ModelReading, plan: AlignmentPlan) -> Alignment:
    """Learn maps for the plan's layers, and carry the concepts over.

    Raises:
        UsageError: a layer that the target does not have.
    """
    layers = list(dict.fromkeys(target.info.layer(layer) for layer in plan.layers))
    orders = [
        np.random.default_rng([plan.seed, number]).permutation(len(plan.learning))
        for number in range(min(PERMUTATIONS, len(plan.concepts)))
    ]
    maps: list[LayerMap] = []
    permuted: list[list[Float64]] = [[] for _ in orders]
    for layer in layers:
        chosen = max(
            (
                _best_map(source, target, candidate, layer, None)
                for candidate in _candidates(source, target, layer, plan)
            ),
            key=lambda one: one.held_out.value or -1.0,
        )
        maps.append(chosen)
        for matrices, order in zip(permuted, orders, strict=True):
            matrices.append(_fitted(chosen.kind, source, target, chosen.source, layer, order))
    site = plan.extraction.site

    def carried(word: str, matrices: Sequence[Float64]) -> LayerDirections:
        rows = {
            one.target: source.vectors[word][one.source].astype(np.float64) @ matrix
            for one, matrix in zip(maps, matrices, strict=True)
        }
        ordered = tuple(sorted(rows))
        return LayerDirections(ordered, np.stack([rows[layer] for layer in ordered]).astype(np.float32), site)

    width = source.info.width
    same = width == target.info.width
    return Alignment(
        source=source.info.model,
        target=target.info.model,
        maps=tuple(maps),
        learned_on=len(plan.learning),
        carried={word: carried(word, [one.matrix for one in maps]) for word in plan.concepts},
        permuted={word: carried(word, permuted[at % len(orders)]) for at, word in enumerate(plan.concepts)},
        unmapped={word: carried(word, [np.eye(width)] * len(maps)) for word in plan.concepts} if same else {},
        own={word: _own(target.vectors[word], layers, site) for word in plan.concepts},
    )


def _own(vector: Float32, layers: Sequence[int], site: Literal["resid_post", "attn_out", "mlp_out"]) -> LayerDirections:
    ordered = tuple(sorted(layers))
    return LayerDirections(ordered, np.ascontiguousarray(vector[list(ordered)]), site)


def _best_map(
    source: ModelReading, target: ModelReading, at: int, layer: int, order: NDArray[np.int64] | None
) -> LayerMap:
    """The kind of map that carries held-out words best, learned without them; then learned on all words."""
    kept = np.arange(len(source.activations)) % _HELD_OUT != 0
    scores: dict[MapKind, Mean] = {}
    for kind in _KINDS:
        matrix = _fitted(kind, source, target, at, layer, order, kept)
        scores[kind] = mean(
            [
                _cosine(vector[at].astype(np.float64) @ matrix, target.held_out[word][layer].astype(np.float64))
                for word, vector in source.held_out.items()
            ]
        )
    best = max(scores, key=lambda kind: scores[kind].value or -1.0)
    return LayerMap(at, layer, best, _fitted(best, source, target, at, layer, order), scores[best])


def _fitted(
    kind: MapKind,
    source: ModelReading,
    target: ModelReading,
    at: int,
    layer: int,
    order: NDArray[np.int64] | None,
    kept: NDArray[np.bool_] | None = None,
) -> Float64:
    """A map's matrix.

    Args:
        order: in which the target's words are paired with the source's; their own when ``None``.
        kept: which words are learned on; all when ``None``.
    """
    chosen = np.arange(len(source.activations)) if kept is None else np.flatnonzero(kept)
    partners = chosen if order is None else order[chosen]
    return _KINDS[kind](source.words_at(at, chosen), target.words_at(layer, partners))


def procrustes(x: Float64, y: Float64) -> Float64:
    """Return (width of x, width of y): the rotation, and one scale, that bring x nearest to y.

    Of different widths the narrower stream is padded with zeros, which gives the nearest map with orthonormal rows or
    columns. Source: Schönemann 1966.
    """
    from scipy.linalg import orthogonal_procrustes

    width = max(x.shape[1], y.shape[1])
    first, second = (np.pad(one, ((0, 0), (0, width - one.shape[1]))) for one in (x, y))
    rotation, scale = orthogonal_procrustes(first, second)
    whole = np.asarray(rotation, np.float64) * (float(scale) / max(float((x**2).sum()), 1e-30))
    return np.asarray(whole[: x.shape[1], : y.shape[1]])


def ridge(x: Float64, y: Float64) -> Float64:
    """Return (width of x, width of y): ridge regression, its penalty chosen by leaving one row out."""
    from sklearn.linear_model import RidgeCV

    size = float((x**2).sum()) / x.shape[1]
    model = RidgeCV(alphas=[share * size for share in _PENALTIES], fit_intercept=False).fit(x, y)
    return np.asarray(model.coef_, np.float64).reshape(y.shape[1], x.shape[1]).T


_KINDS: Mapping[MapKind, Callable[[Float64, Float64], Float64]] = {"procrustes": procrustes, "ridge": ridge}


def _candidates(source: ModelReading, target: ModelReading, layer: int, plan: AlignmentPlan) -> Sequence[int]:
    """Layers of the source that a target's layer may be matched with."""
    deep = source.info.layers
    same = round(layer / max(1, target.info.layers - 1) * (deep - 1))
    if plan.matching == "depth":
        return [same]
    reach = max(1, round(_REACH * deep))
    return range(max(0, same - reach), min(deep, same + reach + 1))


def _row(directions: LayerDirections, layer: int) -> Float64:
    return np.asarray(directions.direction[directions.layers.index(layer)], np.float64)


def _cosine(a: Float64, b: Float64) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0
