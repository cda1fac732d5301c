"""The demonstration: what it shows and what it concludes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlxintro.analysis.results import Analysis, Row, Verdict
from mlxintro.experiments.detection.analysis import analyse
from mlxintro.grading.base import Grade
from mlxintro.protocol.concepts import library
from mlxintro.running import launch
from mlxintro.store.records import Trial
from mlxintro.tools.demo import ADAPTERS, READ, conclusion, demo_study, effect, quotes
from mlxintro.training.material import material
from tests.plans import graded_row


def graded(*, claims: bool, names: bool = False) -> Grade:
    return Grade(affirms=claims, identifies=names, named_before_affirming=False, coherent=True, refuses=False)


def rows(claiming: int, alarms: int) -> Iterator[Row]:
    """Fifty injected trials of different concepts and fifty without; as many claims of each."""
    for at in range(50):
        yield graded_row(True, f"word{at}", 20, 0.7, graded(claims=at < claiming, names=at < claiming // 2))
        yield graded_row(False, None, 20, 0.7, graded(claims=at < alarms))


def found(claiming: int, alarms: int) -> Analysis:
    return analyse(list(rows(claiming, alarms)), demo_study("torch", None))


def test_no_effect_and_an_effect_are_what_the_demo_is_about() -> None:
    text = " ".join(conclusion(found(2, 2), found(45, 0)))
    assert "The plain model: no effect shown." in text
    assert "not blind" in text


def test_a_trained_subject_that_notices_nothing_is_called_a_fault() -> None:
    text = " ".join(conclusion(found(2, 2), found(1, 2)))
    assert "something is wrong" in text
    assert "not blind" not in text


def test_a_plain_subject_that_seems_to_notice_is_not_believed() -> None:
    text = " ".join(conclusion(found(30, 0), found(45, 0)))
    assert "repeat it with more trials" in text
    assert "not blind" not in text


def test_replies_nobody_graded_conclude_nothing() -> None:
    silent = analyse([], demo_study("torch", None))
    assert conclusion(silent, found(45, 0)) == ["Nothing can be concluded: too few replies could be graded."]
    assert not effect(silent.verdict)


@pytest.mark.parametrize("kind", ["yes-bias", "steering only", "no effect shown"])
def test_what_lies_below_noticing_is_no_effect(kind: str) -> None:
    assert not effect(Verdict(kind, ""))  # type: ignore[arg-type]


def trial(number: int, concept: str | None, arm: str = "") -> Trial:
    return Trial(
        run="r",
        key=f"b2:{number}",
        ordinal=number,
        status="done",
        condition="control" if concept is None else "injected",
        arm=arm,
        concept=concept,
        layer=None if concept is None else 20,
        strength=None if concept is None else 0.7,
        unit=None if concept is None else "resid",
        response=f"reply {number}",
        finish="stop",
        tokens=2,
        error=None,
        created="",
        spec_json="{}",
        proofs_json="[]",
        doses_json="[]",
        measurements_json="{}",
    )


def test_replies_are_chosen_before_anybody_has_read_them() -> None:
    words = [None, "milk", "dust", "poetry", None, "volcanoes", None]
    trials = [trial(number, word) for number, word in enumerate(words)] + [trial(9, "milk", "random")]
    silent = quotes([(one, None) for one in trials])
    assert [quote.trial.ordinal for quote in silent] == [5, 1, 3, 0, 4]
    loud = quotes([(one, graded(claims=one.ordinal % 2 == 0, names=True)) for one in trials])
    assert [quote.trial for quote in loud] == [quote.trial for quote in silent]
    assert quotes([]) == []


@pytest.mark.parametrize(("backend", "dtype"), [("torch", None), ("mlx", None), ("mlx", "float32")])
def test_both_subjects_get_the_same_study_on_words_that_neither_was_trained_on(backend: str, dtype: str | None) -> None:
    plain, trained = (
        launch.check(demo_study(backend, dtype, adapter)).study.model_dump() for adapter in ADAPTERS.values()
    )
    assert plain.pop("adapter") is None
    assert trained.pop("adapter") == "smollm2-control"
    assert plain == trained
    asked = set(library().sets["lindsey-50"].words)
    assert set(READ) < asked
    assert asked.isdisjoint(material().words)
