"""The commands that read the store, or work on a model without one."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import sqlite3
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.cli import RUN, SMALL, Call, content, ended, events, mlxintro, started, until

FAKE = ("--backend", "fake")


def test_runs_are_listed_the_latest_last(call: Call) -> None:
    call(*RUN, "--concepts", "bread", "--strengths", "2", "--controls", "1", "--name", "second")
    listed = call("runs", "list", "--json").lines
    assert [one["name"] for one in listed] == ["first", "second"]
    assert [(one["done"], one["planned"], one["errors"], one["state"]) for one in listed] == [
        (18, 18, 0, "done"),
        (2, 2, 0, "done"),
    ]
    table = call("runs", "list").out.splitlines()
    assert [line.split()[0] for line in table] == ["name", "------", "first", "second"]


def test_a_new_store_lists_nothing_and_says_how_to_start(tmp_path: Path) -> None:
    done = mlxintro(tmp_path, "runs", "list")
    assert (done.code, done.out) == (2, "")
    assert "`mlxintro run` makes one" in done.err


def test_a_run_is_shown_with_its_window_and_its_replies(call: Call) -> None:
    shown = call("runs", "show", "first")
    rows = call("runs", "export", "first").lines
    assert "18 of 18 trials" in shown.out
    marked = shown.out.splitlines()
    question = next(i for i, line in enumerate(marked) if "Trial|" in line)
    assert set(marked[question + 1]) == {"▓", " "}, "the question is injected into"
    before = next(i for i, line in enumerate(marked) if "injected|·thought|" in line)
    assert "▓" not in marked[before + 1], "what stands before it is not"
    for row in rows:
        assert row["trial_key"].removeprefix("b2:")[:10] in shown.out
        assert " ".join(row["response"].split())[:60] in shown.out


@pytest.mark.parametrize(
    ("flags", "keeps"),
    [
        (("--condition", "control"), lambda row: row["condition"] == "control"),
        (("--concept", "fear"), lambda row: row["concept"] == "fear"),
        (("--contains", "OCEAN"), lambda row: "ocean" in row["response"].lower()),
        (("--limit", "4"), lambda row: row["ordinal"] < 4),
    ],
)
def test_only_the_trials_asked_for_are_shown(call: Call, flags: tuple[str, ...], keeps: object) -> None:
    assert callable(keeps)
    shown = call("runs", "show", "first", *flags).out
    for row in call("runs", "export", "first").lines:
        assert (row["trial_key"].removeprefix("b2:")[:10] in shown) == keeps(row), row


def test_a_trial_is_shown_in_full_by_the_start_of_its_key(call: Call) -> None:
    row = next(row for row in call("runs", "export", "first").lines if row["condition"] == "injected")
    short = row["trial_key"].removeprefix("b2:")[:10]
    shown = call("runs", "show", "first", short).out
    assert row["response"] in shown
    assert f"{row['proofs'][0]['positions']} positions touched" in shown
    (trial,) = call("runs", "show", "first", short, "--json").lines
    assert (trial["trial_key"], trial["response"]) == (row["trial_key"], row["response"])
    assert (trial["proofs"], trial["doses"]) == (row["proofs"], row["doses"])
    assert trial["grades"][0]["affirms"] == row["rules.affirms"]


def test_what_was_measured_is_shown_where_nothing_was_said(call: Call) -> None:
    more = ("--concepts", "ocean", "--strengths", "2", "--trials", "1", "--controls", "standard", "--name", "arms")
    assert call(*RUN, *more).code == 0
    table = {line.split()[0]: line for line in call("runs", "show", "arms").out.splitlines() if line.strip()}
    rows = call("runs", "export", "arms").lines
    assert {row["arm"] for row in rows} == {"", "random", "question", "clear-no", "clear-yes"}
    for row in rows:
        line = table[row["trial_key"].removeprefix("b2:")[:10]]
        scores = row["measurements"].get("logprobs")
        assert (row["arm"] or ("control" if row["condition"] == "control" else "ocean")) in line
        assert ("ungraded" in line, bool(scores)) == (False, row["response"] == "")
        if scores:
            likeliest = max(scores, key=scores.get)
            assert f"[{likeliest!r} {math.exp(scores[likeliest]):.2g}, " in line
            whole = call("runs", "show", "arms", row["trial_key"][3:13]).out.split("probability of each continuation")[
                1
            ]
            assert all(f"{math.exp(score):.4g}" in whole and repr(text) in whole for text, score in scores.items())


def test_curves_are_drawn_on_request(call: Call) -> None:
    curves = ("Rates by strength (rate by strength; bars from 0 to ", "Rates by layer")
    plain, drawn = (call("stats", "first", *flags).out for flags in ((), ("--curves",)))
    assert [title in plain for title in curves] == [False, False]
    assert [title in drawn for title in curves] == [True, False], "one layer makes no curve"
    assert drawn.startswith(plain)
    points = drawn.split("  detection\n")[1].split("  identification\n")[0].split("\n")[:-1]
    assert [float(line.split()[0]) for line in points] == [2.0, 4.0]
    cells = call("stats", "first", "--json").lines[0]["cells"]
    assert [float(line.split()[-1]) for line in points] == [
        pytest.approx(cell["detection"]["value"], abs=0.005) for cell in cells
    ]


def test_a_reply_cannot_steer_the_terminal(call: Call, home: Path) -> None:
    with sqlite3.connect(home / "mlxintro.db") as db:
        db.execute("UPDATE trials SET response = ?", ("\x1b[2J\x1b]0;owned\x07\x9bclean\r\x08 text",))
    db.close()
    (key, *_) = (row["trial_key"] for row in call("runs", "export", "first").lines)
    for shown in (call("runs", "show", "first").out, call("runs", "show", "first", key[3:13]).out):
        assert "clean" in shown
        assert not set(shown) & {"\x1b", "\x07", "\x9b", "\x08", "\r"}


@pytest.mark.parametrize("to", ["stdout", "file"])
def test_a_run_is_exported_in_three_formats_with_the_same_content(call: Call, tmp_path: Path, to: str) -> None:
    wanted = [(row["trial_key"], row["response"]) for row in call("runs", "export", "first").lines]
    assert len(wanted) == 18

    def exported(kind: str) -> bytes:
        target = tmp_path / f"run.{kind}"
        if to == "file":
            done = call("runs", "export", "first", "--format", kind, "-o", str(target))
            assert (done.code, done.out) == (0, "")
            assert f"18 trials of first written to {target}" in done.err
        else:
            with target.open("wb") as file:
                home = Path(os.environ["MLXINTRO_HOME"])
                done = mlxintro(home, "runs", "export", "first", "--format", kind, stdout=file)
            assert (done.code, done.err) == (0, "")
        return target.read_bytes()

    rows = [json.loads(line) for line in exported("jsonl").decode().splitlines()]
    assert [(row["trial_key"], row["response"]) for row in rows] == wanted
    table = list(csv.DictReader(io.StringIO(exported("csv").decode(), newline="")))
    assert [(row["trial_key"], row["response"]) for row in table] == wanted
    columns = parquet.read_table(io.BytesIO(exported("parquet"))).to_pylist()
    assert [(row["trial_key"], row["response"]) for row in columns] == wanted
    assert list(table[0]) == list(rows[0]) == list(columns[0])


def test_a_dash_means_stdout(call: Call) -> None:
    assert call("runs", "export", "first", "-o", "-").out == call("runs", "export", "first").out


def test_a_store_comes_home_once_however_often_it_is_brought(call: Call, home: Path, tmp_path: Path) -> None:
    gpu = tmp_path / "gpu.db"
    assert (
        call(
            "--db", str(gpu), *RUN, "--concepts", "bread", "--strengths", "2", "--controls", "1", "--name", "first"
        ).code
        == 0
    )
    there = call("--db", str(gpu), "runs", "export", "first").lines
    first = call("runs", "import", str(gpu))
    assert (first.code, first.out) == (0, "")
    assert first.err.startswith("1 runs, 2 trials, 2 grades")
    before = content(home)
    assert call("runs", "import", str(gpu)).err.startswith("0 runs, 0 trials, 0 grades")
    assert content(home) == before
    names = [one["name"] for one in call("runs", "list", "--json").lines]
    assert sorted(names) == ["first", "first-2"]
    assert [row["response"] for row in call("runs", "export", "first-2").lines] == [row["response"] for row in there]


def test_a_run_is_deleted_only_when_confirmed(home: Path) -> None:
    before = content(home)
    for answer, code in (("n\n", 1), ("\n", 1), ("", 130)):
        refused = mlxintro(home, "runs", "rm", "first", stdin=answer)
        assert (refused.code, refused.out) == (code, "")
        assert content(home) == before
    assert mlxintro(home, "runs", "rm", "first", stdin="y\n").code == 0
    assert mlxintro(home, "runs", "list", "--json").out == ""


def test_grading_again_adds_and_keeps(call: Call, home: Path) -> None:
    assert "0 graded (0 abstained), 18 were graded before" in call("grade", "first").err
    before = call("stats", "first", "--json").out
    assert "18 graded" in call("grade", "first", "--again").err
    assert call("stats", "first", "--json").out == before
    assert sum(row.startswith('INSERT INTO "grades"') for row in content(home)[0]) == 36


def test_what_is_not_graded_is_in_no_rate(call: Call) -> None:
    call(*SMALL, "--name", "raw", "--no-grade")
    shown = call("stats", "raw")
    assert "18 replies are not graded: mlxintro grade raw" in shown.err
    (found,) = call("stats", "raw", "--json").lines
    assert found["overall"]["detection"]["trials"] == 0
    assert found["overall"]["detection"]["value"] is None
    call("grade", "raw")
    (graded,) = call("stats", "raw", "--json").lines
    assert graded["overall"]["counts"]["unscored"] == 0


def test_rates_agree_with_the_exported_verdicts(call: Call) -> None:
    rows = call("runs", "export", "first").lines
    (found,) = call("stats", "first", "--json").lines
    for condition, counted in (("injected", found["overall"]["counts"]), ("control", found["controls"])):
        mine = [row for row in rows if row["condition"] == condition]
        judged = [r for r in mine if r["rules.state"] == "scored"]
        claims = [r for r in judged if r["rules.affirms"] and r["rules.coherent"] and not r["rules.refuses"]]
        assert (counted["trials"], counted["graded"], counted["detected"]) == (len(mine), len(judged), len(claims))
    assert sum(cell["counts"]["trials"] for cell in found["cells"]) == 12


def test_extracted_norms_are_those_of_the_files(call: Call, home: Path) -> None:
    shutil.rmtree(home / "vectors")
    done = call("extract", "ocean", "fear", *FAKE, "--layers", "2,0.66", "--json")
    assert [(line["concept"], line["layers"]) for line in done.lines] == [("ocean", [2, 5]), ("fear", [2, 5])]
    assert all(0 < norm < 1e6 for line in done.lines for norm in (*line["norms"], *line["resid_norms"]))
    assert (home / "vectors" / f"{done.lines[0]['recipe'].replace(':', '-')}.safetensors").exists()
    again = call("extract", "ocean", *FAKE, "--json")
    assert again.lines[0]["content"] == done.lines[0]["content"]
    assert len(again.lines[0]["norms"]) == 8
    table = call("extract", "ocean", *FAKE).out.splitlines()
    assert len(table) == 2 + 8


def test_steering_shows_both_replies_and_passes_only_where_the_concept_comes_out(call: Call) -> None:
    done = call("steer", "ocean", *FAKE, "--no-validate", "--json")
    (shown,) = done.lines
    assert done.code == 0
    assert "ocean" in shown["steered"]
    assert "ocean" not in shown["plain"]
    assert shown["proof"]["positions"] > 0
    assert shown["validation"] is None
    nothing = call("steer", "ocean", *FAKE, "--no-validate", "--strength", "0", "--json").lines[0]
    assert nothing["steered"] == nothing["plain"]


def test_check_prints_evidence_and_its_exit_code_counts(call: Call) -> None:
    done = call("check", *FAKE)
    assert done.code == 0
    assert all(line.startswith("pass  ") for line in done.out.splitlines())
    lines = call("check", *FAKE, "--json").lines
    assert lines[0]["name"] == "model"
    assert all(line["passed"] and line["detail"] for line in lines)


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_models_are_listed_without_a_network(call: Call, backend: str) -> None:
    lines = call("models", "list", "--backend", backend, "--json").lines
    assert lines[0]["name"] == "smollm2"
    assert {line["on_disk"] for line in lines[1:]} == {"absent"}, "an empty cache"
    assert all(line["weight_bytes"] > 0 and line["needed_bytes"] >= line["weight_bytes"] for line in lines)
    table = call("models", "list", "--backend", backend).out.splitlines()
    assert len(table) == 2 + len(lines)


@pytest.mark.parametrize(
    "command",
    [("runs", "show", "first"), ("runs", "list"), ("runs", "export", "first"), ("stats", "first"), ("--help",)],
    ids=" ".join,
)
def test_a_reader_that_goes_away_is_no_error_to_read_about(home: Path, command: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        done = mlxintro(home, *command, stdout=nobody)
    assert done.code == 1
    assert "BrokenPipe" not in done.err
    assert "mlxintro:" not in done.err


def test_a_run_whose_reader_goes_away_is_left_interrupted_and_can_be_resumed(tmp_path: Path) -> None:
    process = started(tmp_path, *SMALL, "-m", "detector?delay=0.01", "--name", "piped", "--json")
    until(events(process), "TrialFinished")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    done = ended(process)
    assert done.code == 1
    assert "BrokenPipe" not in done.err
    (found,) = mlxintro(tmp_path, "runs", "list", "--json").lines
    assert (found["state"], found["pid"]) == ("interrupted", None)
    assert mlxintro(tmp_path, "run", "--resume", "piped").code == 0


def test_a_run_can_be_renamed_to_a_name_that_is_free_and_fit(call: Call) -> None:
    assert call("runs", "rename", "first", "second").code == 0
    assert call("runs", "show", "second").code == 0
    assert call("runs", "show", "first").code == 2
    for name in ("second", "a\nb", "-x", " "):
        assert call("runs", "rename", "--", "second", name).code == 2
