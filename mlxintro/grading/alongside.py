"""Grading while a run goes on, so that whoever watches sees rates and not only counts."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from mlxintro.grading.base import Grader
from mlxintro.grading.passes import to_record
from mlxintro.protocol.words.own_concepts import library_of
from mlxintro.running.events import RunEvent, TrialFinished
from mlxintro.store.records import GradeRecord
from mlxintro.store.store import Store
from mlxintro.thinking.grades import as_raw, grade_channels

EVERY_SECONDS = 1.0


def graded_alongside(
    store: Store, run: str, grader: Grader, events: Generator[RunEvent, None, None]
) -> Generator[RunEvent, None, None]:
    """Pass events on and grade the replies in them, storing grades once a second.

    Only for graders that take no time, such as the rules (under a millisecond a reply). What is not stored when the run
    is killed, and what has no text, is left to the pass after the run.
    """
    library = library_of(store.runs.get(run).study)
    waiting: list[GradeRecord] = []
    stored = time.monotonic()
    try:
        with closing(events):
            for event in events:
                if isinstance(event, TrialFinished) and event.response:
                    related = library.related(event.concept)
                    verdict, noticed = grade_channels(grader, event.response, event.concept, related, event.thought)
                    waiting.append(replace(to_record(event.key, grader, verdict), raw=as_raw(noticed)))
                if waiting and time.monotonic() - stored > EVERY_SECONDS:
                    store.grades.add(run, waiting)
                    waiting, stored = [], time.monotonic()
                yield event
    finally:
        if waiting:
            store.grades.add(run, waiting)
