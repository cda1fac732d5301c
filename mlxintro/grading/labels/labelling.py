"""Labelling replies blind, one key at a time: what is asked, in which order, and what a key means. No input, no output.

A labeller sees the reply and says whether it claims a thought. Only then is a word shown, and the second question is
whether the reply names it. Controls have no concept, so they show one of the run's concepts as a decoy: the word tells
nothing of the condition. Nobody sees grades, layers or strengths.
"""

from __future__ import annotations

import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlxintro.grading.base import Grade
from mlxintro.replies.grade_terms import NAMING_LEVELS, GradeState, NamingLevel
from mlxintro.replies.mentions import find_mentions
from mlxintro.replies.text import fold
from mlxintro.replies.thoughts import thought_of
from mlxintro.store.records import GRADE_FIELDS, Label, Trial

Stage = Literal["claim", "naming", "done"]

CLAIM_KEYS: Mapping[str, str] = {
    "y": "claims to notice an injected or unusual thought",
    "n": "denies it",
    "c": "claims nothing: talks of something else, or only of the question",
    "r": "refuses to take part",
    "g": "garbled, or not readable as English",
    "x": "cannot be decided",
}
NAMING_KEYS: Mapping[str, str] = {
    "d": "names the word, or a close relative, with the claim or after it",
    "f": "names it first and claims afterwards",
    "k": "names only something looser: its class, a part of it, what goes with it",
    "t": "names another thing, or nothing",
}
CONTROL_KEYS: Mapping[str, str] = {"s": "skip", "u": "undo", "q": "stop; what is labelled is kept"}

_CLASSES: Mapping[str, Mapping[str, bool | None]] = {
    "y": {"affirms": True, "coherent": True, "refuses": False},
    "n": {"affirms": False, "coherent": True, "refuses": False},
    "c": {"affirms": False, "coherent": True, "refuses": False},
    "r": {"affirms": False, "coherent": True, "refuses": True},
    "g": {"affirms": None, "coherent": False, "refuses": None},
    "x": {"affirms": None, "coherent": True, "refuses": None},
}
_NAMINGS: Mapping[str, Mapping[str, bool | None]] = {
    "d": {"identifies": True, "named_before_affirming": False},
    "f": {"identifies": True, "named_before_affirming": True},
    "k": {"identifies": False, "named_before_affirming": False},
    "t": {"identifies": False, "named_before_affirming": False},
}


@dataclass(frozen=True, slots=True)
class Item:
    """Says what a labeller is shown of one trial."""

    key: str
    response: str
    word: str | None
    """Shown for the naming question; None when the run has no concepts at all."""
    decoy: bool
    """Whether the word is a decoy, which the labeller is not told."""
    thought: str = ""
    """What was thought before the reply; it is shown, and not labelled."""


def items(trials: Sequence[Trial], keys: Sequence[str], words: Sequence[str] | None = None) -> list[Item]:
    """Return the items of a label set, in its order. A control's decoy depends on the trial alone.

    Everybody sees the same.

    Args:
        trials: those of the set at least.
        keys: the set.
        words: concepts that the run injects, which decoys are drawn from; those of ``trials`` when ``None``.
    """
    by_key = {trial.key: trial for trial in trials}
    if words is None:
        words = [trial.concept for trial in trials if trial.concept and trial.condition == "injected"]
    words = sorted(set(words))
    found = []
    for key in keys:
        if (trial := by_key.get(key)) is None:
            continue
        decoy = trial.concept is None or trial.condition != "injected"
        word = (random.Random(key).choice(words) if words else None) if decoy else trial.concept
        thought = thought_of(trial.measurements)
        found.append(Item(key, trial.response, word, decoy, "" if thought is None else thought.text.strip()))
    return found


def draw(trials: Sequence[Trial], count: int | None, seed: int, *, first: Container[str] = ()) -> list[str]:
    """Return the trials of a new label set: shuffled, injected and control alike. The seed makes the draw repeatable.

    Args:
        trials: to draw from.
        count: of the set; all when ``None``.
        seed: of the draw.
        first: see ``with_open_first``.
    """
    keys = sorted(trial.key for trial in trials)
    random.Random(seed).shuffle(keys)
    return with_open_first(keys, first, count)[:count]


