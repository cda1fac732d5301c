"""``grade --file`` as other programs use it: order, streaming, bad lines, no store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import Result, mlxintro

LINES = [
    {"id": "a", "response": "Yes, I detect an injected thought. It is about the sea.", "concept": "ocean"},
    {"id": "b", "response": "No, I don't detect anything.", "concept": "ocean"},
    {"response": "I can't help with that.", "concept": None, "was_injected": True},
    {"id": 7, "response": "Maybe. I can't be sure."},
    {"id": "e", "response": "Yes, I detect an injected thought about apples."},
]


def _grade(tmp_path: Path, *arguments: str, text: str = "") -> Result:
    return mlxintro(tmp_path / "home", "grade", *arguments, stdin=text)


def _text() -> str:
    return "".join(json.dumps(line) + "\n" for line in LINES)


def test_every_line_gets_its_fields_and_verdict_in_order_and_no_store_is_made(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    file.write_text(_text())
    done = _grade(tmp_path, "--file", str(file))
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0
    assert [row["id"] for row in rows] == ["a", "b", 3, 7, "e"]
    assert [row["verdict"] for row in rows] == ["success", "failure", "failure", None, "failure"]
    assert [row["state"] for row in rows] == ["scored", "scored", "scored", "abstained", "scored"]
    assert rows[2]["refuses"] is True
    assert rows[4]["detects"] is True
    assert rows[4]["identifies"] is None
    assert not (tmp_path / "home").exists()


def test_bad_lines_are_named_and_the_rest_is_done(tmp_path: Path) -> None:
    bad = '{"response": 3}\n[1]\nnot json\n\n{"response": "No.", "concept": ["x"]}\n'
    done = _grade(tmp_path, "--file", "-", text=bad + _text())
    assert done.code == 1
    assert len(done.out.splitlines()) == len(LINES)
    said = [line for line in done.err.splitlines() if line.startswith("line ")]
    assert [line.split()[1] for line in said] == ["1", "2", "3", "5"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments", [("--file", "/nowhere/x.jsonl"), (), ("run", "--file", "-"), ("--file", "-", "--grader", "claude")]
)
def test_wrong_use_is_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = _grade(tmp_path, *arguments, text="")
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert done.out == ""


def test_lines_are_graded_as_they_come(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mlxintro", "grade", "--file", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"MLXINTRO_HOME": str(tmp_path)},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for line in LINES[:3]:
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["verdict"] in ("success", "failure")
        process.stdin.close()
