"""A notebook sees what the command line sees, and its page in the docs runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import mlxintro as mi
from mlxintro.analysis.stats import Rate
from mlxintro.backends.errors import UsageError
from tests.cli import Call

ROOT = Path(__file__).parents[1]


def test_the_table_holds_what_is_exported(call: Call) -> None:
    rows = call("runs", "export", "first").lines
    table = mi.frame("first")
    assert list(table.columns) == list(rows[0])
    for name in ("trial_key", "condition", "response", "concept", "seed"):
        assert [None if value != value else value for value in table[name]] == [row[name] for row in rows]
    assert {row["depth"] for row in rows} == {None, 5 / 8}
    assert {row["category"] for row in rows if row["concept"] == "ocean"} == {"nature"}
    assert table["depth"].dropna().unique().tolist() == [5 / 8]


def test_rates_from_the_table_are_those_of_stats(call: Call) -> None:
    """Recomputed with pandas alone, over decided verdicts."""
    (shown,) = call("stats", "first", "--json").lines
    table = mi.frame("first")
    injected = table[(table.condition == "injected") & (table.arm == "")]
    detects = injected["rules.coherent"] & injected["rules.affirms"] & ~injected["rules.refuses"]
    found = mi.results("first").figure("detection")
    assert found is not None
    assert isinstance(found.value, Rate)
    assert (found.value.successes, found.value.trials) == (int(detects.sum()), int(detects.count()))
    assert shown["overall"]["detection"]["value"] == pytest.approx(float(detects.mean()))


def test_a_run_of_a_notebook_is_that_of_the_command_line(call: Call, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        'experiment = "injected-thoughts"\nmodels = ["detector", "null"]\nbackend = "fake"\n'
        'concepts = ["ocean", "fear"]\nstrengths = [2.0, 4.0]\ntrials = 3\ncontrols = 6\n'
    )
    with pytest.raises(UsageError, match="several models"):
        mi.run(study)
    run = mi.run(study, model="detector", name="mine")
    assert (run.state, run.done) == ("done", 18)
    assert [one.name for one in mi.runs()] == ["mine", "first"]
    mine, first = mi.frame("mine"), mi.frame("first")
    for name in ("trial_key", "response", "rules.affirms", "rules.identifies"):
        assert mine[name].equals(first[name]), name
    assert mi.frame()["run"].unique().tolist() == ["mine", "first"]


def test_an_undecided_verdict_is_missing_and_not_false(call: Call) -> None:
    table = mi.frame("first")
    control = table[table.condition == "control"]
    assert control["rules.identifies"].isna().all()
    assert str(table["rules.affirms"].dtype) == "boolean"


def test_grading_one_text_names_the_word_or_a_relative() -> None:
    assert mi.grade("Yes, I notice an injected thought about the ocean.", "ocean").success
    assert mi.grade("No, I do not notice anything unusual.").affirms is False


@pytest.mark.parametrize("reply", [None, 3, b"Yes.", ["Yes."]])
def test_what_is_no_text_is_no_reply(reply: Any) -> None:
    with pytest.raises(UsageError, match="a reply is a text"):
        mi.grade(reply, "ocean")


def test_a_run_that_is_not_there_is_one_line(call: Call) -> None:
    with pytest.raises(UsageError, match="no run"):
        mi.frame("absent")


def test_the_page_of_the_docs_runs(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/notebook.md").read_text("utf-8"), re.DOTALL)
    exec(compile(code, "docs/notebook.md", "exec"), {})
    said = capsys.readouterr().out
    assert "trials" in said
    assert "injected" in said
    assert said.rstrip().endswith("True")
