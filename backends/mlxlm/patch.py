"""Touching the residual stream of an mlx-lm model without changing the model.

mlx-lm reads attributes off its blocks and compares their identity, so a block is never wrapped: for the length of one
forward call, the *class* of that one instance is a subclass whose ``__call__`` runs the original and hands the output
to a hook. Attributes, identity and parameter paths stay, and nothing of the model is copied. Knows nothing of caches,
tokens or sampling; positions come from the caller and are never inferred from calls or caches.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from ..base import OPERATIONS, Prompt, Proof, Site
from ..errors import ModelError
from ..lanes import NEVER, InjectionTally, Lane, LayerSite, lay_out, proofs

Hook = Callable[[mx.array], mx.array]
"""Takes an activation (rows, positions, size) and returns what takes its place."""

Positions = NDArray[np.int32]
"""(rows, n): absolute positions of one forward call, -1 for padding."""

Mask = NDArray[np.bool_]

_POST_NORMS: dict[Site, tuple[str, ...]] = {
    "attn_out": ("post_attention_layernorm", "post_self_attn_layernorm"),
    "mlp_out": ("post_feedforward_layernorm", "post_mlp_layernorm"),
}
_BRANCHES: dict[Site, tuple[str, ...]] = {
    "attn_out": ("self_attn", "attention", "attn"),
    "mlp_out": ("mlp", "feed_forward", "block_sparse_moe"),
}


_PROJECTIONS = ("o_proj", "out_proj", "dense", "c_proj", "wo")
"""What takes the heads' outputs into the stream, in the module of attention."""


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks of an mlx-lm model, in order.

    Raises:
        ModelError: the architecture keeps them somewhere unknown.
    """
    for owner in (model, getattr(model, "model", None), getattr(model, "language_model", None)):
        blocks = getattr(owner, "layers", None)
        if isinstance(blocks, list) and blocks and all(isinstance(block, nn.Module) for block in blocks):
            return list(blocks)
    kind = getattr(model, "model_type", type(model).__module__)
    raise ModelError(f"no list of blocks found in the MLX architecture {kind}: use --backend torch for this model")


def site_module(block: nn.Module, site: Site) -> nn.Module:
    """Return the module inside a block whose output is a site of the contract; for ``head_out``, whose input is.

    Where a family normalises what a sublayer adds (Gemma 2 and 3, OLMo 2), that norm is the module. A Llama block has
    a ``post_attention_layernorm`` too, but it stands before the MLP; the norm after the MLP tells the two apart.

    Raises:
        ModelError: the block has no such part.
    """
    if site == "resid_post":
        return block
    if site == "head_out" and (projection := head_projection(block)) is not None:
        return projection
    sandwiched = any(getattr(block, name, None) is not None for name in _POST_NORMS["mlp_out"])
    names = (_POST_NORMS if sandwiched else _BRANCHES).get(site, ())
    for name in names:
        module = getattr(block, name, None)
        if isinstance(module, nn.Module):
            return module
    raise ModelError(
        f"the MLX architecture {type(block).__module__.rpartition('.')[2]} has no {site} that can be reached: "
        "use the site resid_post"
    )


def head_projection(block: nn.Module) -> nn.Module | None:
    """Return the module that takes what the heads of a block give into the stream; ``None`` where none is known."""
    attention = next((part for name in _BRANCHES["attn_out"] if (part := getattr(block, name, None)) is not None), None)
    found = next((part for name in _PROJECTIONS if (part := getattr(attention, name, None)) is not None), None)
    return found if isinstance(found, nn.Module) else None


@contextmanager
def patched(hooks: Sequence[tuple[nn.Module, Hook]], inputs: Set[int] = frozenset()) -> Iterator[None]:
    """Route the outputs of modules through hooks while the block runs; afterwards the modules are as before.

    Args:
        hooks: each module at most once.
        inputs: which of the hooks take what goes into the module instead, by their number.
    """
    entered: list[tuple[nn.Module, type]] = []
    try:
        for number, (module, hook) in enumerate(hooks):
            original: Any = type(module)
            module.__class__ = _subclass(original, number in inputs)
            entered.append((module, original))
            vars(module)[_slot(original)] = hook
        yield
    finally:
        for module, original in reversed(entered):
            module.__class__ = original
            vars(module).pop(_slot(original), None)


@functools.cache
def _subclass(original: type, takes_input: bool) -> type:
    """What a module of this class becomes while patched. Made once: making a class takes as long as a block's call."""
    slot = _slot(original)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        hook: Hook = vars(self)[slot]
        if takes_input:
            return original.__call__(self, hook(args[0]), *args[1:], **kwargs)
        output = original.__call__(self, *args, **kwargs)
        if isinstance(output, tuple):
            return (hook(output[0]), *output[1:])
        return hook(output)

    names = {"__call__": call, "__module__": original.__module__, "__qualname__": original.__qualname__}
    return type(original.__name__, (original,), names)


