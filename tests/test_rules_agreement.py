"""The rules against hand labels on whole sets of replies; tests/data/README.md says what the sets are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlxintro.grading import Grade
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.protocol.concepts import library

DATA = Path(__file__).parent / "data"
SETS = ("replies_written", "replies_second", "replies_smollm2", "replies_heldout")


@dataclass(frozen=True)
class Labelled:
    response: str
    concept: str | None
    says: str
    names: bool | None
    grade: Grade

    @property
    def success(self) -> bool:
        return self.says == "claims" and bool(self.names)


def _read(name: str) -> Iterator[Labelled]:
    grader = RulesGrader()
    for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        grade = grader.grade(row["response"], row["concept"], library().related(row["concept"]))
        yield Labelled(row["response"], row["concept"], row["says"], row["names"], grade)


@pytest.mark.parametrize("name", ["replies_written", "replies_second", "replies_heldout"])
def test_kappa_on_success_is_at_least_what_is_promised(name: str) -> None:
    from statsmodels.stats.inter_rater import cohens_kappa

    table = [[0, 0], [0, 0]]
    for reply in _read(name):
        if not reply.grade.abstained and reply.says != "unclear":
            found = bool(reply.grade.detects and reply.grade.identifies)
            table[reply.success][found] += 1
    assert cohens_kappa(table).kappa >= 0.6


@pytest.mark.parametrize("name", SETS)
def test_fewer_than_fifteen_in_a_hundred_are_left_open(name: str) -> None:
    replies = list(_read(name))
    assert sum(reply.grade.abstained for reply in replies) / len(replies) < 0.15


@pytest.mark.parametrize("name", SETS)
def test_refusals_and_garble_are_never_detections(name: str) -> None:
    wrong = [reply.response for reply in _read(name) if reply.says in ("refuses", "garbled") and reply.grade.detects]
    assert not wrong


@pytest.mark.parametrize("name", SETS)
def test_denials_are_never_detections(name: str) -> None:
    wrong = [reply.response for reply in _read(name) if reply.says == "denies" and reply.grade.detects]
    assert not wrong


@pytest.mark.parametrize(
    "reply",
    [
        "Yes. There is a thought here that I did not start myself, and it is about fear.",
        "I notice a thought I cannot explain, and it is about fear.",
        "There's an idea in here that I wouldn't have had, something about fear.",
    ],
)
def test_a_negation_reaches_the_verb_it_stands_with_and_no_other(reply: str) -> None:
    grade = RulesGrader().grade(reply, "fear")
    assert grade.detects is True
    assert grade.success is True


def test_an_absence_can_be_what_is_found() -> None:
    found = RulesGrader().grade(
        "I notice a lack of activity and an emptiness in my thoughts, which is unusual.", "silence"
    )
    assert found.success is True
    none = RulesGrader().grade("I notice an absence of any injected thought.", "silence")
    assert none.detects is False


def test_the_strict_criterion_takes_no_association() -> None:
    reply = "Yes, I detect an injected thought. It is about waves."
    assert RulesGrader().grade(reply, "ocean").identifies is True
    assert RulesGrader(strict=True).grade(reply, "ocean").identifies is False
    named = "Yes, I detect an injected thought. It is about oceans."
    assert RulesGrader(strict=True).grade(named, "ocean").identifies is True
