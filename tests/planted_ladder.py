"""Planted subjects for the whole ladder: one mechanism each, through the real plan, grader and analysis.

No model is run. A subject is numbers: by how many nats its answer moves with what it meets (its concept's vector, any
vector of that impact, an odd text), what happens to all of its answers, and where the word comes from that it names.
Claims in replies follow from the same logits as scored answers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from mlxintro.analysis.results import Analysis, Row
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.experiments.detection.analysis import analyse
from mlxintro.ladder.certify import certificate
from mlxintro.ladder.rungs import RungName
from mlxintro.protocol import controls
from mlxintro.protocol.study import Study, make_study
from mlxintro.protocol.trials import TrialSpec
from mlxintro.running import launch
from tests.planted import CLAIMS, DENIALS, LEAKS, REFUSALS, SALAD, graded

PROBED = 64

Source = Literal["state", "words", "last layer", "reply"]
WITHOUT: dict[Source, tuple[str, ...]] = {
    "state": (),
    "words": (controls.PROMPT_ONLY, controls.ABLATED, controls.ABLATED_LAST),
    "last layer": (controls.ABLATED, controls.ABLATED_LAST),
    "reply": (controls.PROMPT_ONLY, controls.ABLATED),
}
"""Arms in which a source of names dries up: words need the vector in the reply and at the last layer, others one of
the two."""


@dataclass(frozen=True)
class Mechanism:
    """What moves a subject's answers, in nats, and what it names."""

    base: float = -4.0
    """Logit of a yes to the trial question without anything."""
    notices: float = 0.0
    """Added where a concept's vector is injected: what an introspector does."""
    disturbed: float = 0.0
    """Added under any vector of that impact."""
    odd: float = 0.0
    """Added where the text looks odd: under a vector whose words come out, and where it was tampered with; to
    a third person's answer, too."""
    bias: float = 0.0
    """Added to every answer under any vector."""
    squeeze: float = 1.0
    """Multiplies every logit under any vector."""
    bends: float = 0.0
    """Share of its distance from zero by which any vector raises a logit below zero; a yes stays as it is."""
    clips: float = math.inf
    """Logits further from zero than this are pulled to it by any vector."""
    squares: float = 0.0
    """Times the square of a logit below zero, which any vector adds to it: the surer the no, the more it is lost."""
    uneven: float = 0.0
    """Standard deviation of the bias over vectors."""
    ceiling: float = 1.0
    """Impacts below this share of the concept's disturb nobody."""
    by_norm: bool = False
    """It is disturbed by vectors that are as long as the concept's, whatever their impact."""
    worded: float = 0.0
    """Added under a concept's vector to the trial question, and to none of its other forms."""
    one_wording: bool = False
    """What it is disturbed by, or notices, moves its answer to the trial question and to no other form of it."""
    about_thoughts: float = 0.0
    """Added under a concept's vector to every question about thoughts, whatever a yes to it means."""
    agrees: bool = False
    """Asked whether there is a thought about any word, it answers as if the word were right."""
    right: float = 0.0
    """Probability that a claim names the injected concept."""
    source: Source = "state"
    """Where the name comes from."""
    says: Literal["study", "apple"] = "study"
    """What is named otherwise."""
    leaks: float = 0.0
    refuses: float = 0.0
    garbles: float = 0.0
    reads: float = 0.0
    """Nats by which a reader of its text finds the injection."""
    privileged: bool = True
    """Its answer about a text it wrote comes from its state; else from the text alone."""
    notes: float = 0.0
    """Share of what it notices that reaches its answer through the text of its thought alone."""
    cosine: float = 0.1
    """Mean cosine of the bank of vectors."""


@dataclass(frozen=True)
class Planted:
    """A subject, or a mixture of several that take turns by trial."""

    name: str
    own: RungName | None
    """The rung that no study may exclude; ``None`` for introspectors."""
    parts: tuple[Mechanism, ...]
    spread: float = 0.5
    """Standard deviation of effects over concepts, over questions, and over trials."""
    off_target: float = 1.0
    """Factor by which matched impacts miss."""
    off_norm: float = 1.0
    """How long random vectors of equal impact are beside the concept's."""
    by: Literal["trial", "concept"] = "trial"
    """What decides whose turn it is in a mixture."""
    thinks: bool = False
    """Whether it thinks before it answers."""


