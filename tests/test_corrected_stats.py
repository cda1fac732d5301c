"""Rates of a run corrected for the grader's errors on labelled replies, beside the raw ones."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from mlxintro.analysis.run import analysis_of
from mlxintro.analysis.stats import Rate
from mlxintro.grading.passes import gradable
from mlxintro.store.records import Label
from mlxintro.store.store import Store
from tests.cli import mlxintro

MODEL = "detector?hit=0.6&fa=0.1"


def test_a_run_without_labels_has_no_corrected_rates_and_one_with_them_has(tmp_path: Path) -> None:
    command = ("run", "injected-thoughts", "--backend", "fake", "-m", MODEL, "--strengths", "2", "--trials", "8")
    assert mlxintro(tmp_path, *command, "--controls", "40", "--name", "one", "--json").code == 0
    with Store(tmp_path / "mlxintro.db") as store:
        run = store.runs.find("one")
        plain = analysis_of(store, run, "rules")
        assert plain.figure("corrected_detection") is None
        raw = plain.figure("detection")
        assert raw is not None
        assert isinstance(raw.value, Rate)

        # A person who agrees with the rules, but for every fifth claim, which is none to her.
        labels = []
        grades = {grade.key: grade for grade in store.grades.latest(run.id, grader="rules")}
        heard = wrong = labelled = said_no = 0
        for trial in gradable(store, run):
            claims = bool(grades[trial.key].affirms)
            injected = trial.condition == "injected"
            heard += claims
            if claims and heard % 5 == 0:
                claims, wrong = False, wrong + injected
            # The errors in the injected arm are those of its own labels.
            labelled += injected
            said_no += injected and not claims
            fields = {"affirms": claims, "identifies": claims, "coherent": True, "refuses": False}
            labels.append(Label(key=trial.key, labeller="ann", fields=fields))
        assert wrong
        store.labels.add(run.id, labels)
        figure = analysis_of(store, run, "rules").figure("corrected_detection")

    assert figure is not None
    sensitivity, specificity = 1.0, (said_no - wrong) / said_no
    by_hand = (raw.value.successes / raw.value.trials + specificity - 1) / (sensitivity + specificity - 1)
    found = json.loads(mlxintro(tmp_path, "stats", "one", "--json").out)
    told = found["figures"]["corrected_detection"]["value"]
    assert told["value"] == pytest.approx(by_hand)
    assert told["low"] < by_hand < told["high"]
    assert told["labelled"] == labelled
    assert "corrected for the grader's errors" in mlxintro(tmp_path, "stats", "one").out
    for name in ("one.md", "one.html"):
        assert mlxintro(tmp_path, "report", "one", "-o", str(tmp_path / name)).code == 0
        words = html.unescape((tmp_path / name).read_text("utf-8"))
        assert "corrected for the grader's errors" in words
        assert f"{told['value']:.1%}" in words
