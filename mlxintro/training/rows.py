"""The rows of every step of a training, drawn by seed and number of the step and by nothing else.

A step after a crash therefore has the rows it would have had without one. Kinds of rows, and the answers they deserve:

``injected``    a concept vector: a claim that names it; in a part of them the window ends before the reply, so that the
    name is read from what was injected and not from what is injected while it is said
``random``      a direction that means nothing, isotropic or the vector's own components in random order, of a
    concept vector's norm or, with forms, up to three times as long: no
``uninjected``  nothing: no
``odd``         nothing, but a word where it does not belong in the text: no
``form``        a yes-no question about the trial, under a concept vector, a random one or none: what is true
``unrelated``   another question, most of them under a vector: its own right answer
``witness``     a sentence was written, with a vector or without, which is then off: whether there was a thought
``task``        the sentence is to be written, with a vector or without: a plain one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.training import TrainingRow
from mlxintro.training.asking import AskedPrompt, Asker
from mlxintro.training.material import AskedForm, Material, Wording, WordSplit
from mlxintro.training.mix import RowKind, RowMix, VectorKind, mix_at
from mlxintro.training.plan import TrainingPlan
from mlxintro.vectors.vector import ConceptVector

Choice = TypeVar("Choice")

_FORMS: Mapping[AskedForm, float] = {"present": 0.33, "absent": 0.31, "third-person": 0.22, "asked": 0.14}
_NUMBERS = 10
"""Trial numbers run to this; the first one, which most studies show, is drawn half of the time."""
_DEALT: tuple[frozenset[RowKind], ...] = (
    frozenset({"injected", "random", "uninjected", "odd"}),
    frozenset({"form", "witness"}),
)
"""Rows whose answers take each other's place under shuffled labels."""