def _slot(original: type) -> str:
    """Where an instance keeps its hook: not among its parameters, and apart for every level of nested patches."""
    return f"_hook_{len(original.__mro__)}"


class MLXLane:
    """Holds one lane on the device, with what it has done to each row so far.

    Windows are compared with positions on the host, where both are known; the mask that comes of it is the one that
    is applied, and it is counted only when a forward call applies it.
    """

    def __init__(self, lane: Lane) -> None:
        self.owners = lane.owners
        self._starts, self._stops = lane.starts[:, None], lane.stops[:, None]
        self._operations = sorted(set(lane.operations[lane.owners >= 0].tolist()))
        self._codes = mx.array(lane.operations)[:, None, None]
        self._vectors = mx.array(lane.vectors)
        self._spans = lane.spans[:, None]
        self._columns = mx.array(lane.columns)[:, None, :]
        rows = len(lane.owners)
        self._touched = np.zeros(rows, np.int64)
        self._first, self._last = np.full(rows, NEVER), np.full(rows, -1)
        self._change, self._relative = mx.zeros(rows), mx.zeros(rows)

    def inside(self, positions: Positions) -> Mask:
        """Return which of these positions lie in a window; padding never does."""
        found: Mask = (positions >= self._starts) & (positions < self._stops)
        return found

    def apply(self, stream: mx.array, positions: Positions, inside: Mask) -> mx.array:
        """Inject into (rows, n, width); outside the windows every bit is kept."""
        mask = mx.array(inside)
        before = stream.astype(mx.float32)
        operated = self._operated(before, self._vectors_at(positions)).astype(stream.dtype)
        after = mx.where(mask[..., None] & self._columns, operated, stream)
        moved = after.astype(mx.float32) - before
        moved_square = mx.where(mask, (moved * moved).sum(axis=-1), 0.0)
        square = mx.maximum((before * before * self._columns).sum(axis=-1), 1e-30)
        self._change = self._change + mx.sqrt(moved_square).sum(axis=1)
        self._relative = self._relative + mx.sqrt(moved_square / square).sum(axis=1)
        self._touched = self._touched + inside.sum(axis=1)
        self._first = np.minimum(self._first, np.where(inside, positions, NEVER).min(axis=1))
        self._last = np.maximum(self._last, np.where(inside, positions, -1).max(axis=1))
        return after

    def _vectors_at(self, positions: Positions) -> mx.array:
        """The vectors at positions, (rows, n or 1, size)."""
        if self._vectors.shape[1] == 1:
            return self._vectors
        at = np.clip(positions - self._starts, 0, self._spans - 1)
        return self._vectors[mx.arange(len(at))[:, None], mx.array(at)]

    def _operated(self, before: mx.array, vectors: mx.array) -> mx.array:
        outcomes = {
            "add": lambda: before + vectors,
            "ablate": lambda: before - (before * vectors).sum(axis=-1, keepdims=True) * vectors,
            "replace": lambda: mx.broadcast_to(vectors, before.shape),
        }
        first, *others = self._operations
        after = outcomes[OPERATIONS[first]]()
        for code in others:
            after = mx.where(self._codes == code, outcomes[OPERATIONS[code]](), after)
        return after

    def pending(self) -> tuple[mx.array, mx.array]:
        """Return the measurements, to be evaluated with the step that made them."""
        return self._change, self._relative

    def tally(self, row: int) -> InjectionTally:
        change, relative = (float(np.asarray(sums)[row]) for sums in self.pending())
        return InjectionTally(int(self._touched[row]), int(self._first[row]), int(self._last[row]), change, relative)

    def resume(self, parts: Sequence[tuple[MLXLane | None, int]]) -> None:
        """Count on from what lanes of other batches have counted, whose rows these are.

        Args:
            parts: a lane, or ``None`` where a batch had none here, and its number of rows.
        """
        at = 0
        change, relative = [], []
        for lane, rows in parts:
            if lane is not None:
                for name in ("_touched", "_first", "_last"):
                    getattr(self, name)[at : at + rows] = getattr(lane, name)
            change.append(mx.zeros(rows) if lane is None else lane._change)
            relative.append(mx.zeros(rows) if lane is None else lane._relative)
            at += rows
        self._change, self._relative = mx.concatenate(change), mx.concatenate(relative)

    def count_on(self, other: MLXLane) -> None:
        """Let every row go on from what a lane of one row has counted."""
        for name in ("_touched", "_first", "_last"):
            getattr(self, name)[:] = getattr(other, name)[0]
        rows = len(self.owners)
        self._change, self._relative = mx.repeat(other._change, rows), mx.repeat(other._relative, rows)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row not listed and renumber."""
        for name in ("owners", "_starts", "_stops", "_spans", "_touched", "_first", "_last"):
            setattr(self, name, getattr(self, name)[list(rows)])
        index = mx.array(list(rows))
        for name in ("_codes", "_vectors", "_columns", "_change", "_relative"):
            setattr(self, name, getattr(self, name)[index])


class Interventions:
    """Applies all injections of one batch, and reads on request, as hooks for one forward call at a time."""

    def __init__(self, blocks: Sequence[nn.Module], prompts: Sequence[Prompt], sizes: Mapping[Site, int]) -> None:
        self._blocks = blocks
        self._prompts = list(prompts)
        self._sizes = sizes
        self._lanes = {place: [MLXLane(lane) for lane in lanes] for place, lanes in lay_out(prompts, sizes).items()}

    @contextmanager
    def at(self, positions: Positions, places: Sequence[LayerSite] = ()) -> Iterator[dict[LayerSite, mx.array]]:
        """Patch the model for a forward call.

        Args:
            positions: int32 (rows, n), absolute, -1 for padding.
            places: activations to keep, as they are after every injection there.

        Yields:
            What is kept, filled by the forward call: (rows, n, size) each, not evaluated.
        """
        seen: dict[LayerSite, mx.array] = {}
        hooks: list[tuple[nn.Module, Hook]] = []
        inputs: set[int] = set()
        for place in dict.fromkeys([*self._lanes, *places]):
            lanes = ((lane, lane.inside(positions)) for lane in self._lanes.get(place, ()))
            active = [(lane, inside) for lane, inside in lanes if inside.any()]
            if active or place in places:
                layer, site = place
                keep = seen if place in places else None
                if site == "head_out":
                    inputs.add(len(hooks))
                hooks.append((site_module(self._blocks[layer], site), _hook(place, active, positions, keep)))
        with patched(hooks, inputs):
            yield seen

    def count_on(self, other: Interventions) -> None:
        """Go on counting from one row, whose injections are the first of every row here."""
        for place, lanes in other._lanes.items():
            for mine, lane in zip(self._lanes[place], lanes, strict=False):
                mine.count_on(lane)

    def pending(self) -> list[mx.array]:
        return [array for lanes in self._lanes.values() for lane in lanes for array in lane.pending()]

    def proofs(self, row: int) -> tuple[Proof, ...]:
        """Return what was done to a live row so far."""
        lanes = (lane for lanes in self._lanes.values() for lane in lanes)
        tallies = {int(lane.owners[row]): lane.tally(row) for lane in lanes if lane.owners[row] >= 0}
        return proofs(self._prompts[row], tallies)

    def copy(self) -> Interventions:
        """Return a copy with counters of its own; call ``keep`` on it before use."""
        twin = copy.copy(self)
        twin._lanes = {place: [copy.copy(lane) for lane in lanes] for place, lanes in self._lanes.items()}
        return twin

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row not listed; one that is listed several times is multiplied."""
        self._prompts = [self._prompts[row] for row in rows]
        for lanes in self._lanes.values():
            for lane in lanes:
                lane.keep(rows)

    def joined(self, other: Interventions) -> Interventions:
        """Return the injections of one's own rows and, numbered after them, of another batch's; both counts go on."""
        both = Interventions(self._blocks, self._prompts + other._prompts, self._sizes)
        for place, lanes in both._lanes.items():
            for depth, lane in enumerate(lanes):
                # A row's injections at a place lie in the same lanes of any batch: in the row's own order.
                lane.resume([(side._lane(place, depth), len(side._prompts)) for side in (self, other)])
        return both

    def _lane(self, place: LayerSite, depth: int) -> MLXLane | None:
        return next(iter(self._lanes.get(place, [])[depth:]), None)


def _hook(
    place: LayerSite,
    lanes: Sequence[tuple[MLXLane, Mask]],
    positions: Positions,
    seen: dict[LayerSite, mx.array] | None,
) -> Hook:
    def hook(stream: mx.array) -> mx.array:
        for lane, inside in lanes:
            stream = lane.apply(stream, positions, inside)
        if seen is not None:
            seen[place] = stream
        return stream

    return hook
