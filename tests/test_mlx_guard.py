"""MLX computes what config.json says, or refuses: unknown settings, other kinds of layers, families it gets wrong."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlxintro.backends.errors import ModelError
from mlxintro.backends.models import measured, support
from mlxintro.backends.registry import open_backend
from mlxintro.tools.check import run_checks
from tests import tiny as tiny_models
from tests.families import TOLERANCE, build, compare
from tests.family_settings import FAMILIES

DATA = Path(__file__).parents[1] / "backends" / "models" / "families.json"


def edited(folder: Path, target: Path, **changes: Any) -> Path:
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text()) | changes
    (target / "config.json").write_text(json.dumps(config))
    return target


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        open_backend(str(folder), "mlx", device="cpu")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("family", "setting", "value"),
    [
        ("llama", "hidden_act", "gelu"),
        ("qwen2", "hidden_act", "relu"),
        ("mistral", "hidden_act", "gelu_new"),
        ("gemma3", "final_logit_softcapping", 3.0),
        ("gemma3", "attn_logit_softcapping", 2.0),
    ],
)
def test_a_setting_that_mlx_lm_ignores_is_refused(
    tiny: Callable[[str], Path], tmp_path: Path, family: str, setting: str, value: Any
) -> None:
    text = refusal(edited(tiny(family), tmp_path / "model", **{setting: value}))
    assert setting in text
    assert "--backend torch" in text


def test_a_no_where_the_family_says_yes_by_itself_is_refused(tmp_path: Path) -> None:
    build("deepseek_v3", tmp_path / "model")
    assert "rope_interleave" in refusal(edited(tmp_path / "model", tmp_path / "halves", rope_interleave=False))


def test_the_settings_of_the_projects_families_are_known(tiny: Callable[[str], Path]) -> None:
    for family in tiny_models.FAMILIES:
        with open_backend(str(tiny(family)), "mlx", device="cpu") as backend:
            assert backend.info.layers == 4


def test_gemma_3_with_layers_of_its_own_order_is_refused_with_the_line_that_mends_it(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = edited(tiny("gemma3"), tmp_path / "pattern", sliding_window_pattern=3)
    assert '"sliding_window_pattern": 2' in refusal(folder)
    types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    assert "--backend torch" in refusal(edited(tiny("gemma3"), tmp_path / "none", layer_types=types))


def test_a_family_that_was_measured_to_be_wrong_is_refused(tmp_path: Path) -> None:
    build("glm", tmp_path / "glm")
    assert "--backend torch" in refusal(tmp_path / "glm")


def test_every_family_is_right_or_refused_and_no_library_crashes() -> None:
    families = json.loads(DATA.read_text())["families"]
    for name, found in families.items():
        for backend in ("torch", "mlx"):
            one = found[backend]
            assert "crash" not in one, (name, backend, one)
            # What is off is refused by the guard, see above.
            assert one["works"] or "refused" in one or backend == "mlx", (name, backend, one)
        if found["torch"]["works"] and found["mlx"]["works"]:
            assert found["parity"], name
            assert max(found[backend]["nats"] for backend in ("torch", "mlx")) <= TOLERANCE


def test_no_refusal_sends_one_to_a_backend_that_refuses_too() -> None:
    families = json.loads(DATA.read_text())["families"]
    for name, found in families.items():
        for backend, other in (("torch", "mlx"), ("mlx", "torch")):
            text = found[backend].get("refused", "")
            assert found[other]["works"] or f"use --backend {other}" not in text.replace("mlx with a conv", ""), text
            advice = measured.alternative(name, backend)  # type: ignore[arg-type]
            assert (advice == f"use --backend {other}") == found[other]["works"], (name, advice)


def test_a_family_that_cannot_run_is_refused_before_it_is_downloaded() -> None:
    for kind, backend, advice in (
        ("bloom", "torch", "neither backend"),
        ("minimax", "torch", "neither backend"),
        ("ernie4_5_moe", "mlx", "use --backend torch"),
    ):
        with pytest.raises(ModelError, match=advice) as refused:
            support.check_architecture("some/model", {"model_type": kind}, backend)  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)
    for kind in ("mamba", "qwen3_next", "llama4", "qwen2_5_vl"):
        support.check_architecture("some/model", {"model_type": kind}, "torch")
    assert "try --backend mlx" in measured.alternative("bailing_moe", "torch")
    assert "try --backend torch" in measured.alternative("gpt-sw3", "mlx")
    assert "mlx-lm has no module of that name" in measured.alternative("unheard_of", "torch")


def test_another_release_of_a_library_is_not_judged_by_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "version", lambda name: "99.0")
    measured.check("bloom", "torch")
    measured.check("ernie4_5_moe", "mlx")


def test_the_table_in_the_documentation_is_that_of_the_data() -> None:
    import runpy

    table = runpy.run_path(str(DATA.parents[2] / "docs" / "families_table.py"))["table"]
    assert (DATA.parents[2] / "docs" / "families.md").read_text() == table(json.loads(DATA.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_is_still_what_the_table_says(family: str) -> None:
    recorded = json.loads(DATA.read_text())["families"].get(family)
    if recorded is None:
        pytest.skip("not measured yet: run docs/families_table.py")
    found = compare(family)
    for backend in ("torch", "mlx"):
        assert found[backend]["works"] == recorded[backend]["works"], found


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_the_deep_check_holds_a_model_against_transformers(tiny: Callable[[str], Path], backend: str) -> None:
    with open_backend(str(tiny("qwen2")), backend, device="cpu") as opened:
        line = list(run_checks(opened, deep=True))[-1]
    assert line.name == "transformers"
    assert line.passed, line.detail


def test_the_deep_check_finds_a_model_that_computes_something_else(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = edited(tiny("llama"), tmp_path / "model")
    with open_backend(str(folder), "torch", device="cpu") as opened:
        config = copy.deepcopy(json.loads((folder / "config.json").read_text()))
        config["rms_norm_eps"] = 0.5
        (folder / "config.json").write_text(json.dumps(config))
        line = list(run_checks(opened, deep=True))[-1]
    assert not line.passed
    assert "nats apart" in line.detail
