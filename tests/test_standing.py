"""What triggers keep up to date, against the rows it is made from: counted anew by reading every trial and verdict."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlxintro.grading.disagreements import contradictions
from mlxintro.grading.passes import from_record
from mlxintro.rendering.verdict_words import in_words
from mlxintro.replies.grade_terms import NAMING_LEVELS, GradeState
from mlxintro.store import Finished, GradeRecord, Label, Store, TrialFilter
from mlxintro.store.grades import VerdictCount
from mlxintro.store.records import GRADE_FIELDS
from mlxintro.store.schema.migrations import MIGRATIONS, migrate
from mlxintro.store.searching.verdict_code import classes_of, verdict_of
from tests.plans import outcome, plan

CLASSES = "incoherent", "unclear", "refuses", "no claim", "no claim, says it", "claims, name unclear"


def _grade(key: str, grader: str, dice: random.Random) -> GradeRecord:
    fields: dict[str, Any] = {name: dice.choice((None, False, True)) for name in GRADE_FIELDS}
    if dice.random() < 0.1:
        return GradeRecord(key=key, grader=grader, version="1", state=GradeState.UNSCORED, reason="it failed")
    state = GradeState.ABSTAINED if dice.random() < 0.1 else GradeState.SCORED
    naming = dice.choice((None, *NAMING_LEVELS))
    return GradeRecord(key=key, grader=grader, version="1", state=state, naming=naming, **fields)


def _code(verdict: GradeRecord | VerdictCount | None) -> tuple[object, ...]:
    """Everything that is counted of a verdict; nothing where the grader failed."""
    if verdict is None or verdict.state is GradeState.UNSCORED:
        return ()
    return tuple(getattr(verdict, name) for name in (*GRADE_FIELDS, "state", "naming"))


@pytest.fixture
def lively(tmp_path: Path) -> Iterator[Store]:
    """Two runs: trials that fail and are tried again, verdicts that change, labels that are withdrawn."""
    dice = random.Random(3)
    with Store(tmp_path / "mlxintro.db") as store:
        for name in ("a", "b"):
            run = store.runs.create("injected-thoughts", planned=120, name=name, model={"model": "x"}).id
            specs = plan(120)
            failed = {i for i in range(120) if dice.random() < 0.2}
            first = [outcome(s, "x", error="out of memory" if i in failed else None) for i, s in enumerate(specs)]
            store.trials.add(run, [Finished(i, s, o) for i, (s, o) in enumerate(zip(specs, first, strict=True))])
            again = [i for i in sorted(failed) if dice.random() < 0.5]
            store.trials.add(run, [Finished(i, specs[i], outcome(specs[i], f"Reply {i}.")) for i in again])
            done = [trial.key for trial in store.trials.of_run(run, TrialFilter(status="done"))]
            for grader in ("rules", "claude", "rules"):
                store.grades.add(run, [_grade(key, grader, dice) for key in done if dice.random() < 0.7])
            store.labels.add(run, [Label(key=key, labeller="ada", fields={"affirms": True}) for key in done[:9]])
            store.labels.add(run, [Label(key=key, labeller="ada", fields={}) for key in done[:4]])
        yield store


def _agrees(store: Store) -> None:
    """Every count and mark is what reading everything gives."""
    for run in (one.id for one in store.runs.all()):
        trials = {trial.key: trial for trial in store.trials.of_run(run)}
        latest: dict[str, dict[str, GradeRecord]] = defaultdict(dict)
        for key in trials:
            for grade in store.grades.history(run, key):
                latest[key][grade.grader] = grade
        for grader in ("rules", "claude", "nobody"):
            expected: Counter[tuple[object, ...]] = Counter()
            for key, trial in trials.items():
                if trial.status == "done" and not trial.arm:
                    expected[trial.condition, trial.layer, trial.strength, *_code(latest[key].get(grader))] += 1
            found: Counter[tuple[object, ...]] = Counter()
            for count in store.grades.counts(run, grader):
                assert count.graded == (count.state is not GradeState.UNSCORED)
                found[count.condition, count.layer, count.strength, *_code(count)] += count.trials
            assert found == expected
            for words in (*CLASSES, "ungraded"):
                where = TrialFilter(grader=grader, verdict=words)
                wanted = [t.ordinal for key, t in trials.items() if in_words(latest[key].get(grader)) == words]
                rows = store.browse.matching(run, where, store.browse.route(run, where))
                assert [one.trial.ordinal for one in store.browse.seen(run, rows)] == wanted, words
        clashes = [
            t.ordinal for key, t in trials.items() if contradictions([from_record(g) for g in latest[key].values()])
        ]
        assert clashes
        labelled = [trials[label.key].ordinal for label in store.labels.latest(run) if label.fields]
        for where, wanted in ((TrialFilter(disputed=True), clashes), (TrialFilter(labelled=True), sorted(labelled))):
            rows = store.browse.matching(run, where, store.browse.route(run, where))
            assert [one.trial.ordinal for one in store.browse.seen(run, rows)] == wanted


def test_triggers_count_what_is_there(lively: Store) -> None:
    _agrees(lively)


def test_an_older_store_is_brought_to_the_same(lively: Store, tmp_path: Path) -> None:
    """Put the rows into the schema of before, which kept no naming level, then migrate."""
    with lively.database.write() as db:
        columns = "id, run, key, grader, version, affirms, identifies, named_before_affirming, coherent, refuses, state"
        verdicts = db.execute(f"SELECT {columns}, created, reason FROM grades ORDER BY id").fetchall()
        db.execute("DELETE FROM grades")
        db.execute("DELETE FROM standing WHERE class <> 'labelled'")
        db.execute("DELETE FROM tallies WHERE grader <> ''")
        db.executemany(f"INSERT INTO grades ({columns}, created, reason) VALUES ({', '.join('?' * 13)})", verdicts)
    old = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    migrate(old, MIGRATIONS[:6])
    old.execute("ATTACH ? AS new", (str(lively.path),))
    for table in ("runs", "trials", "grades", "labels"):
        names = values = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
        if table == "grades":
            values = names.replace("abstained", "state <> 'scored'")
            values = values.replace("reason", "CASE state WHEN 'unscored' THEN 'not graded: ' ELSE '' END || reason")
        old.execute(f"DELETE FROM main.{table}")
        old.execute(f"INSERT INTO main.{table} ({names}) SELECT {values} FROM new.{table}")
    old.execute("DETACH new")
    old.close()
    with Store(tmp_path / "old.db") as store:
        _agrees(store)
        for run in (one.id for one in lively.runs.all()):
            assert store.grades.latest(run) == lively.grades.latest(run)
        for table, columns in (
            ("standing", "run, grader, class, ordinal, trial"),
            ("tallies", "run, grader, class, arm, condition, concept, layer, strength, trials"),
        ):
            # What fell to nothing is kept by triggers and not made by the migration.
            rows = [
                sorted(map(tuple, one.database.rows(f"SELECT {columns} FROM {table}")), key=repr)
                for one in (lively, store)
            ]
            assert [row for row in rows[0] if row[-1] != 0] == rows[1]
        assert store.trials.unindexed() == 240


def test_a_verdict_with_an_older_date_changes_nothing(lively: Store) -> None:
    run = lively.runs.find("a").id
    key = lively.grades.latest(run, grader="rules")[0].key
    with lively.database.write() as db:
        db.execute(
            "INSERT INTO grades (run, key, grader, version, affirms, state, created, reason) "
            "VALUES (?, ?, 'rules', '0', 1, 'scored', '2001-01-01', '')",
            (run, key),
        )
    assert lively.grades.history(run, key)[0].created == "2001-01-01"
    _agrees(lively)


def test_a_deleted_run_leaves_nothing_behind(lively: Store) -> None:
    lively.runs.delete(lively.runs.find("a").id)
    _agrees(lively)
    for table in ("standing", "tallies"):
        assert {row["run"] for row in lively.database.rows(f"SELECT run FROM {table}")} == {lively.runs.find("b").id}


def test_what_comes_from_another_store_is_counted(lively: Store, tmp_path: Path) -> None:
    with Store(tmp_path / "home" / "mlxintro.db") as home:
        home.import_from(lively.path)
        _agrees(home)
        home.import_from(lively.path)
        _agrees(home)


def test_every_class_is_found_by_its_words() -> None:
    every = [
        class_
        for words in (*CLASSES, "claims, wrong concept", "names it first", "claims, names it")
        for class_ in classes_of(words)
    ]
    assert len(every) == len(set(every)) == 3**5 * 2 * 4
    assert {class_[5] for class_ in classes_of("ungraded")} == {"u"}
    assert all(class_ in classes_of(in_words(verdict_of(class_))) for class_ in every)
    assert classes_of("no such words") == ()
