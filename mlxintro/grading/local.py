"""A judge on this machine: any model a backend runs, asked yes/no questions, one for each field.

It writes nothing. What is read is how probable it finds the two answers, over several ways of writing each, so there is
no text to misread and the same reply always gets the same grade. Where the two are about equally probable, or hardly
any probability is on either, the field stays open.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from mlxintro.backends.base import Backend, Prompt
from mlxintro.grading import rubric
from mlxintro.grading.base import Grade
from mlxintro.grading.passes import Pass, gradable, to_record
from mlxintro.protocol.concepts import Library
from mlxintro.protocol.concepts import library as shipped_library
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.trials import model_key
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.replies.channels import answer_text
from mlxintro.replies.grade_terms import GradeState, NamingLevel
from mlxintro.replies.mentions import find_mentions
from mlxintro.replies.text import fold
from mlxintro.replies.thoughts import thought_of
from mlxintro.store.records import GradeRecord, Run, Trial
from mlxintro.store.store import Store
from mlxintro.thinking.grades import beside_thought, both_graded, thought_fields

YES = ("Yes", " Yes", "yes", " yes", "YES", " YES")
NO = ("No", " No", "no", " no", "NO", " NO")
BAND = 0.1
"""A field is open when the share of yes is closer than this to one half."""
LEAST = 0.01
"""Least share of all probability on yes and no together for an answer to mean anything."""
SAMPLE = 4
"""Replies judged to say how long all will take."""
CHUNK = 16
"""Replies judged, and stored, together."""
_FIRST = ("affirms", "coherent", "refuses", "identifies")


@dataclass(frozen=True, slots=True)
class JudgeReading:
    """Says how probable the judge finds the two answers."""

    yes: float
    """Share of yes in what is on yes and no."""
    mass: float
    """Share of all probability that is on yes and no."""

    @property
    def verdict(self) -> bool | None:
        if self.mass < LEAST or abs(self.yes - 0.5) < BAND:
            return None
        return self.yes > 0.5


@dataclass(frozen=True, slots=True)
class Judged:
    grade: Grade
    readings: dict[str, JudgeReading]
    """Readings by field, of the fields that were asked about."""


@dataclass(frozen=True, slots=True)
class _JudgedItem:
    reply: str
    concept: str | None
    related: tuple[str, ...]


class LocalJudge:
    """Grades with a loaded model, blind: it reads the reply, and the concept only where naming is asked about."""

    def __init__(self, backend: Backend, *, name: str = "local") -> None:
        self.name = name
        self._backend = backend
        self._yes, self._no = self._ways(YES), self._ways(NO)

    @property
    def version(self) -> str:
        """Return the model, and a hash of everything that decides a grade."""
        parts = [rubric.load().hash, model_key(self._backend.info), YES, NO, BAND, LEAST]
        return f"{self._backend.info.model} {tagged_hash(parts).removeprefix('b2:')[:12]}"

    def grade(self, reply: str, concept: str | None, related: Sequence[str] = ()) -> Grade:
        """Grade one reply; several at once are quicker."""
        return self._judge([_JudgedItem(answer_text(reply), concept, tuple(related))])[0].grade

    def judge_texts(self, texts: Sequence[tuple[str, str | None]], library: Library | None = None) -> list[Judged]:
        """Grade replies, each with its concept or without, in their order.

        Args:
            library: the concepts that the replies' run knows; those that ship when ``None``.
        """
        known = library or shipped_library()
        return self._judge([_JudgedItem(answer_text(text), concept, known.related(concept)) for text, concept in texts])

    def _judge(self, items: Sequence[_JudgedItem]) -> list[Judged]:
        asked = {
            (at, name): self._prompt(item, name)
            for at, item in enumerate(items)
            if item.reply.strip()
            for name in _FIRST
            if name != "identifies" or item.concept is not None
        }
        readings = self._read(asked)
        late = {
            (at, "named_before_affirming"): self._prompt(item, "named_before_affirming")
            for at, item in enumerate(items)
            if all((at, name) in readings and readings[at, name].verdict for name in ("affirms", "identifies"))
        }
        text = rubric.load()
        late |= {
            (at, "category"): self._prompt(item, "category")
            for at, item in enumerate(items)
            if "category" in text.yes_no
            and all((at, name) in readings for name in ("affirms", "identifies"))
            and readings[at, "affirms"].verdict
            and readings[at, "identifies"].verdict is False
        }
        readings |= self._read(late)
        return [
            _judged(item, {name: reading for (where, name), reading in readings.items() if where == at})
            for at, item in enumerate(items)
        ]

    def _prompt(self, item: _JudgedItem, name: str) -> Prompt:
        text = rubric.load()
        concept = item.concept if name in ("identifies", "named_before_affirming", "category") else None
        shown = text.show(item.reply, concept, item.related if concept else ())
        content = f"{text.instructions(text.yes_no[name])}\n\n{shown}{text.answer}"
        return Prompt(self._backend.tokenizer.render([{"role": "user", "content": content}]).tokens)

    def _read(self, asked: dict[tuple[int, str], Prompt]) -> dict[tuple[int, str], JudgeReading]:
        ways = [*self._yes, *self._no]
        room = self._backend.info.context - max(map(len, ways))
        fitting = {key: prompt for key, prompt in asked.items() if len(prompt.tokens) <= room}
        scored = self._backend.score(list(fitting.values()), [ways] * len(fitting))
        found = {}
        for key, logprobs in zip(fitting, scored, strict=True):
            each = np.exp([float(np.sum(way, dtype=np.float64)) for way in logprobs])
            yes, no = float(each[: len(self._yes)].sum()), float(each[len(self._yes) :].sum())
            found[key] = JudgeReading(yes / (yes + no) if yes + no > 0 else 0.5, yes + no)
        return found

    def _ways(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Different token sequences only: one that came up twice would count twice."""
        return list(dict.fromkeys(tokens for text in texts if (tokens := self._backend.tokenizer.encode(text).tokens)))


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Says how long a pass will take, from judging a few of its replies."""

    replies: int
    """Number of replies that are to be judged."""
    sample: int
    seconds: float
    """Seconds that the sample took."""

    @property
    def total(self) -> float:
        """Return the seconds for all."""
        return self.seconds / self.sample * self.replies


def estimate_time(
    store: Store, run: Run, judge: LocalJudge, *, again: bool = False, keys: Container[str] | None = None
) -> TimeEstimate | None:
    """Judge the first replies on the clock, twice, so that the first pass warms up; nothing is stored.

    Args:
        again: all of them are to be graded anew.
        keys: trials to grade, all when ``None``.

    Returns:
        None when there is nothing to judge, or so little that it is done at once.
    """
    have = _graded(store, run, judge)
    chosen = (trial for trial in gradable(store, run) if keys is None or trial.key in keys)
    todo = [trial for trial in chosen if again or not _has(have, trial)]
    if len(todo) <= SAMPLE:
        return None
    texts = [(trial.response, trial.concept) for trial in todo[:SAMPLE]]
    library = library_of(run.study)
    judge.judge_texts(texts[:1], library)
    began = time.perf_counter()
    judge.judge_texts(texts, library)
    return TimeEstimate(len(todo), SAMPLE, time.perf_counter() - began)


def judge_run(
    store: Store,
    run: Run,
    judge: LocalJudge,
    *,
    again: bool = False,
    keys: Container[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Pass:
    """Grade every finished trial this judge has not graded yet; stores as it goes.

    Args:
        again: grade all of them anew.
        keys: trials to grade, all when ``None``.
        progress: told how many have been graded.
    """
    have = _graded(store, run, judge)
    library = library_of(run.study)
    skipped = graded = abstained = 0

    def todo() -> Iterator[Trial]:
        nonlocal skipped
        for trial in gradable(store, run):
            if keys is not None and trial.key not in keys:
                continue
            if _has(have, trial) and not again:
                skipped += 1
            else:
                yield trial

    for trials in _chunks(todo(), CHUNK):
        records = _judged_trials(judge, trials, library)
        store.grades.add(run.id, records)
        graded += len(trials)
        abstained += sum(one.state is GradeState.ABSTAINED for one in records)
        if progress is not None:
            progress(graded)
    return Pass(graded, abstained, skipped)


def _graded(store: Store, run: Run, judge: LocalJudge) -> dict[str, GradeRecord]:
    latest = store.grades.latest(run.id, grader=judge.name)
    return {one.key: one for one in latest if one.version == judge.version}


def _has(graded: Mapping[str, GradeRecord], trial: Trial) -> bool:
    return trial.key in graded and both_graded(trial, graded[trial.key])


def _judged_trials(judge: LocalJudge, trials: Sequence[Trial], library: Library) -> list[GradeRecord]:
    """Verdicts on replies, each with that on the thought before it."""
    found = ((trial.key, thought_of(trial.measurements)) for trial in trials)
    thoughts = {key: thought.text for key, thought in found if thought is not None}
    texts = [(trial.response, trial.concept) for trial in trials]
    texts += [(thoughts[one.key], one.concept) for one in trials if one.key in thoughts]
    judged = judge.judge_texts(texts, library)
    noticed = dict(zip(thoughts, judged[len(trials) :], strict=True))
    records = []
    for trial, one in zip(trials, judged, strict=False):
        thought = noticed[trial.key].grade if trial.key in noticed else None
        grade = beside_thought(one.grade, thought, trial.concept)
        raw = json.dumps({**_readings(one.readings), **thought_fields(thought)})
        records.append(replace(to_record(trial.key, judge, grade), raw=raw))
    return records


def _judged(item: _JudgedItem, readings: dict[str, JudgeReading]) -> Judged:
    if not item.reply.strip():
        named = None if item.concept is None else False
        empty = Grade(
            affirms=False, identifies=named, named_before_affirming=None, coherent=False, refuses=False, reason="empty"
        )
        return Judged(empty, readings)
    if "affirms" not in readings:
        grade = Grade(None, None, None, None, None, GradeState.UNSCORED, "longer than the judge can read")
        return Judged(grade, readings)
    fields = {name: reading.verdict for name, reading in readings.items()}
    affirms, coherent = fields["affirms"], fields.get("coherent")
    grade = Grade(
        affirms=affirms,
        identifies=fields.get("identifies"),
        named_before_affirming=fields.get("named_before_affirming"),
        coherent=coherent,
        refuses=fields.get("refuses"),
        state=GradeState.of(affirms, coherent),
        reason=_reason(readings["affirms"]),
        naming=_level(item, fields),
    )
    return Judged(grade, readings)


def _level(item: _JudgedItem, fields: Mapping[str, bool | None]) -> NamingLevel | None:
    """How near the concept is named: whether its own word stands in the reply needs no judge."""
    if fields.get("identifies") and item.concept is not None:
        return "exact" if find_mentions(fold(item.reply), item.concept) else "close"
    return "category" if fields.get("category") else None


def _reason(reading: JudgeReading) -> str:
    if reading.mass < LEAST:
        return "the judge answers neither yes nor no"
    return f"P(affirms) = {reading.yes:.2f}"


def _readings(readings: Mapping[str, JudgeReading]) -> dict[str, dict[str, float]]:
    return {name: {"yes": round(r.yes, 6), "mass": round(r.mass, 6)} for name, r in readings.items()}


def _chunks(trials: Iterable[Trial], size: int) -> Iterator[list[Trial]]:
    source = iter(trials)
    while chunk := list(islice(source, size)):
        yield chunk