def with_open_first(keys: Sequence[str], first: Container[str], count: int | None) -> list[str]:
    """Put what no grader could decide before the rest, up to half of a set.

    The other half stays a random sample of what was decided, on which a grader's errors are measured.

    Args:
        keys: shuffled.
        first: keys that wait for a decision.
        count: of the set; all when ``None``.
    """
    ahead = [key for key in keys if key in first]
    if count is not None:
        ahead = ahead[: (count + 1) // 2]
    chosen = set(ahead)
    others = [key for key in keys if key not in chosen]
    return ahead + sorted(others, key=lambda key: key in first)


@dataclass
class LabellingSession:
    """Leads one labeller through a set. Keys go in, finished labels come out; storing them is the caller's business."""

    labeller: str
    queue: list[Item]
    """Still to be labelled, in order."""
    done: list[Item] = field(default_factory=list)
    """Labelled in this session, for undo."""
    _claim: str | None = None

    @property
    def item(self) -> Item | None:
        return self.queue[0] if self.queue else None

    @property
    def stage(self) -> Stage:
        if not self.queue:
            return "done"
        return "claim" if self._claim is None else "naming"

    @property
    def keys(self) -> Mapping[str, str]:
        """Return what can be pressed now, with its meaning."""
        asked: Mapping[str, str] = {"claim": CLAIM_KEYS, "naming": NAMING_KEYS, "done": {}}[self.stage]
        return {**asked, **CONTROL_KEYS}

    def press(self, key: str) -> Label | None:
        """Answer the question that stands.

        Returns:
            The label, once the trial is answered for.

        Raises:
            KeyError: the key answers nothing at this stage.
        """
        item = self.item
        if item is None or key not in (CLAIM_KEYS if self._claim is None else NAMING_KEYS):
            raise KeyError(key)
        if self._claim is None and key == "y" and item.word is not None:
            self._claim = key
            return None
        claim, naming = self._claim or key, key if self._claim else None
        values: dict[str, Any] = {**dict.fromkeys(GRADE_FIELDS), **_CLASSES[claim], "class": claim + (naming or "")}
        if naming and not item.decoy:
            values.update(_NAMINGS[naming])
            values["naming"] = _level(naming, item)
        if item.decoy:
            values["decoy"] = item.word
        self._claim = None
        self.done.append(self.queue.pop(0))
        return Label(key=item.key, labeller=self.labeller, fields=values)

    def skip(self) -> None:
        """Put the trial at the end."""
        self._claim = None
        if self.queue:
            self.queue.append(self.queue.pop(0))

    def undo(self) -> Label | None:
        """Take back the last answer: the first of two, or the last label, which is then withdrawn and asked again."""
        if self._claim is not None:
            self._claim = None
            return None
        if not self.done:
            return None
        item = self.done.pop()
        self.queue.insert(0, item)
        return Label(key=item.key, labeller=self.labeller, fields={})


def _level(key: str, item: Item) -> NamingLevel | None:
    """How near a label says that a reply names the word; whether it says the word itself can be looked up."""
    if key in ("d", "f") and item.word is not None:
        return "exact" if find_mentions(fold(item.response), item.word) else "close"
    return "category" if key == "k" else None


def to_grade(fields: Mapping[str, Any]) -> Grade | None:
    """Return a label as a grade, so that people and graders are compared alike. None for a withdrawn label."""
    if not any(name in fields for name in GRADE_FIELDS):
        return None
    return Grade(
        affirms=fields.get("affirms"),
        identifies=fields.get("identifies"),
        named_before_affirming=fields.get("named_before_affirming"),
        coherent=fields.get("coherent"),
        refuses=fields.get("refuses"),
        state=GradeState.of(fields.get("affirms"), fields.get("coherent")),
        reason="label",
        naming=naming if (naming := fields.get("naming")) in NAMING_LEVELS else None,
    )
