"""Arms whose replies differ in being open, garbled or refused are named: what a grader gets wrong differs there too."""

from __future__ import annotations

from mlxintro.analysis.arm_rates import arm_rates, warnings
from mlxintro.analysis.results import Row
from mlxintro.grading.base import Grade
from mlxintro.replies.grade_terms import GradeState

OPEN = Grade(None, None, None, True, None, state=GradeState.ABSTAINED)
GARBLED = Grade(None, None, None, False, None)
DENIES = Grade(False, None, None, True, False)


def rows(condition: str, *grades: Grade, arm: str = "") -> list[Row]:
    return [
        Row(f"{condition}{arm}{n}", condition, arm, None, 1, 2.0, n, "", {}, {}, grade)
        for n, grade in enumerate(grades)
    ]


def test_shares_stand_arm_beside_arm_and_a_gap_of_more_than_five_points_is_named() -> None:
    found = arm_rates(
        rows("injected", *[GARBLED] * 10, *[OPEN] * 2, *[DENIES] * 88) + rows("control", *[GARBLED] * 4, *[DENIES] * 96)
    )
    assert [one.arm for one in found] == ["injected", "controls"]
    assert [one.incoherent.value for one in found] == [0.1, 0.04]
    said = list(warnings(found))
    assert len(said) == 1
    assert "incoherent replies differ between the arms: 10% of injected, 4% of controls" in said[0]


def test_a_gap_of_five_points_or_an_arm_of_few_replies_is_not_named() -> None:
    near = rows("injected", *[OPEN] * 5, *[DENIES] * 95) + rows("control", *[DENIES] * 100)
    assert list(warnings(arm_rates(near))) == []
    few = rows("injected", *[OPEN] * 50, *[DENIES] * 50) + rows("control", *[DENIES] * 10)
    assert list(warnings(arm_rates(few))) == []
