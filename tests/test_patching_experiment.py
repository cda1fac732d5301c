"""The experiment ``patching``: what it plans, stores and concludes, on planted circuits and the simulated subject."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlxintro as mi
from mlxintro.analysis.results import Row
from mlxintro.analysis.stats import Mean
from mlxintro.backends import registry
from mlxintro.backends.base import Injection, Prompt
from mlxintro.backends.errors import UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.mechanism.findings import analyse
from mlxintro.mechanism.lens import lens_shift
from mlxintro.mechanism.patching import PatchedDialogue, PatchedRuns, PositionGroup, patch_runs, patches_of
from mlxintro.mechanism.readings import AnswerOptions
from mlxintro.mechanism.stored import RANDOM, StoredPatches, patches_in_words
from mlxintro.rendering.report import ReportContent, html, markdown
from mlxintro.rendering.text import as_data, lines, value_map_lines
from tests import circuits
from tests.experiment_runs import Ran, planned, ran

WORDS = ("dust", "trumpets", "cameras")
TOKENS = tuple(np.random.default_rng(3).integers(4, 400, 30).tolist())
GROUPS = (PositionGroup("window", 20, 30), PositionGroup("last", 29, 30))


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeBackend]:
    with FakeBackend("detector") as backend:
        yield backend


@pytest.fixture(scope="module")
def run(fake: FakeBackend) -> Ran:
    return ran(fake, "patching", concepts=WORDS, layers=(3,), strengths=(2.0,), unit="resid")


def test_a_trial_is_one_layer_of_one_concept_of_one_arm(run: Ran) -> None:
    arms = {(spec.arm, spec.concept): [] for spec in run.specs if spec.arm != "lens"}  # type: ignore[var-annotated]
    for spec in run.specs:
        if spec.arm != "lens":
            arms[spec.arm, spec.concept].append(spec.detail["layer"])
    assert len(arms) == 2 * len(WORDS)
    assert all(layers == list(range(8)) for layers in arms.values())
    window = {(i.start, i.stop) for spec in run.specs for i in spec.injections}
    ((_, stop),) = window
    (prompt,) = run.plan.prompts.values()
    assert stop == len(prompt.tokens), "the answer follows from what stands in the prompt"


def test_every_outcome_holds_both_ends_and_both_directions(run: Ran) -> None:
    for spec in run.specs:
        measured = run.outcomes[spec.key].measurements
        if spec.arm == "lens":
            assert np.shape(measured["lens"]["name"]) == (8, len(spec.detail["pieces"]))
            continue
        assert len(measured["cells"]) == 9
        assert {"clean", "injected", "cells"} == set(measured)
        assert all(set(cell["removed"]) == {"yes", "no", "name"} for cell in measured["cells"])


def test_every_patched_cell_keeps_the_proof_of_the_positions_it_was_planned_for(run: Ran) -> None:
    run_cells = 0
    for spec in run.specs:
        if spec.arm == "lens":
            continue
        outcome = run.outcomes[spec.key]
        (own,) = outcome.proofs
        (planned_once,) = spec.injections
        assert planned_once.stop is not None
        assert (own.layer, own.first, own.last) == (3, planned_once.start, planned_once.stop - 1)
        planned = {name: (start, stop) for name, start, stop in spec.detail["groups"]}
        for cell in outcome.measurements["cells"]:
            assert set(cell["proofs"]) in (set(), {"removed", "added"})
            for proof in cell["proofs"].values():
                start, stop = planned[cell["group"]]
                assert (proof["first"], proof["last"], proof["positions"]) == (start, stop - 1, stop - start)
                assert proof["relative_change"] > 0
                run_cells += 1
            if spec.detail["layer"] < 3:
                assert not cell["proofs"], "below the injection both runs are the same"
            elif (cell["site"], cell["group"]) == ("resid_post", "window"):
                assert cell["proofs"]
    assert run_cells > 100
    assert any(f"Proof: {run_cells} patches were run" in remark for remark in run.analysis.remarks)


def test_a_map_from_before_proofs_were_kept_is_read_and_says_so(run: Ran) -> None:
    old = [
        dataclasses.replace(row, measurements=without_proofs(row.measurements)) for row in run.rows if row.arm != "lens"
    ]
    found = analyse(old, "resid")
    assert any("from before proofs were kept" in remark for remark in found.remarks)
    assert patches_in_words(old[0].measurements)[0].endswith("no proof was kept")
    assert found.verdict == run.analysis.verdict


def without_proofs(measurements: Mapping[str, Any]) -> dict[str, Any]:
    cells = [{name: value for name, value in cell.items() if name != "proofs"} for cell in measurements["cells"]]
    return {**measurements, "cells": cells}


def test_cells_below_the_injection_are_where_nothing_happens(run: Ran) -> None:
    for row in run.rows:
        if row.arm == "" and row.detail["layer"] < 3:
            found = StoredPatches.of(row.detail["layer"], row.measurements)
            assert all(reading == pytest.approx(found.injected) or reading.log_odds == pytest.approx(
                found.injected.log_odds, abs=1e-5) for reading in found.removed.values())  # fmt: skip


def test_maps_are_drawn_as_text_and_picture_and_data(run: Ran) -> None:
    analysis = run.analysis
    assert len(analysis.value_maps) == 8 + 3
    text = "\n".join(lines(analysis, curves=True))
    for map_ in analysis.value_maps:
        assert map_.title in text
    content = ReportContent("r", (), analysis, (), "")
    page = html(content)
    assert page.count(">resid wind<") == 8, "a picture of every map that names columns so"
    assert analysis.value_maps[0].title in markdown(content).replace("\\", "")
    stored = {one["name"]: one for one in as_data(analysis)["value_maps"]}
    assert len(stored) == len(analysis.value_maps), "names are stable and told apart"
    assert len(stored[analysis.value_maps[0].name]["cells"]) == 8 * 9


def test_only_cells_beyond_their_interval_are_shaded(run: Ran) -> None:
    from dataclasses import replace

    map_ = replace(
        run.analysis.value_maps[0],
        rows=("1",),
        columns=("a", "b"),
        cells={("1", "a"): Mean(0.9, 0.1, 1.7, 5), ("1", "b"): Mean(0.9, -0.1, 1.9, 5)},
        largest=1.0,
    )
    drawn = value_map_lines(map_)[3]
    assert drawn.split() == ["1", "█+0.90", "+0.90"]


def test_single_heads_are_drawn_by_group_of_positions(fake: FakeBackend) -> None:
    settings: dict[str, Any] = {"layers": (3,), "strengths": (2.0,), "unit": "resid", "controls": "none"}
    options = {"heads": True, "groups": ["window", "last"], "every": 4, "lens": False}
    analysis = ran(fake, "patching", concepts=WORDS, options=options, **settings).analysis
    assert len(analysis.value_maps) == 2 * 2 * 2
    first = analysis.value_maps[0]
    assert first.columns == ("resid", "attn", "mlp", "h0", "h1", "h2", "h3")
    assert first.rows == ("7", "3")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"window": "generation"}, "injects into the prompt"),
        ({"options": {"groups": ["middle"]}}, "no positions called 'middle'"),
        ({"options": {"sites": ["nowhere"]}}, "sites"),
        ({"layers": (99,)}, "out of range"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_refused_in_one_line(
    fake: FakeBackend, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        planned(fake, "patching", concepts=WORDS, **settings)
    assert "\n" not in str(raised.value)


def circuit_rows(folder: Path, circuit: circuits.Circuit) -> list[Row]:
    """Rows as the experiment stores them, of a model whose circuit is known; random vectors miss its direction."""
    answers = AnswerOptions(((circuits.YES,),), ((circuits.NO,),), (), (21,))
    generator = np.random.default_rng(4)
    rows = []
    with registry.open_backend(str(circuits.make_circuit(folder, circuit)), "torch", device="cpu") as backend:
        patches = patches_of(range(4), ("resid_post", "attn_out", "mlp_out"), GROUPS)
        for number, vector in enumerate(circuits.concepts(5)):
            other = generator.normal(size=circuits.WIDTH).astype(np.float32)
            other[[3, 60]] = 0.0
            for arm, added in (("", vector), (RANDOM, other)):
                runs = patch_runs(
                    backend, PatchedDialogue(TOKENS, (Injection(0, added, 20, 30),), GROUPS, answers), patches
                )
                rows += [_row(number, arm, layer, runs) for layer in range(4)]
    return rows


def _row(number: int, arm: str, layer: int, runs: PatchedRuns) -> Row:
    measured = StoredPatches.of_layer(runs, layer).as_dict()
    return Row(
        f"{number}{arm}{layer}", "injected", arm, f"w{number}", 0, 1.0, number, "", measured, {"layer": layer}, None
    )


def test_the_verdict_names_the_planted_mlp(tmp_path: Path) -> None:
    found = analyse(circuit_rows(tmp_path, "mlp"), "raw")
    assert found.verdict is not None
    assert found.verdict.kind == "effect"
    parts = [row for row in found.tables[0].rows if "resid_post" not in str(row[1])]
    assert str(parts[0][1]).startswith(f"layer {circuits.LAYER} mlp_out")
    own, random = found.figure("gap"), found.figure("gap_random")
    assert own is not None
    assert random is not None
    assert isinstance(own.value, Mean)
    assert isinstance(random.value, Mean)
    assert own.value.beyond_zero
    assert abs(random.value.value or 0.0) < 1e-4


def test_no_place_is_named_where_there_is_no_circuit(tmp_path: Path) -> None:
    found = analyse(circuit_rows(tmp_path, "none"), "raw")
    assert found.verdict is not None
    assert found.verdict.kind == "no effect shown"
    flat = [map_ for map_ in found.value_maps if map_.name.startswith("log_odds")]
    assert len(flat) == 4
    for map_ in flat:
        assert map_.unit == "nats"
        assert not any(char in "\n".join(value_map_lines(map_)[3:-1]) for char in "░▒▓█")


def test_the_lens_shift_is_the_difference_of_two_runs(tiny: Any) -> None:
    injection = Injection(1, np.ones(64, np.float32), 20, 30)
    with registry.open_backend(str(tiny("llama")), "torch", device="cpu") as backend:
        shift = lens_shift(backend, TOKENS, (injection,), range(20, 30), [[5, 6], [7], [8]])
        runs = backend.capture([Prompt(TOKENS), Prompt(TOKENS, (injection,))], positions=[25])
        clean, injected = (backend.lens(one["resid_post"])[:, 0].astype(np.float64) for one in runs)
    assert shift.shape == (3, 4, 10)
    expected = np.logaddexp(injected[:, 5], injected[:, 6]) - np.logaddexp(clean[:, 5], clean[:, 6])
    np.testing.assert_allclose(shift[0, :, 5], expected, atol=1e-4)
    np.testing.assert_allclose(shift[1, :, 5], injected[:, 7] - clean[:, 7], atol=1e-4)
    assert np.abs(shift[:, 0]).max() == pytest.approx(0, abs=1e-5), "below the injection nothing differs"


def test_the_lines_of_the_documentation_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "mechanism.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    monkeypatch.setenv("MLXINTRO_HOME", str(tmp_path))
    code = code.replace('"smollm2", backend="torch"', '"detector", backend="fake"').replace("layer=10", "layer=3")
    exec(compile(code, "docs/mechanism.md", "exec"), {"mi": mi})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert printed[1].startswith("Patch(layer=")
