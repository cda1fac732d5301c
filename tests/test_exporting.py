from __future__ import annotations

import csv
import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from mlxintro.backends.errors import KnownError
from mlxintro.rendering.exporting import Format, write_rows
from tests.cli import Call

ROWS: list[dict[str, Any]] = [
    {
        "key": "b2:1",
        "reply": 'She said "no", then\nleft; \t海 🌊',
        "layer": 5,
        "dose": 0.1,
        "proofs": [{"a": 1}],
        "yes": None,
    },
    {"key": "b2:2", "reply": "=1+1\r\n", "layer": None, "dose": None, "proofs": [], "yes": True},
    {"key": "b2:3", "reply": "", "layer": 0, "dose": 1e-300, "proofs": [{"b": [1, 2]}], "yes": False},
]
FORMATS: tuple[Format, ...] = ("jsonl", "csv", "parquet")


def back(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read with somebody else's reader; nested values and CSV's bare texts become values again."""
    if kind == "jsonl":
        return [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n")[:-1]]
    if kind == "parquet":
        rows = parquet.read_table(path).to_pylist()
        return [{**row, "proofs": json.loads(row["proofs"])} for row in rows]
    values = {"": None, "True": True, "False": False}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {
                "key": row["key"],
                "reply": row["reply"],
                "layer": None if row["layer"] == "" else int(row["layer"]),
                "dose": None if row["dose"] == "" else float(row["dose"]),
                "proofs": json.loads(row["proofs"]),
                "yes": values[row["yes"]],
            }
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_survive_the_way_out_and_back(tmp_path: Path, kind: Format) -> None:
    target = tmp_path / f"rows.{kind}"
    assert write_rows(iter(ROWS), kind, target, defuse=False) == 3
    assert back(target, kind) == ROWS
    assert os.listdir(tmp_path) == [target.name], "nothing else is left behind"


@pytest.mark.parametrize("kind", FORMATS)
def test_no_rows_give_a_readable_file(tmp_path: Path, kind: Format) -> None:
    target = tmp_path / "rows"
    assert write_rows(iter([]), kind, target) == 0
    assert back(target, kind) == []


def test_a_column_of_several_types_is_written_as_json_text(tmp_path: Path) -> None:
    target = tmp_path / "rows.parquet"
    write_rows([{"label": True, "n": 1}, {"label": "unsure", "n": 2.5}, {"label": None, "n": 3}], "parquet", target)
    rows = parquet.read_table(target).to_pylist()
    assert [row["label"] and json.loads(row["label"]) for row in rows] == [True, "unsure", None]


def broken(rows: list[dict[str, Any]], error: Exception) -> Iterator[dict[str, Any]]:
    yield from rows
    raise error


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KnownError("the store is damaged")])
def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path, kind: Format, error: Exception) -> None:
    target = tmp_path / "rows"
    target.write_text("old")
    with pytest.raises(KnownError, match=r"No space left|damaged"):
        write_rows(broken(ROWS, error), kind, target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["rows"]


@pytest.mark.parametrize("where", ["none/rows.csv", "file/rows.csv", "x" * 300])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KnownError, match="choose another file with -o") as error:
        write_rows(ROWS, "csv", tmp_path / where)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_stays_a_link_and_rights_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    write_rows(ROWS, "jsonl", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert back(tmp_path / "real", "jsonl") == ROWS
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600


def test_a_new_file_has_the_rights_the_user_gives_new_files(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_rows(ROWS, "csv", tmp_path / "private.csv")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private.csv").stat().st_mode) == 0o600


def test_a_pipe_is_written_to_and_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    write_rows(ROWS, "jsonl", pipe)
    out, _ = reader.communicate(timeout=30)
    assert [json.loads(line) for line in out.decode().splitlines()] == ROWS
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("kind", FORMATS)
def test_stdout_gets_the_same_bytes_as_a_file_whatever_the_terminal_speaks(tmp_path: Path, kind: Format) -> None:
    target = tmp_path / "rows"
    write_rows(ROWS, kind, target)
    code = f"from mlxintro.rendering.exporting import write_rows; write_rows({ROWS!r}, {kind!r}, None)"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment, cwd=Path(__file__).parents[1]
    )
    assert done.stdout == target.read_bytes()


def test_csv_holds_nothing_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    told = {"reply": "=1+1", "concept": "@SUM(A1)", "note": "-2", "n": -2.5, "plain": "a=b", "empty": ""}
    defused = ["'=1+1", "'@SUM(A1)", "'-2", "-2.5", "a=b", ""]
    for defuse, cells in ((True, defused), (False, [*map(str, told.values())])):
        write_rows([told], "csv", tmp_path / "rows.csv", defuse=defuse)
        with (tmp_path / "rows.csv").open(newline="") as file:
            assert list(csv.reader(file))[1] == cells
    write_rows([told], "jsonl", tmp_path / "rows.jsonl")
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == told


def test_the_command_defuses_formulas_unless_it_is_told_not_to(call: Call, home: Path) -> None:
    with closing(sqlite3.connect(home / "mlxintro.db")) as db:
        db.execute("UPDATE trials SET response = '=1+1' WHERE ordinal = 0")
        db.commit()
    assert ",'=1+1," in call("runs", "export", "first", "--format", "csv").out
    assert ",=1+1," in call("runs", "export", "first", "--format", "csv", "--formulas").out
