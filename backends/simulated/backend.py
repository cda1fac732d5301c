"""A simulated subject with known answers, behind the same contract as a real model.

Its residual stream is ordinary numbers: every position spells the latest word read, in 80 dimensions of +-1 times a
scale that grows with depth, and carries noise that depends on the context in the others. Vectors are extracted from it
by the usual recipe, injections are added to it, proofs are measured on it, and what the subject says follows from the
change it finds there: an injected concept is named because it can be read back, a random or negated one cannot be.

What it refuses to be is evidence. Its hit and false-alarm rates are parameters (``detector?hit=0.4&fa=0.02``), so that
protocols, graders and statistics can be tested against the truth, and every command tried without a model.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from .. import engine, lanes
from ..base import Backend, Completion, Float32, MemoryUse, ModelInfo, OnToken, Prompt, Proof, Request, Sampling, Site
from ..errors import UsageError
from ..sampling import choose
from .answers import outcomes
from .possible import Dice, PossibleReply
from .stream import GROWTH, SimulatedStream, noise, together
from .subject import FeltInjection, Subject
from .text import CODE, END, TEMPLATE, FakeTokenizer, State, TextReader, mix, spell, turns, unspell

CONTEXT = 8192
REMEMBERED = 2**26
"""Bytes of prompts' streams that are kept: trials of one study take turns over a few dialogues."""
HEADS = 4
CERTAIN = 200.0
"""Logit of the token a reply goes on with; all others are 0, so it is followed at any sensible temperature."""


def load(
    model: str = "detector",
    *,
    device: str | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    batch_size: int | None = None,
) -> FakeBackend:
    """Return a simulated subject, e.g. ``detector``, ``null`` or ``detector?hit=0.4&fa=0.05&delay=0.01``.

    Raises:
        UsageError: for a subject, a parameter or a device it does not have.
    """
    if device not in (None, "cpu") or dtype not in (None, "float32") or quantize not in (None, "none"):
        raise UsageError("the fake backend is float32 on the cpu: leave out --device, --dtype and --quantize")
    return FakeBackend(model, batch_size=batch_size or 16)


