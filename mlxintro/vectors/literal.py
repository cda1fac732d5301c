"""Is a vector the concept's, or the carrier of one literal token?

Prompts with and without a concept often differ by one word. A vector made of them may do nothing but write that word:
in one replication directions from pairs put a literal token out in six of six replies, and the whole effect vanished
once that token was banned. So the tokens that tell the prompts apart are looked for, and the logit lens says what the
vector writes: the literal token alone, or the concept's other names as well. That costs one product with the
unembedding and no forward pass. It is a warning, not a proof: ``steer --validate`` tests the outcome.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from mlxintro.backends.base import Backend, Float32, Tokenizer
from mlxintro.protocol.concepts import custom, library, same_word
from mlxintro.protocol.spelling import comparable
from mlxintro.vectors.reading import PromptReading
from mlxintro.vectors.vector import ConceptVector

DEPTH = 0.66
"""Where the vector is looked at: the depth at which it is mostly injected."""
_MOST, _FEW = 0.9, 0.1
"""A literal token stands in at least so many of the positive prompts, and in at most so many of the negative ones."""
_PROMOTED, _NEAR = 0.001, 0.01
"""Share of the vocabulary that a token is among when the vector writes it, and when it leans towards it."""
_SEEN = 50
"""Prompts of either side that are looked at."""
_SHOWN = 5

LiteralFinding = Literal["no literal token", "not written", "with other names", "alone", "no other name known"]


@dataclass(frozen=True, slots=True)
class LiteralCheck:
    """Says what a vector writes, by the logit lens, beside the tokens that tell its prompts apart."""

    tokens: tuple[str, ...]
    """Tokens in nearly all prompts with the concept and in hardly any without it."""
    layer: int
    rank: int | None
    """Best place of such a token among all that the vector writes, from 1; ``None`` where there is none."""
    other_rank: int | None
    """Best place of another name of the concept; ``None`` where none is known."""
    vocabulary: int
    first: tuple[str, ...]
    """The tokens that the vector writes most."""

    @property
    def finding(self) -> LiteralFinding:
        """Return what that comes to."""
        if self.rank is None:
            return "no literal token"
        if self.rank > max(1, _PROMOTED * self.vocabulary):
            return "not written"
        if self.other_rank is None:
            return "no other name known"
        return "with other names" if self.other_rank <= _NEAR * self.vocabulary else "alone"

    @property
    def warning(self) -> str:
        """Return one line for people; empty where there is nothing to warn of."""
        tokens = " ".join(token.strip() for token in self.tokens)
        place = f"writes {tokens!r} (place {self.rank} of {self.vocabulary} in the logit lens at layer {self.layer})"
        if self.finding == "alone":
            return (
                f"{place} and none of the concept's other names (best place {self.other_rank}): it may carry the "
                "literal token and not the concept; see with `mlxintro steer`"
            )
        return ""

    def as_text(self) -> dict[str, str]:
        """Return the text that goes into a vector's metadata."""
        return {"literal": json.dumps({**asdict(self), "finding": self.finding}, ensure_ascii=False)}


def stored_check(vector: ConceptVector) -> LiteralCheck | None:
    """Return the check that was stored with a vector; ``None`` for vectors from before there was one."""
    try:
        plain = json.loads(vector.provenance["literal"])
        plain.pop("finding")
        return LiteralCheck(**{**plain, "tokens": tuple(plain["tokens"]), "first": tuple(plain["first"])})
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def check(backend: Backend, vectors: Sequence[ConceptVector]) -> list[LiteralCheck]:
    """Check vectors of one model."""
    if not vectors:
        return []
    layers = [_layer(vector, backend.info.layer(DEPTH)) for vector in vectors]
    rows = np.stack(
        [
            _scaled(vector.direction[layer], float(vector.resid_norms[layer]))
            for vector, layer in zip(vectors, layers, strict=True)
        ]
    )
    tokens_of: dict[PromptReading, frozenset[int]] = {}
    found = []
    for vector, layer, row in zip(vectors, layers, rows, strict=True):
        (written,) = backend.lens(row[None])
        literal = _literal_tokens(vector, backend.tokenizer, tokens_of)
        pieces = tuple(backend.tokenizer.pieces(literal))
        forms = _forms(backend.tokenizer, pieces, literal)
        others = _other_names(backend.tokenizer, vector.recipe.word, pieces, forms)
        first = np.argsort(-written, kind="stable")[:_SHOWN]
        found.append(
            LiteralCheck(
                pieces,
                layer,
                _best_rank(written, forms),
                _best_rank(written, others),
                len(written),
                tuple(backend.tokenizer.pieces([int(token) for token in first])),
            )
        )
    return found