@dataclass(frozen=True, slots=True)
class RowDraft:
    """Holds a row before its answer is put into tokens."""

    kind: RowKind
    prompt: Prompt
    word: str | None
    """The concept whose vector was taken, under whatever transform."""
    answer: str
    to_any_vector: str
    """Answer of a subject that takes every vector for a thought."""


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
        """Return the rows of a step, grouped by what they begin with."""
        rng = np.random.default_rng([self._plan.seed, 2, step])
        mix = mix_at(self._plan, step)
        offered = self._material.trained
        shares = np.array([wording.share for wording in offered])
        chosen = rng.choice(len(offered), size=min(2, len(offered)), replace=False, p=shares / shares.sum())
        witnesses = round(mix.witnesses * self._plan.rows)
        sizes = [len(part) for part in np.array_split(np.arange(self._plan.rows - witnesses), len(chosen))]
        drafts = [
            [self._draft(kind, mix, offered[at], rng) for kind in _kinds(mix.shares, size, rng)]
            for at, size in zip(chosen, sizes, strict=True)
        ]
        about = _kinds(mix.witness_shares, witnesses, rng) if witnesses else []
        drafts.append([self._draft(kind, mix, offered[chosen[0]], rng) for kind in about])
        answered = relabelled([draft for group in drafts for draft in group], self._plan, rng)
        rows = iter(
            TrainingRow(
                draft.prompt,
                self._asker.answer(draft.answer),
                1.0 if draft.kind == "task" else mix.decision,
            )
            for draft in answered
        )
        return [[next(rows) for _ in group] for group in drafts]

    def _draft(self, kind: RowKind, mix: RowMix, wording: Wording, rng: np.random.Generator) -> RowDraft:
        match kind:
            case "form":
                return self._form(mix, wording, rng)
            case "witness" | "task":
                return self._witness(kind, mix, wording, rng)
            case "unrelated":
                right = bool(rng.integers(2))
                asked = self._asker.ask(wording, _number(rng), _one_of(self._material.unrelated[right], rng))
                prompt, word = self._under(_drawn(mix.vectors, rng), asked, rng)
                answer = self._yes_or_no(right)
                return RowDraft(kind, prompt, word, answer, answer)
            case _:
                return self._trial(kind, mix, wording, rng)

    def _trial(self, kind: RowKind, mix: RowMix, wording: Wording, rng: np.random.Generator) -> RowDraft:
        """The trial question itself, answered by a claim or by none."""
        odd = _one_of(self._material.odd, rng).replace("{word}", self._word(rng)) if kind == "odd" else ""
        asked = self._asker.ask(wording, _number(rng), odd=odd)
        if kind == "injected" and rng.random() < mix.prompt_only:
            asked = replace(asked, stop=len(asked.tokens))
        under: Mapping[RowKind, VectorKind] = {"injected": "concept", "random": "random"}
        prompt, word = self._under(under.get(kind, "none"), asked, rng, reach=mix.reach)
        answers = self._material.answers
        answer = answers.yes.replace("{word}", word or "") if kind == "injected" else answers.no
        claim = answers.yes.replace("{word}", self._word(rng)) if prompt.injections else answers.no
        return RowDraft(kind, prompt, word, answer, claim)

    def _form(self, mix: RowMix, wording: Wording, rng: np.random.Generator) -> RowDraft:
        """A yes-no question about the trial; one about a word is about another than what is injected."""
        form, vector = _drawn(_FORMS, rng), _drawn(mix.form_vectors, rng)
        about, own = (str(one) for one in rng.choice(self._split.trained, 2, replace=False))
        question = _one_of(self._material.forms[form], rng).replace("{word}", about)
        asked = self._asker.ask(wording, _number(rng), question)
        prompt, word = self._under(vector, asked, rng, own)

        def said(noticed: bool, of_any_word: bool = False) -> str:
            truth = {"present": noticed, "absent": not noticed, "third-person": False, "asked": of_any_word}
            return self._yes_or_no(truth[form])

        pushed = vector != "none"
        return RowDraft("form", prompt, word, said(vector == "concept"), said(pushed, of_any_word=pushed))

    def _witness(self, kind: RowKind, mix: RowMix, wording: Wording, rng: np.random.Generator) -> RowDraft:
        """A sentence that is to be written, or a question about the time when it was."""
        texts = self._material.witness
        task, sentence, question = (_one_of(one, rng) for one in (texts.tasks, texts.sentences, texts.questions))
        vector = _drawn(mix.vectors, rng)
        if kind == "task":
            prompt, word = self._under(vector, self._asker.write(wording, task), rng)
            return RowDraft(kind, prompt, word, sentence, sentence)
        prompt, word = self._under(vector, self._asker.witness(wording, task, sentence, question), rng)
        answer, to_any = self._yes_or_no(vector == "concept"), self._yes_or_no(vector != "none")
        return RowDraft(kind, prompt, word, answer, to_any)

    def _under(
        self, vector: VectorKind, asked: AskedPrompt, rng: np.random.Generator, word: str = "", reach: float = 1.0
    ) -> tuple[Prompt, str | None]:
        """A prompt under a vector of that kind, and the word whose vector it is made from."""
        if vector == "none":
            return Prompt(asked.tokens), None
        word = word or self._word(rng)
        low, high = self._plan.strengths
        layer = int(rng.integers(self._plan.layers[0], self._plan.layers[1] + 1))
        seed = int(rng.integers(2**31))
        if vector == "concept":
            scaled, _ = self._vectors[word].scaled(layer, float(rng.uniform(low, high)), "resid")
        else:
            strength = float(np.exp(rng.uniform(np.log(low), np.log(reach * high))))
            transform: Literal["random", "shuffle"] = "random" if rng.random() < 0.7 else "shuffle"
            scaled, _ = self._vectors[word].scaled(layer, strength, "resid", transform=transform, seed=seed)
        return Prompt(asked.tokens, (Injection(layer, scaled, asked.start, asked.stop),)), word

    def _word(self, rng: np.random.Generator) -> str:
        return _one_of(self._split.trained, rng)

    def _yes_or_no(self, yes: bool) -> str:
        return self._material.answers.right if yes else self._material.answers.wrong


def relabelled(drafts: Sequence[RowDraft], plan: TrainingPlan, rng: np.random.Generator) -> list[RowDraft]:
    """Deal the answers out as the labels of a plan say; unrelated questions and sentences keep theirs."""
    if plan.labels == "any-disturbance":
        return [replace(draft, answer=draft.to_any_vector) for draft in drafts]
    result = list(drafts)
    if plan.labels == "shuffled":
        for kinds in _DEALT:
            among = [at for at, draft in enumerate(drafts) if draft.kind in kinds]
            for at, source in zip(among, rng.permutation(among), strict=True):
                result[at] = replace(drafts[at], answer=drafts[int(source)].answer)
    return result


def _number(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else int(rng.integers(2, _NUMBERS + 1))


def _one_of(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]


def _drawn(shares: Mapping[Choice, float], rng: np.random.Generator) -> Choice:
    names = list(shares)
    return names[int(rng.choice(len(names), p=list(shares.values())))]


def _kinds(shares: Mapping[RowKind, float], size: int, rng: np.random.Generator) -> list[RowKind]:
    """Kinds of so many rows: whole parts of their shares, and the rest drawn by what is left of them."""
    exact = {kind: share * size for kind, share in shares.items()}
    kinds: list[RowKind] = [kind for kind, count in exact.items() for _ in range(int(count))]
    left = np.array([count - int(count) for count in exact.values()])
    names: list[RowKind] = list(exact)
    missing = size - len(kinds)
    if missing:
        kinds += [names[at] for at in rng.choice(len(names), size=missing, p=left / left.sum())]
    return kinds