class FakeBackend(Backend):
    """Simulates a subject with known answers. Same inputs give the same outputs on every machine."""

    tokenizer: FakeTokenizer
    answers_as_it_reads = False
    """What it says is decided by its subject; its lens shows the stream alone."""

    def __init__(self, model: str, *, batch_size: int = 16) -> None:
        self.subject = Subject.parse(model)
        self.tokenizer = FakeTokenizer(thinks=self.subject.think > 0)
        self.info = ModelInfo(
            model=model,
            revision=self.subject.revision,
            backend="fake",
            device="cpu",
            dtype="float32",
            quantization="none",
            architecture="fake",
            layers=int(self.subject.layers),
            width=int(self.subject.width),
            vocabulary=len(self.tokenizer),
            context=CONTEXT,
            weight_bytes=0,
            chat_template=True,
            template_hash=f"{mix(hash_text(TEMPLATE)):016x}",
            heads=HEADS if self.subject.width % HEADS == 0 else 1,
            head_width=int(self.subject.width) // (HEADS if self.subject.width % HEADS == 0 else 1),
        )
        self.batch_size = batch_size
        self._known: OrderedDict[tuple[int, ...], _Known] = OrderedDict()
        self._unembedding: Float32 | None = None
        self._peak = 0

    def _lens(self, rows: Float32, tokens: Sequence[int] | None) -> Iterator[Float32]:
        """Every whole word's row of the unembedding spells that word, so an injected word is visible in the lens."""
        if self._unembedding is None:
            table = noise(np.arange(self.info.vocabulary, dtype=np.uint64), self.info.width)
            for token, word in self.tokenizer.words():
                table[token, :CODE] = spell(word)
            self._unembedding = table
        scale = np.sqrt(np.mean(np.square(rows, dtype=np.float64), axis=-1, keepdims=True)) + 1e-6
        logits = (rows / scale) @ self._unembedding.T.astype(np.float64) / np.sqrt(self.info.width)
        top = logits.max(axis=-1, keepdims=True)
        logprobs = logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))
        yield np.asarray(logprobs if tokens is None else logprobs[..., list(tokens)], np.float32)

    def memory(self) -> MemoryUse:
        used = psutil.Process().memory_info().rss
        self._peak = max(self._peak, used)
        return MemoryUse(used=used, free=psutil.virtual_memory().available, peak=self._peak)

    def close(self) -> None:
        self._known.clear()
        self._unembedding = None

    def _generate(self, requests: Sequence[Request], on_token: OnToken | None) -> Iterator[Completion]:
        return engine.run(requests, FakeDecoder(self), self.tokenizer, self.batch_size, on_token)

    def _capture(
        self,
        prompts: Sequence[Prompt],
        layers: tuple[int, ...],
        sites: tuple[Site, ...],
        positions: Sequence[tuple[int, ...]],
    ) -> Iterator[tuple[int, dict[Site, Float32], tuple[Proof, ...]]]:
        for index, prompt in enumerate(prompts):
            stream = SimulatedStream(self.clean(prompt.tokens), prompt.injections)
            picked = {site: stream.sites[site][np.ix_(layers, positions[index])] for site in sites}
            yield index, picked, lanes.proofs(prompt, stream.tallies)

    def _score(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> Iterator[tuple[int, int, Float32, tuple[Proof, ...]]]:
        for index, (prompt, options) in enumerate(zip(prompts, continuations, strict=True)):
            reading = self.read(prompt)
            openings = self._openings(self.ways(prompt, reading, Dice("score")))
            known = self.known(prompt.tokens)
            tallies = SimulatedStream(known.updates[:, :, :-1], prompt.injections).tallies if prompt.injections else {}
            for number, option in enumerate(options):
                reader = known.reader.fork()
                states = [reader.feed(token) for token in option[:-1]]
                met = tallies
                if states and prompt.injections:
                    more = SimulatedStream(self.updates(states), prompt.injections, first=len(prompt.tokens))
                    met = together(tallies, more.tallies)
                yield index, number, self._logprobs(option, openings, reading), lanes.proofs(prompt, met)

    def clean(self, tokens: tuple[int, ...]) -> Float32:
        """Return the stream's updates without any injection, float32 (layers, 2, positions, width)."""
        return self.known(tokens).updates[:, :, :-1]

    def known(self, tokens: tuple[int, ...]) -> _Known:
        """Return what reading a prompt gives, kept for the trials that share it."""
        if tokens in self._known:
            self._known.move_to_end(tokens)
            return self._known[tokens]
        reader = TextReader(self.tokenizer)
        states = [reader.feed(token) for token in tokens]
        self._known[tokens] = known = _Known(self.updates([*states, reader.fork().feed(END)]), reader)
        while len(self._known) > 1 and sum(one.updates.nbytes for one in self._known.values()) > REMEMBERED:
            self._known.popitem(last=False)
        return known

    def updates(self, states: Sequence[State]) -> Float32:
        """Return what attention and MLP of every layer add at positions with these states."""
        width, layers = self.info.width, self.info.layers
        seeds = np.array([state.hash for state in states], np.uint64)
        keys = np.array([0, *map(mix, range(layers))], np.uint64)[:, None] ^ seeds
        signs = noise(keys.ravel(), width).reshape(layers + 1, len(states), width)
        targets = np.zeros((layers + 1, len(states), width), np.float32)
        # Noise that all layers share, and some of each layer's own.
        targets[1:] = np.float32(0.8) * signs[:1] + np.float32(0.6) * signs[1:]
        targets[1:, :, :CODE] = [spell(s.word) + s.weight * (spell(s.thought) if s.thought else 0) for s in states]
        targets[1:] *= (GROWTH ** np.arange(layers, dtype=np.float32))[:, None, None]
        steps = np.diff(targets, axis=0)
        return np.stack([0.4 * steps, 0.6 * steps], axis=1).astype(np.float32)

    def read(self, prompt: Prompt) -> FeltInjection:
        """Return what the injections of a prompt amount to, from the change of the stream itself.

        One position beyond the prompt is read too, so that a window that begins with the reply is noticed.
        """
        if not prompt.injections:
            return FeltInjection()
        updates = self.known(prompt.tokens).updates
        base, changed = SimulatedStream(updates, ()).residual, SimulatedStream(updates, prompt.injections).residual
        size = np.linalg.norm(changed - base, axis=-1) / np.linalg.norm(base, axis=-1)
        at = np.flatnonzero(size[-1] > 0)
        if len(at) == 0:
            return FeltInjection()
        # What another run put in a position's place is read as the difference it makes, as anything added is; a single
        # vector in the place of activations is read as it stands.
        exchanged = any(injection.vector.ndim > 1 for injection in prompt.injections)
        patched = not exchanged and any(injection.operation == "replace" for injection in prompt.injections)
        final = (changed[-1, at] if patched else changed[-1, at] - base[-1, at]).mean(axis=0)
        added = [injection for injection in prompt.injections if injection.operation == "add"] or prompt.injections
        layers = {injection.layer for injection in added if np.any(injection.vector)}
        if exchanged:
            layers = _changed_at(changed - base, base)
        # What is taken out again at a later layer was felt at its own, and colours no word any more.
        first = min(layers)
        felt = final if patched else (changed[first, at] - base[first, at]).mean(axis=0)
        return FeltInjection(
            word=unspell(final[:CODE]),
            felt=unspell(felt[:CODE]),
            speaking=bool(at[-1] >= len(prompt.tokens)),
            strength=max(float(size[layer, at].mean()) for layer in layers),
            depth=sum(layers) / len(layers) / self.info.layers,
            positions=tuple(int(i) for i in at if i < len(prompt.tokens)),
            sizes=tuple(float(size[-1, i]) for i in at if i < len(prompt.tokens)),
        )

    def ways(self, prompt: Prompt, reading: FeltInjection, dice: Dice) -> list[PossibleReply]:
        return outcomes(self.subject, turns(prompt.tokens, self.tokenizer), reading, dice)

    def script(self, prompt: Prompt, reading: FeltInjection, seed: int) -> tuple[int, ...]:
        """Return the reply, decided by the row's own seed, what it was asked and what it was injected with."""
        what = (reading.word, f"{reading.strength:.3g}", f"{reading.depth:.3f}")
        dice = Dice(seed, hash_text(self.tokenizer.decode(prompt.tokens)), what)
        drawn, total = dice.uniform(), 0.0
        ways = self.ways(prompt, reading, dice)
        for way in ways:
            total += way.probability
            if drawn < total:
                break
        return (*self.tokenizer.encode(dice.choice(way.replies)).tokens, END)

    def _openings(self, ways: Sequence[PossibleReply]) -> list[tuple[tuple[int, ...], float]]:
        """The first words of the possible replies as tokens, each with its probability."""
        openings: list[tuple[tuple[int, ...], float]] = []
        for way in ways:
            rest = 1.0
            for i, text in enumerate(way.openings):
                share = rest if i == len(way.openings) - 1 else 0.7 * rest
                rest -= share
                openings.append(((*self.tokenizer.encode(text).tokens, END), way.probability * share))
        return openings

    def _logprobs(
        self, option: Sequence[int], openings: Sequence[tuple[tuple[int, ...], float]], reading: FeltInjection
    ) -> Float32:
        """A mixture: the openings of the possible replies, pieces of the injected word, and anything at all."""
        forms = [reading.word, reading.word.capitalize()] if reading.word else []
        words = [self.tokenizer.encode(space + form).tokens for form in forms for space in ("", " ")]
        pull = 0.3 * min(1.0, reading.strength / self.subject.weak) if words else 0.0
        result = []
        for k, token in enumerate(option):
            before = tuple(option[:k])
            alive = [(script[k], w) for script, w in openings if len(script) > k and script[:k] == before and w > 0]
            nexts = {word[0] for word in words}
            nexts |= {w[j] for w in words for j in range(1, len(w)) if k >= j and before[k - j :] == w[:j]}
            total = sum(weight for _, weight in alive)
            spoken = sum(weight for t, weight in alive if t == token) / total if alive else 0.0
            said = 1 / len(nexts) if token in nexts else 0.0
            free = 0.02 if alive else 1 - pull
            p = (1 - pull - free) * spoken + pull * said + free / self.info.vocabulary
            result.append(np.log(p))
        return np.array(result, np.float32)


def _changed_at(change: Float32, base: Float32) -> set[int]:
    """Layers at which a stream is made to differ, beyond what the layer before hands on; the last one at least."""
    new = np.diff(change, axis=0, prepend=np.zeros_like(change[:1]))
    relative = np.linalg.norm(new, axis=-1).max(axis=1) / np.linalg.norm(base, axis=-1).mean(axis=1)
    return set(np.flatnonzero(relative > 1e-4).tolist()) or {len(change) - 1}


@dataclass(frozen=True, slots=True)
class _Known:
    """Holds a prompt that has been read."""

    updates: Float32
    """Updates that ``FakeBackend.clean`` gives at the prompt's positions and at one more, where the reply begins."""
    reader: TextReader
    """Reader in its state after the prompt; to be forked, not fed."""


class FakeDecoder:
    """Holds rows in flight. Implements ``backends.engine.Decoder``."""

    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend
        self._rows: list[_SimulatedRow] = []

    def admit(self, prompts: Sequence[Prompt]) -> None:
        self._rows += [_SimulatedRow(self._backend, prompt) for prompt in prompts]

    def sample(self, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
        if self._backend.subject.delay:
            time.sleep(self._backend.subject.delay)
        chosen: list[int | None] = []
        for row, sampling, draw in zip(self._rows, samplings, draws, strict=True):
            logits = row.logits(sampling.seed)
            chosen.append(choose(logits, sampling.temperature, sampling.top_p, float(draw)))
        return chosen

    def proofs(self, row: int) -> tuple[Proof, ...]:
        return lanes.proofs(self._rows[row].prompt, self._rows[row].tallies)

    def keep(self, rows: Sequence[int]) -> None:
        self._rows = [self._rows[at] for at in rows]

    def step(self, tokens: Sequence[int]) -> None:
        fed = [(row, row.feed(token)) for row, token in zip(self._rows, tokens, strict=True)]
        touched = [(row, state) for row, state in fed if row.touched]
        if touched:
            updates = self._backend.updates([state for _, state in touched])
            for at, (row, _) in enumerate(touched):
                row.forward(updates[:, :, at : at + 1])


class _SimulatedRow:
    def __init__(self, backend: FakeBackend, prompt: Prompt) -> None:
        self.prompt = prompt
        self._backend = backend
        self._reader = backend.known(prompt.tokens).reader.fork()
        self._position = len(prompt.tokens)
        self.tallies = (
            SimulatedStream(backend.clean(prompt.tokens), prompt.injections).tallies if prompt.injections else {}
        )
        self._script: tuple[int, ...] | None = None

    def logits(self, seed: int) -> Float32:
        if self._script is None:
            self._script = self._backend.script(self.prompt, self._backend.read(self.prompt), seed)
        logits = np.zeros(self._backend.info.vocabulary, np.float32)
        said = self._position - len(self.prompt.tokens)
        logits[self._script[said] if said < len(self._script) else END] = CERTAIN
        return logits

    def feed(self, token: int) -> State:
        self._position += 1
        return self._reader.feed(token)

    @property
    def touched(self) -> bool:
        """Tell whether any window covers the latest position."""
        at = self._position - 1
        return any(i.start <= at and (i.stop is None or at < i.stop) for i in self.prompt.injections)

    def forward(self, updates: Float32) -> None:
        """Run the latest position through the stream, for what is injected into it."""
        stream = SimulatedStream(updates, self.prompt.injections, first=self._position - 1)
        self.tallies = together(self.tallies, stream.tallies)


def hash_text(text: str) -> int:
    """Return 64 bits of a text, the same on every machine."""
    value = 0
    for byte in text.encode("utf-8", "replace"):
        value = mix(value ^ byte)
    return value