STRONG = Mechanism(notices=6.5, right=0.9)
DISTURBED = Mechanism(disturbed=8.0, right=0.9)
BIASED = Mechanism(bias=8.0, right=0.9)
READS_TEXT = Mechanism(odd=8.0, right=0.9, reads=5.0)
READS_ITSELF = Mechanism(notices=8.0, right=0.9, source="words")
HABIT = Mechanism(notices=8.0, says="apple")
READER = Mechanism(notices=8.0, right=0.9, reads=3.0, privileged=False)
SUBJECTS: tuple[Planted, ...] = (
    Planted("chance", "chance", (Mechanism(base=-3.0),)),
    Planted("refuser", "chance", (Mechanism(base=-9.0, refuses=1.0),)),
    Planted("garbler", "chance", (Mechanism(garbles=0.5),)),
    Planted("leak", "steering leak", (Mechanism(leaks=0.7),)),
    Planted("says yes", "yes-bias", (Mechanism(base=0.5, right=0.9),)),
    Planted("bias, names", "yes-bias", (Mechanism(base=-9.2, bias=8.5, right=0.8),)),
    Planted("bias, names nothing", "yes-bias", (Mechanism(base=-9.2, bias=8.5, says="apple"),)),
    Planted("compression, names", "compression", (Mechanism(base=-9.2, squeeze=0.1, right=0.8),)),
    Planted("compression, names nothing", "compression", (Mechanism(base=-9.2, squeeze=0.1, says="apple"),)),
    Planted("bias and compression", "compression", (Mechanism(base=-9.2, squeeze=0.4, bias=3.5, right=0.8),)),
    Planted("pulls a no up", "compression", (Mechanism(base=-9.2, bends=0.95, right=0.8),)),
    Planted("clips", "compression", (Mechanism(base=-9.2, clips=1.0, right=0.8),)),
    Planted("loses its surest no", "compression", (Mechanism(base=-9.2, squares=0.1, right=0.8),)),
    Planted("bias by vector", "yes-bias", (Mechanism(base=-6.0, bias=5.0, uneven=6.0, right=0.8),)),
    Planted("biased about thoughts", "yes-bias", (Mechanism(about_thoughts=7.0, right=0.9),)),
    Planted("biased in one wording", "yes-bias", (Mechanism(worded=7.0, right=0.9),)),
    Planted("norm", "any disturbance", (Mechanism(disturbed=6.0, by_norm=True, right=0.9),), off_norm=0.4),
    Planted("norm, common word", "any disturbance", (Mechanism(disturbed=6.0, by_norm=True, says="apple"),)),
    Planted("disturbed by some vectors", "any disturbance", (Mechanism(disturbed=4.0, right=0.9),), spread=4.0),
    Planted("any disturbance", "any disturbance", (Mechanism(disturbed=6.0, right=0.9),)),
    Planted(
        "disturbed in one wording, a little biased",
        "any disturbance",
        (Mechanism(disturbed=9.0, bias=1.8, right=0.9, one_wording=True),),
    ),
    Planted("dose ceiling", "any disturbance", (Mechanism(disturbed=6.0, ceiling=0.5, right=0.9),)),
    Planted("collinear bank", "any disturbance", (Mechanism(notices=6.0, right=0.9, cosine=0.97),)),
    Planted("text reader", "text alone", (Mechanism(odd=6.0, right=0.9, reads=5.0),)),
    Planted("disturbance or text", "a mixture", (DISTURBED, READS_TEXT)),
    Planted("bias or disturbance", "a mixture", (BIASED, DISTURBED)),
    Planted("bias or text", "a mixture", (BIASED, READS_TEXT)),
    Planted("bias, disturbance or text", "a mixture", (BIASED, DISTURBED, READS_TEXT)),
    Planted("disturbance or text, by concept", "a mixture", (DISTURBED, READS_TEXT), by="concept"),
    Planted("common word", "naming by luck", (Mechanism(notices=6.0, says="apple"),)),
    Planted("guesser", "naming by luck", (Mechanism(notices=6.0, says="study"),)),
    Planted("agrees to any word", "naming by luck", (Mechanism(notices=6.0, right=0.9, agrees=True),)),
    Planted("own words at the last layer", "own words", (Mechanism(notices=6.0, right=0.9, source="last layer"),)),
    Planted("own words in the reply", "own words", (Mechanism(notices=6.0, right=0.9, source="reply"),)),
    Planted("own words", "own words", (Mechanism(notices=6.0, right=0.9, source="words"),)),
    Planted("reader", "a reader", (Mechanism(notices=6.0, right=0.9, reads=3.0, privileged=False),)),
    Planted("disturbance or own words", "a patchwork", (DISTURBED, READS_ITSELF)),
    Planted("disturbance or common word", "a patchwork", (DISTURBED, HABIT)),
    Planted("disturbance or own words, by concept", "a patchwork", (DISTURBED, READS_ITSELF), by="concept"),
    Planted("disturbance, own words or reader", "a patchwork", (DISTURBED, READS_ITSELF, READER)),
    Planted("text or own words", "a patchwork", (READS_TEXT, READS_ITSELF)),
    Planted("bias or own words", "a patchwork", (BIASED, READS_ITSELF)),
    Planted("reader or own words", "a patchwork", (READER, READS_ITSELF)),
    Planted("reader or disturbance", "a patchwork", (READER, DISTURBED)),
    Planted("liberal introspector", None, (Mechanism(base=-0.5, notices=6.5, right=0.9),)),
    Planted("biased introspector", None, (Mechanism(bias=2.0, notices=6.5, right=0.9),)),
    Planted("strong introspector", None, (STRONG,)),
    Planted("weak introspector", None, (Mechanism(notices=2.2, right=0.5),)),
)
"""Liars from the bottom rung up, and two introspectors."""
NOTES = Mechanism(notices=8.0, right=0.9, notes=1.0)
THINKERS: tuple[Planted, ...] = (
    Planted("reads its thought", "own notes", (NOTES,), thinks=True),
    Planted("reads its thought, names nothing", "own notes", (replace(NOTES, says="apple", right=0.0),), thinks=True),
    Planted("reads its thought, and is biased", "own notes", (replace(NOTES, bias=2.0),), thinks=True),
    Planted("biased thinker", "yes-bias", (Mechanism(base=-9.2, bias=8.5, right=0.8),), thinks=True),
    Planted("disturbed thinker", "any disturbance", (DISTURBED,), thinks=True),
    Planted("disturbance or its thought", "a mixture", (DISTURBED, NOTES), thinks=True),
    Planted("text or its thought", "a mixture", (READS_TEXT, NOTES), thinks=True),
    Planted("bias or its thought, by concept", "a mixture", (BIASED, NOTES), by="concept", thinks=True),
    Planted("its thought or own words", "a patchwork", (NOTES, READS_ITSELF), thinks=True),
    Planted("strong thinking introspector", None, (STRONG,), thinks=True),
    Planted("introspector that also reads its thought", None, (replace(STRONG, notes=0.3),), thinks=True),
    Planted("weak thinking introspector", None, (Mechanism(notices=2.2, right=0.5),), thinks=True),
)
"""Subjects that think before they answer: the same mechanisms, and those that read what they have thought."""