def _layer(vector: ConceptVector, wanted: int) -> int:
    """The wanted layer, or the nearest one at which the vector has a direction."""
    given = np.flatnonzero(vector.norms)
    return int(given[np.argmin(np.abs(given - wanted))]) if len(given) else wanted


def _scaled(direction: Float32, norm: float) -> Float32:
    """The direction with the stream's norm, so that the final norm meets what it is used to."""
    length = float(np.linalg.norm(direction.astype(np.float64))) or 1.0
    return np.asarray(direction * (norm / length), np.float32)


def _literal_tokens(
    vector: ConceptVector, tokenizer: Tokenizer, tokens_of: dict[PromptReading, frozenset[int]]
) -> tuple[int, ...]:
    """Token ids that tell a recipe's positive prompts from its negative ones, in the order of the first prompt."""

    def sets(readings: Sequence[PromptReading]) -> list[frozenset[int]]:
        for reading in readings[:_SEEN]:
            if reading not in tokens_of:
                tokens_of[reading] = frozenset(reading.place(tokenizer)[0])
        return [tokens_of[reading] for reading in readings[:_SEEN]]

    positives = vector.recipe.positives()
    if not positives:
        return tuple(dict.fromkeys(tokenizer.encode(f" {vector.recipe.word}").tokens))
    with_it, without = sets(positives), sets(vector.recipe.negatives())

    def share(token: int, among: Sequence[frozenset[int]]) -> float:
        return sum(token in one for one in among) / len(among)

    order = dict.fromkeys(positives[0].place(tokenizer)[0])
    return tuple(token for token in order if share(token, with_it) >= _MOST and share(token, without) <= _FEW)


def _forms(tokenizer: Tokenizer, pieces: Sequence[str], literal: Sequence[int]) -> set[int]:
    """The literal tokens, and their other spellings that are one token: with a space or without, in either case."""
    found = set(literal)
    for piece in pieces:
        bare = piece.strip()
        for spelling in {bare, bare.lower(), bare.capitalize()} if bare.isalpha() else ():
            for text in (spelling, f" {spelling}"):
                tokens = tokenizer.encode(text).tokens
                if len(tokens) == 1:
                    found.add(tokens[0])
    return found


def _other_names(tokenizer: Tokenizer, word: str, pieces: Sequence[str], forms: set[int]) -> set[int]:
    """First tokens of the concept's names that are not the literal text itself."""
    concept = library().find(word) or custom(word)
    said = "".join(pieces).strip()
    found = set()
    for name in concept.names:
        if said and (same_word(name, said) or comparable(name).startswith(comparable(said))):
            continue
        tokens = tokenizer.encode(f" {name}").tokens
        # A lone space says nothing of the word after it.
        first = next((token for token in tokens if tokenizer.decode([token]).strip()), None)
        if first is not None and first not in forms:
            found.add(first)
    return found


def _best_rank(written: Float32, tokens: set[int]) -> int | None:
    """Place, from 1, of the token that is written most among these."""
    if not tokens:
        return None
    best = max(float(written[token]) for token in tokens)
    return 1 + int((written > best).sum())
