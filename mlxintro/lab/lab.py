"""A lab: one prompt answered with and without a concept's vector while somebody turns the knobs.

It answers one order at a time and tells tokens as they come. Before every token, and between chunks of words of an
extraction, it asks whether the order still stands, and gives it up at once when it does not. The model is as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from mlxintro import data
from mlxintro.backends.base import Backend, Completion, Float32, Message, Prompt, Sampling, TokenEvent
from mlxintro.lab.messages import SIDES, Ask, Done, Extracting, LabEvent, Started, Token, Trace
from mlxintro.protocol import presets
from mlxintro.protocol.concepts import library
from mlxintro.vectors import steering
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.cosines import token_cosines
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.settings import recipe_for
from mlxintro.vectors.vector import ConceptVector

PRESET = "lindsey"
"""Whose extraction recipe is used."""


@dataclass(frozen=True, slots=True)
class ReadyQuestion:
    title: str
    text: str


@cache
def questions() -> tuple[ReadyQuestion, ...]:
    """Return the questions that ship."""
    return tuple(ReadyQuestion(**question) for question in data.load("lab.toml")["question"])


class Superseded(Exception):
    """The order that is being worked on no longer stands."""


class Lab:
    """Holds a loaded model and the vector that was used last.

    Args:
        cache: where vectors are kept.
        tell: told everything that happens.
        stands: whether an order is still to be answered.
        needed: whether the vector of an order is still to be extracted; that takes longest, and serves any layer and
            strength.
    """

    def __init__(
        self,
        backend: Backend,
        cache: VectorCache,
        *,
        tell: Callable[[LabEvent], None],
        stands: Callable[[Ask], bool],
        needed: Callable[[Ask], bool],
    ) -> None:
        self.backend = backend
        self._cache = cache
        self._tell = tell
        self._stands = stands
        self._needed = needed
        self._latest: ConceptVector | None = None

    def answer(self, ask: Ask) -> None:
        """Answer an order: ``Extracting``, ``Started``, ``Token``s, ``Trace``, ``Done``.

        Raises:
            Superseded: it does not stand any more.
            KnownError: it cannot be answered; see ``steering.steer``.
        """
        info = self.backend.info
        layer, readout = info.layer(ask.layer), info.layer(ask.readout)
        vector = self._vector(ask)
        self._check(ask)
        sampling = Sampling(ask.max_tokens, ask.temperature, seed=ask.seed, stop=self.backend.tokenizer.stop_strings)
        messages: list[Message] = [{"role": "system", "content": ask.system}] if ask.system else []
        pair = steering.pair(
            self.backend,
            vector,
            [*messages, {"role": "user", "content": ask.prompt}],
            layer=layer,
            strength=ask.strength,
            unit=ask.unit,
            window=ask.window,
            sampling=sampling,
        )
        dose: dict[str, Any] = {
            name: getattr(pair.dose, name) for name in ("raw", "norm", "resid", "vector_norm", "resid_norm")
        }
        self._tell(Started(number=ask.number, concept=vector.recipe.word, layer=layer, readout=readout, **dose))

        pieces: tuple[list[str], list[str]] = ([], [])

        def on_token(event: TokenEvent) -> None:
            self._check(ask)
            pieces[event.index].append(event.text)
            if event.text:
                self._tell(Token(number=ask.number, side=SIDES[event.index], text=event.text))

        found = sorted(self.backend.generate([pair.plain, pair.steered], on_token), key=lambda one: one.index)
        self._check(ask)
        if ask.trace:
            prompts = [pair.plain.prompt, pair.steered.prompt]
            streams = self._streams(prompts, found, readout)
            control, injected = (tuple(token_cosines(one, vector.direction[readout]).tolist()) for one in streams)
            name, lens = self._lens(streams, vector.recipe.word)
            self._tell(
                Trace(
                    number=ask.number,
                    layer=readout,
                    control=control,
                    injected=injected,
                    control_pieces=_as_long(pieces[0], len(control)),
                    injected_pieces=_as_long(pieces[1], len(injected)),
                    name=name,
                    control_lens=lens[0],
                    injected_lens=lens[1],
                )
            )
        proof = found[1].proofs[0]
        self._tell(Done(number=ask.number, positions=proof.positions, relative_change=proof.relative_change))

    def _vector(self, ask: Ask) -> ConceptVector:
        known = library().find(ask.concept)
        word = known.word if known else ask.concept
        recipe = recipe_for(presets.load(PRESET).extraction, word, self.backend.info)
        if self._latest is None or self._latest.recipe.key != recipe.key:

            def progress(done: int, total: int) -> None:
                if not self._needed(ask):
                    raise Superseded
                self._tell(Extracting(number=ask.number, done=done, total=total))

            self._latest = extract(self.backend, [recipe], self._cache, progress=progress)[recipe.key]
        return self._latest

    def _streams(self, prompts: list[Prompt], found: list[Completion], layer: int) -> list[Float32]:
        """Per reply, ``resid_post`` at every token of the reply, (tokens, width).

        The finished texts are read once more, each under its own injection.
        """
        whole = [Prompt((*p.tokens, *one.tokens), p.injections) for p, one in zip(prompts, found, strict=True)]
        streams = [captured["resid_post"][0] for captured in self.backend.capture(whole, layers=[layer])]
        first = len(prompts[0].tokens)
        return [stream[first:] for stream in streams]

    def _lens(self, streams: list[Float32], word: str) -> tuple[str, list[tuple[float, ...]]]:
        """The first token of a word's name, and its log-probability by the logit lens at every token of the replies."""
        tokenizer = self.backend.tokenizer
        first = tokenizer.encode(f" {word.lower()}").tokens[0]
        logprobs = [tuple(self.backend.lens(stream, [first])[:, 0].tolist()) for stream in streams]
        return tokenizer.pieces([first])[0], logprobs

    def _check(self, ask: Ask) -> None:
        if not self._stands(ask):
            raise Superseded


def _as_long(pieces: list[str], count: int) -> tuple[str, ...]:
    """Return a text for every token: those that end a reply are told to nobody and have none."""
    return tuple((pieces + [""] * count)[:count])
