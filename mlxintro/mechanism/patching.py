"""Activation patching: which activations carry an injected thought into the answer?

The same dialogue is run twice, clean and with a vector injected. Then the activation of one place in the network, over
one group of positions, is taken from one run and put into the other: the clean one into the injected run (does the
report vanish?), and the injected one into the clean run (does it appear?). What is read is in ``readings``.

Every patch is an injection that replaces, proven position by position in the forward pass; a proof that does not fit is
an error. All patches of one run share what the run itself has read up to the first patched position, injection
included, and run many rows at a time. Where both runs have the same activation, bit for bit, nothing is run. Two rows
put *every* layer's activations in at once: these must come to exactly the other run, or nothing is handed out.

Sources: Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (causal tracing); Heimersheim and Nanda
2024, "How to use and interpret activation patching" (both directions; log-odds as the outcome).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from mlxintro.backends.base import Backend, Float32, Injection, Prompt, Proof, Site
from mlxintro.backends.errors import InjectionError, UsageError
from mlxintro.mechanism.readings import AnswerOptions, AnswerReading

Direction = Literal["removed", "added"]
"""``removed``: the clean activation in the injected run. ``added``: the injected activation in the clean run."""
DIRECTIONS: tuple[Direction, ...] = ("removed", "added")

_EXACT = {"float32": 1e-3}
_ROUNDED = 0.25
"""Nats that a run with everything patched may differ from the run it must equal: by rounding, which batches of another
shape do otherwise. Models in 16 bits round a thousand times as much."""


class PositionGroup(NamedTuple):
    """Names positions ``[start, stop)`` of a dialogue that are patched together."""

    name: str
    start: int
    stop: int


class Patch(NamedTuple):
    """Names one cell of a map: what is patched, and where."""

    layer: int
    site: Site
    group: str
    head: int | None = None
    """Head that is patched at the site ``head_out``; ``None`` for all of them at once."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchedDialogue:
    """Holds a dialogue, what is injected into it, and where it is patched."""

    tokens: tuple[int, ...]
    injections: tuple[Injection, ...]
    """Into the prompt; windows end with it, so that what is read after it follows from what stands there."""
    groups: tuple[PositionGroup, ...]
    options: AnswerOptions

    def __post_init__(self) -> None:
        n = len(self.tokens)
        for group in self.groups:
            if not 0 <= group.start < group.stop <= n:
                raise UsageError(f"the positions [{group.start}, {group.stop}) of {group.name!r} are not in {n} tokens")
        if any(one.stop is None or one.stop > n for one in self.injections):
            raise UsageError(f"a patched run needs windows that end with the prompt of {n} tokens or before")
        if not self.injections:
            raise UsageError("without an injection both runs are the same: give one to patch")

    @property
    def start(self) -> int:
        """Return the first position that is patched, or changed by the injection."""
        return min([group.start for group in self.groups] + [one.start for one in self.injections])


@dataclass(frozen=True, slots=True, eq=False)
class PatchedRuns:
    """Holds readings of both runs, and of each with one place patched from the other."""

    clean: AnswerReading
    injected: AnswerReading
    removed: Mapping[Patch, AnswerReading]
    """The injected run with the clean activation in one place."""
    added: Mapping[Patch, AnswerReading]
    """The clean run with the injected activation in one place."""
    everything: Mapping[Direction, AnswerReading]
    """Every layer patched at once: ``removed`` equals ``clean``, and ``added`` equals ``injected``."""
    proofs: Mapping[Direction, Mapping[Patch, Proof]] = field(default_factory=dict)
    """What each patch touched, measured in its own forward pass. Places where both runs are the same, bit for bit, are
    not run and have none."""
    injected_proofs: tuple[Proof, ...] = ()
    """Proofs of the dialogue's own injections in the injected run."""

    def share(self, patch: Patch, direction: Direction, outcome: str = "log_odds") -> float:
        """Return how much of the gap between the runs a patch closes: 0 nothing, 1 all of it."""
        return self.shift(patch, direction, outcome) / self.gap(outcome)

    def shift(self, patch: Patch, direction: Direction, outcome: str = "log_odds") -> float:
        """Return by how many nats a patch moves the outcome towards the other run; signed as ``gap``."""
        if direction == "added":
            return self.added[patch].outcome(outcome) - self.clean.outcome(outcome)
        return self.injected.outcome(outcome) - self.removed[patch].outcome(outcome)

    def gap(self, outcome: str = "log_odds") -> float:
        """Return the outcome of the injected run minus that of the clean one, in nats."""
        return self.injected.outcome(outcome) - self.clean.outcome(outcome)


def patches_of(
    layers: Sequence[int],
    sites: Sequence[Site],
    groups: Sequence[PositionGroup],
    heads: int = 0,
) -> list[Patch]:
    """Return every cell of a map, layer by layer.

    Args:
        heads: of a block; the site ``head_out`` then stands for every head by itself, else for all at once.
    """
    by_head: tuple[int | None, ...] = tuple(range(heads)) if heads else (None,)
    return [
        Patch(layer, site, group.name, head)
        for layer in layers
        for site in sites
        for head in (by_head if site == "head_out" else (None,))
        for group in groups
    ]