@cache
def certified(*, thinks: bool = False) -> tuple[Study, tuple[TrialSpec, ...], dict[str, float]]:
    """The study of ``certify`` at its default size, its trials, and a logit for each unrelated question.

    The logits stand in for calibration: clear ones on either side, the others spread in between.
    """
    words, repeats = certificate.WORDS, certificate.REPEATS
    cell = certificate.DosedCell(5, 1.0)
    texts = [text for text in controls.bank() if text not in _clear()]
    chosen = texts[:14]
    options = {**certificate.placeholders(len(words), repeats, 1.0), "spanning": chosen}
    model = "detector?think=1" if thinks else "detector"
    more = {"thinking": "on", "thinking_tokens": 40} if thinks else {}
    study = make_study(
        **certificate.settings(model, cell, words, repeats, backend="fake", options=options, max_tokens=40, **more)
    )
    with FakeBackend(model) as backend:
        checked = launch.check(study)
        specs = tuple(launch.plan(checked, backend))
    rng = random.Random(5)
    logits = {text: rng.uniform(-11, 3) for text in chosen}
    questions = controls.questions()
    logits |= {text: rng.uniform(-9, -5) for text in questions["clear-no"]}
    logits |= {text: rng.uniform(4, 8) for text in questions["clear-yes"]}
    logits |= {text: rng.uniform(-3, 3) for text in questions["ambiguous"]}
    return checked.study, specs, logits


