"""Stored grades of one version are comparable: the rules may not change a verdict without a new version."""

from __future__ import annotations

import json

import pytest

from mlxintro.grading.rules import version
from mlxintro.grading.rules.grader import RulesGrader
from tests import golden


@pytest.fixture(scope="module")
def now() -> dict[str, str]:
    """What the rules say of the corpus."""
    return golden.current()


def test_no_verdict_on_the_corpus_changes_without_a_new_version(now: dict[str, str]) -> None:
    kept = json.loads(golden.FILE.read_text("utf-8"))
    changed = [name for name, code in now.items() if kept["grades"].get(name) != code]
    assert kept["version"] == RulesGrader().version, "a new version needs its grades: python -m tests.golden"
    assert not changed, (
        f"raise VERSION in mlxintro/grading/rules/version.py, then python -m tests.golden: {changed[:5]}"
    )
    assert set(kept["grades"]) == set(now)


def test_the_corpus_cannot_be_rewritten_under_the_same_version(
    now: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(golden, "current", lambda: dict(now))
    copy = tmp_path_factory.mktemp("golden") / "golden_grades.json"
    kept = json.loads(golden.FILE.read_text("utf-8"))
    name = next(iter(kept["grades"]))
    kept["grades"][name] = "------ ------"
    copy.write_text(json.dumps(kept))
    monkeypatch.setattr(golden, "FILE", copy)
    assert golden.main() == 1
    assert json.loads(copy.read_text()) == kept
    monkeypatch.setattr(golden, "VERSION", version.VERSION + "-next")
    assert golden.main() == 0
    assert json.loads(copy.read_text())["grades"][name] != "------ ------"


def test_the_corpus_holds_every_kind_of_verdict() -> None:
    codes = [code.split()[0] for code in json.loads(golden.FILE.read_text("utf-8"))["grades"].values()]
    for place in range(5):
        assert {code[place] for code in codes} >= {"y", "n", "-"} or place == 3
