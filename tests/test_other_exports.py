"""Runs as other tools read them: logs of Inspect, and datasets of Hugging Face."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import Call


def test_a_log_of_inspect_holds_every_trial_with_its_verdict(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "first.json"
    assert call("runs", "export", "first", "--format", "inspect", "-o", str(path)).code == 0
    log = json.loads(path.read_text("utf-8"))
    trials = call("runs", "export", "first", "--format", "jsonl").lines
    assert (log["version"], log["status"], log["eval"]["dataset"]["samples"]) == (2, "success", len(trials))
    assert [sample["id"] for sample in log["samples"]] == [trial["ordinal"] for trial in trials]
    for sample, trial in zip(log["samples"], trials, strict=True):
        assert sample["output"]["choices"][0]["message"]["content"] == trial["response"]
        assert sample["target"] == (trial["concept"] or "")
        assert sample["messages"][-2]["role"] == "user"
        detects = trial["rules.affirms"] and trial["rules.coherent"] and not trial["rules.refuses"]
        wanted = "N" if trial["rules.affirms"] is None else "C" if detects else "I"
        assert sample["scores"]["rules"]["value"] == wanted


def test_inspects_own_reader_takes_the_log(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "first.json"
    assert call("runs", "export", "first", "--format", "inspect", "-o", str(path)).code == 0
    reader = "import sys\nfrom inspect_ai.log import read_eval_log\nlog = read_eval_log(sys.argv[1])\n"
    reader += "print(log.status, len(log.samples), log.samples[0].scores['rules'].value in 'CIN')"
    pytest.importorskip("inspect_ai")
    done = subprocess.run([sys.executable, "-c", reader, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["success", str(len(json.loads(path.read_text("utf-8"))["samples"])), "True"]


def test_datasets_of_hugging_face_load_the_folder(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "trials"
    assert call("runs", "export", "first", "--format", "datasets", "-o", str(folder)).code == 0
    import pandas

    table = pandas.read_parquet(folder / "trials.parquet")
    assert len(table) == len(call("runs", "export", "first", "--format", "jsonl").lines)
    assert "path: trials.parquet" in (folder / "README.md").read_text("utf-8")
    datasets = pytest.importorskip("datasets")
    assert len(datasets.load_dataset(str(folder), split="train")) == len(table)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--format", "inspect"), "not written to stdout"),
        (("--format", "inspect", "-o", "log.txt"), "choose one with .json"),
        (("--format", "csv", "-o", "."), "is a folder"),
    ],
)
def test_what_cannot_be_exported_is_a_line(call: Call, wrong: tuple[str, ...], said: str) -> None:
    done = call("runs", "export", "first", *wrong)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err