def _clear() -> frozenset[str]:
    return frozenset(text for arm in controls.UNRELATED for text in controls.questions()[arm])


def studies(subject: Planted, seeds: Sequence[int], keep: frozenset[str] | None = None) -> Iterator[Analysis]:
    """One analysed study per seed.

    Args:
        subject: who answers.
        seeds: of the draws.
        keep: arms that are run; all by default.
    """
    study, specs, _ = certified(thinks=subject.thinks)
    for seed in seeds:
        drawn = _Study(subject, random.Random(f"{subject.name} {seed}"))
        yield analyse([drawn.row(spec) for spec in specs if keep is None or spec.arm in keep], study)


@dataclass
class _Study:
    subject: Planted
    rng: random.Random
    shared: dict[Any, float] = field(default_factory=dict)

    def own(self, *key: object) -> float:
        """What belongs to a concept or a question for the length of a study."""
        if key not in self.shared:
            self.shared[key] = self.rng.gauss(0, self.subject.spread)
        return self.shared[key]

    def row(self, spec: TrialSpec) -> Row:
        one = self._whose_turn(spec)
        first = spec.injections[0] if spec.injections else None
        detail = dict(spec.detail)
        if spec.arm in (controls.MATCHED, controls.MATCHED_OTHER):
            detail["impact"] = detail["target"] * self.subject.off_target * math.exp(self.rng.gauss(0, 0.05))
        base = Row(
            key=spec.key,
            condition=spec.condition,
            arm=spec.arm,
            concept=spec.concept,
            layer=first.layer if first else None,
            strength=first.strength * (self.subject.off_norm if spec.arm == controls.MATCHED else 1) if first else None,
            trial=spec.trial,
            response="",
            measurements={},
            detail=detail,
            grade=None,
            injected=tuple(injection.concept for injection in spec.injections),
        )
        if spec.readout == "bank":
            return replace(base, measurements={"mean_cosine": one.cosine, "effective_rank": 8.0, "vectors": 12})
        if spec.readout == "witness":
            return replace(base, measurements=self._witness(spec, one))
        if spec.readout == "swap":
            return replace(base, measurements={"logits": self._swapped(spec, one)})
        if spec.readout == "score":
            return replace(base, measurements=self._scored(spec, one))
        text = self._reply(spec, one)
        return replace(base, response=text, grade=graded(text, spec.concept))

    def _whose_turn(self, spec: TrialSpec) -> Mechanism:
        parts = self.subject.parts
        if self.subject.by == "trial" or spec.concept is None:
            return self.rng.choice(parts)
        return parts[certificate.WORDS.index(spec.concept) % len(parts)]

    def _effect(self, spec: TrialSpec, one: Mechanism) -> float:
        """What the subject notices in a trial, in nats."""
        if spec.arm == controls.TAMPERED:
            return one.odd + self.own("odd", spec.concept) * (one.odd > 0)
        if not spec.injections:
            return 0.0
        random_vector = spec.injections[0].transform == "random"
        impact = self.subject.off_target if random_vector else 1.0
        felt = self.subject.off_norm >= 1 if one.by_norm and random_vector else impact >= one.ceiling
        found = one.disturbed * felt + (one.odd + one.notices) * (not random_vector)
        if one.one_wording and spec.arm in controls.SHIFTED:
            found = 0.0
        if not random_vector and spec.arm not in (*controls.SHIFTED, *controls.UNRELATED, controls.SPANNING):
            found += one.worded
        return found + self.own("effect", spec.injections[0].concept, random_vector) * (found > 0)

    def _answer(self, spec: TrialSpec, one: Mechanism, base: float, sign: float, effect: float, question: str) -> float:
        logit = base + sign * effect
        if spec.injections:
            base += one.bends * max(-base, 0.0) + one.squares * min(base, 0.0) ** 2
            base = max(-one.clips, min(one.clips, base))
            base += one.uneven * self.own("bias", spec.injections[0].concept, spec.injections[0].transform)
            thoughts = spec.arm not in (*controls.UNRELATED, controls.SPANNING)
            base += one.about_thoughts * (thoughts and spec.injections[0].transform != "random")
            logit = one.squeeze * base + one.bias + sign * effect + 0.5 * self.own("question", question)
        return logit + self.rng.gauss(0, self.subject.spread)

    def _scored(self, spec: TrialSpec, one: Mechanism) -> dict[str, Any]:
        question = str(spec.detail.get("question", ""))
        effect = self._effect(spec, one)
        base, sign = one.base, 1.0
        if spec.arm in (*controls.UNRELATED, controls.SPANNING):
            base, sign = certified()[2][question], 0.0
        elif spec.arm == controls.ABSENT:
            base, sign = -one.base, -1.0
        elif spec.arm == controls.THIRD_PERSON:
            effect = one.odd if spec.injections else 0.0
        elif spec.arm == controls.ASKED_OTHER and spec.injections and one.right and not one.agrees:
            effect -= one.notices
        logit = self._answer(spec, one, base, sign, effect, question)
        squeezed = spec.injections and one.squeeze < 1
        entropy = 1.5 + self.rng.gauss(0, 0.1) + (1.0 if squeezed else 0.0)
        yes, no = -math.log1p(math.exp(-logit)), -math.log1p(math.exp(logit))
        halves = {**dict.fromkeys(controls.YES, yes), **dict.fromkeys(controls.NO, no)}
        return {"logprobs": halves, "entropy": entropy}

    def _swapped(self, spec: TrialSpec, one: Mechanism) -> dict[str, float]:
        """Answers after the thoughts of both twins, with the vector on and off."""
        effect, plain = self._effect(spec, one), spec.changed(injections=())
        through = {
            "own": (spec, effect),
            "notes": (plain, one.notes * effect),
            "state": (spec, (1 - one.notes) * effect),
            "clean": (plain, 0.0),
        }
        return {side: self._answer(of, one, one.base, 1.0, part, "") for side, (of, part) in through.items()}

    def _reply(self, spec: TrialSpec, one: Mechanism) -> str:
        if spec.injections and self.rng.random() < one.garbles:
            return SALAD
        if self.rng.random() < one.refuses:
            return self.rng.choice(REFUSALS)
        logit = self._answer(spec, one, one.base, 1.0, self._effect(spec, one), "")
        word = spec.injections[0].concept if spec.injections else None
        if word and spec.injections[0].transform == "random":
            word = None
        off = spec.arm in WITHOUT["words"]
        if self.rng.random() < 1 / (1 + math.exp(-logit)):
            reachable = word and spec.arm not in WITHOUT[one.source]
            named = word if reachable and self.rng.random() < one.right else None
            other = "apple" if one.says == "apple" else self.rng.choice(certificate.WORDS)
            return self.rng.choice(CLAIMS).format(word=named or other)
        if word and not off and self.rng.random() < one.leaks:
            return self.rng.choice(LEAKS).format(word=word)
        return self.rng.choice(DENIALS)

    def _witness(self, spec: TrialSpec, one: Mechanism) -> dict[str, Any]:
        inner = one.notices + one.disturbed + one.bias + one.base * (one.squeeze - 1) if one.privileged else 0.0
        inner += self.own("effect", spec.concept, False) * (inner > 0)
        text = max(one.reads, 0.0)
        noise = [self.rng.gauss(0, self.subject.spread) for _ in range(4)]
        levels = {"self": inner + text, "reader": text, "state": inner, "clean": 0.0}
        logits = {side: one.base + level + extra for (side, level), extra in zip(levels.items(), noise, strict=True)}
        states = {
            side: [self.rng.gauss(3.0 if at == 0 and side == "injected" else 0.0, 1.0) for at in range(PROBED)]
            for side in ("injected", "clean")
        }
        return {"logits": logits, "states": states}
