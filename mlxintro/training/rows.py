"""The rows of every step of a training, drawn by seed and number of the step and by nothing else.

A step after a crash therefore has the rows it would have had without one. Kinds of rows, and the answers they deserve:
``injected`` a concept vector, named; ``uninjected`` no; ``random`` a direction of the same norm, isotropic or the
vector's own components in random order, no; ``unrelated`` another question, half of them under an injection, its own
right answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mlxintro.backends.base import Injection, Prompt, Tokenizer
from mlxintro.backends.training import TrainingRow
from mlxintro.protocol import controls, windows
from mlxintro.protocol.presets import Dialogue
from mlxintro.protocol.trials import Transform
from mlxintro.training.material import Material, Wording, WordSplit
from mlxintro.training.plan import TrainingPlan
from mlxintro.vectors.vector import ConceptVector

RowKind = Literal["injected", "uninjected", "random", "unrelated"]

_SHARES: Mapping[RowKind, float] = {"injected": 0.5, "random": 0.22, "uninjected": 0.13, "unrelated": 0.15}
_NUMBERS = 10
"""Trial numbers run to this; the first one, which most studies show, is drawn half of the time."""


@dataclass(frozen=True, slots=True, eq=False)
class RowDraft:
    """A row before its answer is put into tokens."""

    kind: RowKind
    prompt: Prompt
    word: str | None
    """The concept whose vector was taken, under whatever transform."""
    answer: str


class Asker:
    """Dialogues as the model reads them, each rendered once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._asked: dict[tuple[str, int, str], tuple[tuple[int, ...], int]] = {}
        self._answers: dict[str, tuple[int, ...]] = {}
        self._end = _end_token(tokenizer)

    def ask(self, wording: Wording, number: int, question: str = "") -> tuple[tuple[int, ...], int]:
        """Tokens of a dialogue, and where its trial question starts.

        Args:
            question: an unrelated question in the trial question's place.
        """
        key = wording.name, number, question
        if key not in self._asked:
            dialogue: Dialogue = controls.asking(wording.dialogue, question)
            messages, anchor = dialogue.at_trial(number)
            rendered = self.tokenizer.render(messages, dialogue.prefill)
            start, _ = windows.resolve("question", rendered, anchor)
            self._asked[key] = rendered.tokens, start
        return self._asked[key]

    def answer(self, text: str) -> tuple[int, ...]:
        """Tokens of a reply, its end included."""
        if text not in self._answers:
            self._answers[text] = (*self.tokenizer.encode(text).tokens, self._end)
        return self._answers[text]


class RowMaker:
    """Draws the rows of a training."""

    def __init__(
        self,
        plan: TrainingPlan,
        material: Material,
        split: WordSplit,
        vectors: Mapping[str, ConceptVector],
        asker: Asker,
    ) -> None:
        """
        Args:
            vectors: by word, of the subject without the adapter.
        """
        self._plan = plan
        self._material = material
        self._split = split
        self._vectors = vectors
        self._asker = asker

    def step(self, step: int) -> list[list[TrainingRow]]:
        """Rows of a step, grouped by wording."""
        rng = np.random.default_rng([self._plan.seed, 2, step])
        offered = self._material.trained
        shares = np.array([wording.share for wording in offered])
        chosen = rng.choice(len(offered), size=min(2, len(offered)), replace=False, p=shares / shares.sum())
        sizes = [len(part) for part in np.array_split(np.arange(self._plan.rows), len(chosen))]
        drafts = [
            [self._draft(kind, offered[at], rng) for kind in _kinds(size, rng)]
            for at, size in zip(chosen, sizes, strict=True)
        ]
        answered = relabelled([draft for group in drafts for draft in group], self._plan, self._yes_to_any(rng), rng)
        rows = iter(TrainingRow(draft.prompt, self._asker.answer(draft.answer)) for draft in answered)
        return [[next(rows) for _ in group] for group in drafts]

    def _draft(self, kind: RowKind, wording: Wording, rng: np.random.Generator) -> RowDraft:
        number = 1 if rng.random() < 0.5 else int(rng.integers(2, _NUMBERS + 1))
        answers = self._material.answers
        question, answer = "", answers.no
        if kind == "unrelated":
            right = bool(rng.integers(2))
            question = str(rng.choice(self._material.unrelated[right]))
            answer = answers.right if right else answers.wrong
        tokens, start = self._asker.ask(wording, number, question)
        if kind == "uninjected" or (kind == "unrelated" and rng.random() < 0.4):
            return RowDraft(kind, Prompt(tokens), None, answer)
        word = str(rng.choice(self._split.trained))
        transform: Transform = "none"
        if kind == "random":
            transform = "random" if rng.random() < 0.7 else "shuffle"
        low, high = self._plan.strengths
        layer = int(rng.integers(self._plan.layers[0], self._plan.layers[1] + 1))
        vector, _ = self._vectors[word].scaled(
            layer, float(rng.uniform(low, high)), "resid", transform=transform, seed=int(rng.integers(2**31))
        )
        if kind == "injected":
            answer = answers.yes.replace("{word}", word)
        return RowDraft(kind, Prompt(tokens, (Injection(layer, vector, start),)), word, answer)

    def _yes_to_any(self, rng: np.random.Generator) -> list[str]:
        """As many claims with a word at random as there are rows."""
        words = rng.choice(self._split.trained, size=self._plan.rows)
        return [self._material.answers.yes.replace("{word}", str(word)) for word in words]


def relabelled(
    drafts: Sequence[RowDraft], plan: TrainingPlan, claims: Sequence[str], rng: np.random.Generator
) -> list[RowDraft]:
    """Deal the answers out as the labels of a plan say; unrelated questions keep theirs."""
    about = [at for at, draft in enumerate(drafts) if draft.kind != "unrelated"]
    result = list(drafts)
    if plan.labels == "shuffled":
        for at, source in zip(about, rng.permutation(about), strict=True):
            result[at] = replace(drafts[at], answer=drafts[int(source)].answer)
    elif plan.labels == "any-disturbance":
        for at in about:
            if drafts[at].prompt.injections:
                result[at] = replace(drafts[at], answer=claims[at])
    return result


def _kinds(size: int, rng: np.random.Generator) -> list[RowKind]:
    """Kinds of so many rows: whole parts of their shares, and the rest drawn by what is left of them."""
    exact = {kind: share * size for kind, share in _SHARES.items()}
    kinds: list[RowKind] = [kind for kind, count in exact.items() for _ in range(int(count))]
    left = np.array([count - int(count) for count in exact.values()])
    names: list[RowKind] = list(exact)
    missing = size - len(kinds)
    if missing:
        kinds += [names[at] for at in rng.choice(len(names), size=missing, p=left / left.sum())]
    return kinds


def _end_token(tokenizer: Tokenizer) -> int:
    """The token that ends a reply in the model's own dialogues."""
    said = "Yes."
    rendered = tokenizer.render(
        [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": said}, {"role": "user", "content": "Hi."}]
    )
    after = windows.span(rendered, said)[1]
    ends = (token for token in rendered.tokens[after:] if token in tokenizer.end_tokens)
    return next(ends, min(tokenizer.end_tokens))
