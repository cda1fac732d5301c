"""Concepts of a person's own: read with errors in one line, stored with the run, known wherever words are looked up."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

import mlxintro as mi
from mlxintro.analysis.counted_rows import analysed_rows
from mlxintro.analysis.run import analysis_of
from mlxintro.analysis.taxonomy import claimed_words
from mlxintro.backends.errors import UsageError
from mlxintro.grading.passes import find_grader, grade_run, rows_of
from mlxintro.protocol import study_file
from mlxintro.protocol.concepts import library
from mlxintro.protocol.study import make_study
from mlxintro.protocol.words.own_concepts import OwnConcepts, library_of, library_with, read_concept_files
from mlxintro.running.preview import preflight
from mlxintro.store.exporting.export import export_rows
from mlxintro.store.store import Store
from tests.cli import RUN, Call

FILE = """
[concepts.weather]
drizzle = ["light rain"]
hail = []
"dust devil" = ["whirlwind"]
ocean = ["Atlantic"]

[concepts]
machines = ["loom", "combine harvester"]

[sets.wet]
source = "ours"
words = ["drizzle", "ocean", "river"]
"""
CLAIM = "Yes, I detect an injected thought. It seems to be about light rain."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "concepts.toml"
    path.write_text(FILE)
    return path


def own_of(text: str, folder: Path) -> OwnConcepts:
    path = folder / "own.toml"
    path.write_text(text)
    found = read_concept_files([path])
    assert found is not None
    return found


def run_own(call: Call, file: Path, *more: str) -> None:
    """Run a tiny study of own concepts; its name is ``own``."""
    settings = ("--layers", "0.66", "--strengths", "4", "--controls", "1", "--name", "own", *more)
    done = call(*RUN, "-m", "detector", "--concept-file", str(file), "--concepts", "set:wet,hail", *settings)
    assert done.code == 0, done.err


def test_words_of_a_file_have_categories_near_names_and_sets(file: Path) -> None:
    known = library_with(read_concept_files([file]))
    assert [one.word for one in known.resolve(["set:wet", "category:machines"], False)] == [
        *("drizzle", "ocean", "river"),
        *("combine harvester", "loom"),
    ]
    assert known.category("drizzle") == known.category("ocean") == "weather"
    assert {"light rain", "drizzles"} <= set(known.related("drizzle"))
    # A word of one's own goes before the shipped one, and what ships stays as it is.
    assert "Atlantic" in known.related("ocean")
    assert "sea" not in known.related("ocean")
    assert "sea" in library().related("ocean")
    assert library().find("drizzle") is None
    assert [one.word for one in known.resolve(["set:lindsey-50"], False)] == [
        one.word for one in library().resolve(["set:lindsey-50"], False)
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[concept.weather]\na = []", "no table [concept]"),
        ('[concepts.weather]\na = "b"', 'own.toml:2: concepts.weather.a: write a = ["...", "..."]'),
        ("[concepts.weather]\na = [1]", "own.toml:2: concepts.weather.a"),
        ("[concepts.weather]\n", "own.toml:1: concepts.weather: it holds no words"),
        ("[concepts]\nweather = 3", "own.toml:2: concepts.weather: write [concepts.CATEGORY]"),
        ('[concepts."a b"]\nc = []', "no name"),
        ('[concepts.weather]\n"a,b" = []', "holds a comma"),
        ('[concepts.weather]\na = [""]', "own.toml:2: concepts.weather.a: '' is no concept"),
        ("[concepts.weather]\na = []\nA = []", "own.toml:3: A: it is there twice (also as a)"),
        ("[concepts.weather]\na = []\n[concepts.other]\na = []", "a: it is there twice (also under weather)"),
        ('[sets.wet]\nwords = ["zzz"]', "own.toml:1: [sets.wet]: 'zzz' is no concept: add it under"),
        (
            '[sets.blueprint]\nwords = ["ocean"]',
            "own.toml:1: [sets.blueprint]: there is a set or category",
        ),
        ('[sets.wet]\nword = ["ocean"]', "sets.wet: write [sets.NAME]"),
        ("[concepts.custom]\na = []", "has a meaning already"),
        ("", "holds no concepts"),
        ("x = ", "this is not TOML"),
    ],
)
def test_a_bad_file_gets_one_line_that_names_the_key(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        own_of(text, tmp_path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_files_are_taken_together_and_a_word_in_both_is_refused(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[concepts.weather]\nsleet = []\n[concepts.tools]\nadze = ["hoe"]')
    both = read_concept_files([file, other])
    assert both is not None
    assert set(both.concepts) == {"weather", "machines", "tools"}
    assert {"drizzle", "sleet"} <= set(both.concepts["weather"])
    other.write_text("[concepts.more]\ndrizzle = []")
    with pytest.raises(UsageError, match="drizzle"):
        read_concept_files([file, other])


def test_a_study_names_the_file_relative_to_its_own_and_is_another_study_without_it(file: Path) -> None:
    study = file.parent / "study.toml"
    study.write_text('model = "detector"\nbackend = "fake"\nconcepts = ["set:wet"]\nconcept_file = "concepts.toml"\n')
    made = make_study(**{"model": "detector", **study_file.read(str(study)).settings})
    assert list(made.resolved_concepts) == ["drizzle", "ocean", "river"]
    again = study_file.parse(study_file.write(made), "again.toml", file.parent / "elsewhere")
    assert make_study(**{"model": "detector", **again.settings}) == made
    study.write_text(study.read_text().replace("concepts.toml", "gone.toml"))
    with pytest.raises(UsageError, match=r"study.toml:4: there is no file"):
        study_file.read(str(study))


def test_a_run_holds_what_its_grades_categories_and_statistics_need(call: Call, home: Path, file: Path) -> None:
    run_own(call, file)
    file.unlink()
    with Store(home / "mlxintro.db") as store:
        run = store.runs.find("own")
        known = library_of(run.study)
        assert "light rain" in known.related("drizzle")
        rows = list(export_rows(store, [run.id]))
        assert {row["concept"]: row["category"] for row in rows if row["concept"]} == {
            **dict.fromkeys(("drizzle", "hail", "ocean"), "weather"),
            "river": "nature",
        }
        assert all(row.library is known for row in [*rows_of(store, run, "rules"), *analysed_rows(store, run, "rules")])
        tables = {table.name: table for table in analysis_of(store, run, "rules").tables}
        assert [row[0] for row in tables["categories"].rows] == ["nature", "weather"]


def test_a_near_name_of_the_file_counts_as_naming_the_concept_in_a_run(call: Call, home: Path, file: Path) -> None:
    run_own(call, file, "--no-grade")
    with Store(home / "mlxintro.db") as store:
        run = store.runs.find("own")
        (trial, *_) = [one for one in store.trials.of_run(run.id) if one.concept == "drizzle" and one.response]
        # The subject's own reply, replaced by one that says a near name; nothing else of the trial is touched.
        with closing(sqlite3.connect(store.path)) as db, db:
            db.execute("UPDATE trials SET response = ? WHERE run = ? AND key = ?", (CLAIM, run.id, trial.key))
        grade_run(store, run, find_grader("rules-strict"))
        (grade,) = store.grades.latest(run.id, grader="rules-strict", keys=[trial.key])
        assert grade.identifies
    assert find_grader("rules-strict").grade(CLAIM, "drizzle", library().related("drizzle")).identifies is False
    assert mi.grade(CLAIM, "drizzle", strict=True, concept_file=file).identifies
    assert claimed_words("It is about mizzle.") == ["mizzle"]
    assert claimed_words("It is about whirlwind.", library_with(read_concept_files([file]))) == ["dust devil"]


def test_resuming_takes_the_stored_concepts_and_refuses_a_changed_file(call: Call, home: Path, file: Path) -> None:
    run_own(call, file)
    again = ("run", "--resume", "own", "--concept-file", str(file))
    assert call(*again).code == 0
    file.write_text(FILE.replace("light rain", "downpour"))
    refused = call(*again)
    assert refused.code == 2
    assert "(drizzle differs)" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert call(*again[:-2]).code == 0


def test_a_studys_line_with_a_changed_file_does_not_begin_another_study_silently(
    call: Call, file: Path, tmp_path: Path
) -> None:
    study = tmp_path / "wet.toml"
    study.write_text(
        'model = "detector"\nbackend = "fake"\nconcepts = ["drizzle"]\nconcept_file = "concepts.toml"\n'
        'layers = [0.66]\nstrengths = [4]\ncontrols = "none"\n'
    )
    line = ("run", str(study))
    assert call(*line).code == 0
    file.write_text(FILE.replace("light rain", "downpour"))
    refused = call(*line)
    assert refused.code == 2
    assert "(drizzle differs): put the file of concepts back" in refused.err
    assert call(*line, "--name", "other").code == 0


def test_replies_of_a_file_are_graded_by_own_near_names(call: Call, file: Path, tmp_path: Path) -> None:
    replies = tmp_path / "replies.jsonl"
    replies.write_text(json.dumps({"response": CLAIM, "concept": "drizzle"}))
    line = ("grade", "file", str(replies), "--grader", "rules-strict")
    for more, named in (((), False), (("--concept-file", str(file)), True)):
        assert call(*line, *more).lines[0]["identifies"] is named


def test_a_concept_that_stands_in_any_reply_is_warned_of_before_it_is_run(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[concepts.mine]\nrefusal = ["No"]\n')
    tiny = (*RUN, "-m", "null", "--layers", "0.66", "--strengths", "4", "--trials", "1", "--controls", "1")
    given = (*tiny, "--concept-file", str(file), "--concepts", "yes,refusal", "--any-word")
    said = "'yes' and 'No' stand in replies whatever is injected"
    assert f"warning: {said}" in call(*given).err
    assert f"warning:   {said}" in call(*given, "--dry-run").out
    assert call(*given, "--dry-run", "--json").lines[0]["warning"].startswith(said)
    plain = call(*tiny, "--concepts", "ocean", "--dry-run")
    assert plain.code == 0
    assert "warning" not in plain.out + plain.err


def test_a_run_on_a_nearly_full_disk_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    (warning,) = preflight.warnings_of(
        tmp_path / "not there yet" / "x.db", [make_study(model="null", concepts=("ocean",))]
    )
    assert warning.startswith("only 5 MB are free")