def patch_runs(backend: Backend, dialogue: PatchedDialogue, patches: Sequence[Patch]) -> PatchedRuns:
    """Run a dialogue clean, injected, and with every patch in both directions.

    Args:
        patches: see ``patches_of``; may hold any cells.

    Raises:
        UsageError: a place that this model does not have.
        InjectionError: a patch is not what was planned, or patching everything does not give the other run.
        OutOfMemory: as for ``Backend.score``.
    """
    recorded = _Recorded(backend, dialogue, patches)
    (clean, _), (injected, injected_proofs) = recorded.score([(), dialogue.injections])
    # Where both runs are the same, below the injection, there is nothing to exchange.
    same = {patch for patch in patches if recorded.same(patch)}
    found: dict[Direction, dict[Patch, AnswerReading]] = {
        "removed": dict.fromkeys(same, injected),
        "added": dict.fromkeys(same, clean),
    }
    everything: dict[Direction, AnswerReading] = {}
    proofs: dict[Direction, dict[Patch, Proof]] = {"removed": {}, "added": {}}
    by_start: dict[int, list[Patch]] = defaultdict(list)
    for patch in patches:
        if patch in same:
            continue
        by_start[recorded.groups[patch.group].start].append(patch)
    for direction in DIRECTIONS:
        # Rows that are patched at one position first have most in common: it is read once for all of them.
        for some in by_start.values():
            placed = [(patch, recorded.groups[patch.group]) for patch in some]
            readings = recorded.score([recorded.row(direction, [one]) for one in placed])
            for patch, (reading, proven) in zip(some, readings, strict=True):
                # The run's own injections come first, the patch last.
                found[direction][patch], proofs[direction][patch] = reading, proven[-1]
        ((everything[direction], _),) = recorded.score([recorded.row(direction, recorded.everything())])
        _check_everything(backend, direction, everything[direction], clean if direction == "removed" else injected)
    removed, added = ({patch: found[direction][patch] for patch in patches} for direction in DIRECTIONS)
    return PatchedRuns(clean, injected, removed, added, everything, proofs, injected_proofs)


class _Recorded:
    """Holds the activations of both runs, and makes rows of one with parts of the other."""

    def __init__(self, backend: Backend, dialogue: PatchedDialogue, patches: Sequence[Patch]) -> None:
        self._backend = backend
        self._dialogue = dialogue
        self._start = dialogue.start
        self.groups = {group.name: group for group in dialogue.groups}
        every = tuple(range(backend.info.layers))
        sites = tuple(dict.fromkeys(("resid_post", *(patch.site for patch in patches))))
        prompts = [Prompt(dialogue.tokens), Prompt(dialogue.tokens, dialogue.injections)]
        where = range(self._start, len(dialogue.tokens))
        self._clean, self._injected = backend.capture(prompts, layers=every, sites=sites, positions=where)

    def everything(self) -> list[tuple[Patch, PositionGroup]]:
        """Return the whole stream from the first changed position on, at every layer."""
        whole = PositionGroup("everything", self._start, len(self._dialogue.tokens))
        return [(Patch(layer, "resid_post", whole.name), whole) for layer in range(self._backend.info.layers)]

    def same(self, patch: Patch) -> bool:
        """Tell whether both runs have the same activation there, bit for bit."""
        placed = patch, self.groups[patch.group]
        return bool(np.array_equal(self._values(*placed, self._clean), self._values(*placed, self._injected)))

    def row(self, direction: Direction, placed: Sequence[tuple[Patch, PositionGroup]]) -> tuple[Injection, ...]:
        """Return what is injected into a row: the run's own injections, then the activations of the other run."""
        base, source = ((self._dialogue.injections, self._clean), ((), self._injected))[direction == "added"]
        return (*base, *(self._replacement(patch, group, source) for patch, group in placed))

    def _values(self, patch: Patch, group: PositionGroup, source: Mapping[Site, Float32]) -> Float32:
        """(positions, size) of a place in one of the runs."""
        values = source[patch.site][patch.layer, group.start - self._start : group.stop - self._start]
        if patch.head is not None:
            size = self._backend.info.head_width
            values = values[:, patch.head * size : (patch.head + 1) * size]
        return values

    def _replacement(self, patch: Patch, group: PositionGroup, source: Mapping[Site, Float32]) -> Injection:
        values = self._values(patch, group, source)
        return Injection(
            patch.layer, np.ascontiguousarray(values), group.start, group.stop, patch.site, "replace", patch.head
        )

    def score(self, rows: Sequence[tuple[Injection, ...]]) -> list[tuple[AnswerReading, tuple[Proof, ...]]]:
        """Read the answers of rows, with the proofs of what was injected into each."""
        options = self._dialogue.options
        prompts = [Prompt(self._dialogue.tokens, injections) for injections in rows]
        scored = self._backend.score_proven(prompts, [options.continuations] * len(rows))
        return [(options.read(one.logprobs), one.proofs) for one in scored]


def _check_everything(backend: Backend, direction: Direction, found: AnswerReading, expected: AnswerReading) -> None:
    allowed = _EXACT.get(backend.info.dtype, _ROUNDED)
    for what, ours, theirs in zip(
        ("yes", "no", "name"), *(dataclasses.astuple(r) for r in (found, expected)), strict=True
    ):
        # Improbable answers are rounded more: the probability itself is what is computed.
        if not abs(ours - theirs) <= allowed * max(1.0, abs(theirs) / 10):
            raise InjectionError(
                f"with every layer patched the log-probability of {what} is {ours:.4f} instead of {theirs:.4f} "
                f"({direction}): run `mlxintro check` on this model and report it as a bug"
            )
