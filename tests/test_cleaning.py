"""Text from outside reaches a terminal, a table and a pipe without what would steer them."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxintro.cli.output import json_line, shorten
from mlxintro.rendering.cleaning import escaped_json, visible
from mlxintro.rendering.grids import grid

from .cli import Call, mlxintro

EVIL = "\x1b]52;c;QUJD\x07 \x9b31m \u202e\u2066 \x00\u2028"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left_and_the_rest_is(text: str) -> None:
    cleaned = visible(text)
    assert not STEERING.search(cleaned)
    assert len(cleaned) == len(text)
    cleaned.encode()
    assert visible(cleaned) == cleaned


@given(st.text())
def test_json_keeps_its_value_and_steers_nothing(text: str) -> None:
    line = json_line({"text": text})
    assert not STEERING.search(line)
    assert json.loads(line) == {"text": text}
    assert json.loads(escaped_json(json.dumps(text, ensure_ascii=False))) == text


def test_every_command_writes_through_the_one_place_that_cleans() -> None:
    folder = Path(__file__).parents[1] / "mlxintro" / "cli"
    direct = [
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path.name != "output.py" and re.search(r"click\.s?echo\(|(?<!\.)\bprint\(", path.read_text("utf-8"))
    ]
    assert direct == []


@pytest.fixture
def evil(home: Path) -> Path:
    """A store in which every text holds escapes, as one that a script has written may."""
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        for table, columns in {
            "runs": ("name", "error"),
            "trials": ("concept", "arm", "unit", "response"),
            "grades": ("grader", "reason", "version"),
        }.items():
            for column in columns:
                db.execute(f"UPDATE {table} SET {column} = coalesce({column}, '') || ?", (EVIL,))
        for name in ("model", "revision", "device"):
            db.execute(f"UPDATE runs SET model = json_set(model, '$.{name}', ?)", (EVIL,))
        db.execute('UPDATE prompts SET record = replace(record, \'"pieces":["\', \'"pieces":["\\u001b]0;x\\u0007\')')
        db.commit()
    return home


def test_no_command_lets_an_escape_of_a_store_through(call: Call, evil: Path) -> None:
    with closing(sqlite3.connect(evil / "mlxintro.db")) as db:
        (run,) = db.execute("SELECT id FROM runs").fetchone()
        keys = [key for (key,) in db.execute("SELECT key FROM trials WHERE condition = 'injected' LIMIT 2")]
    for command in (
        ("runs", "list"),
        ("runs", "list", "--json"),
        ("runs", "show", run),
        ("runs", "show", run, "--json"),
        *(("runs", "show", run, key) for key in keys),
        ("runs", "show", run, keys[0], "--json"),
        ("stats", run),
        ("stats", run, "--json"),
        ("runs", "pause", run),
        ("runs", "show", EVIL),
        ("run", EVIL),
        ("runs", "rm", run, "--yes"),
    ):
        done = call(*command)
        assert not STEERING.search(done.out + done.err), command


def test_wide_characters_count_as_the_cells_they_take() -> None:
    lines = grid(["name", "n"], [["\u6d77\u6d0b", "1"], ["ocean", "22"]], right=(1,))
    assert lines == ["name    n", "-----  --", "\u6d77\u6d0b    1", "ocean  22"]
    assert shorten("\u6d77" * 10, 5) == "\u6d77\u6d77\u2026"
    assert grid(["a"], [["x\ny"]])[2] == "x y"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "utf-8"])
def test_a_redirected_stdout_may_have_any_encoding(home: Path, encoding: str, tmp_path: Path) -> None:
    listed = mlxintro(home, "runs", "show", "first", "--json", PYTHONIOENCODING=encoding)
    assert (listed.code, listed.err) == (0, "")
    trial = json.loads(mlxintro(home, "runs", "export", "first").out.splitlines()[0])["trial_key"]
    with (tmp_path / "out.txt").open("wb") as out:
        done = mlxintro(home, "runs", "show", "first", trial, stdout=out, PYTHONIOENCODING=encoding)
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "out.txt").read_bytes().rstrip().splitlines()[-1].startswith(b"rules: ")
