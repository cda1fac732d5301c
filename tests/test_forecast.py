"""Forecasts: within a factor of two of what is measured here, without the model; ranges for other machines."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mlxintro.backends import registry
from mlxintro.backends.errors import UsageError
from mlxintro.protocol.study import make_study
from mlxintro.running import launch
from mlxintro.store.store import Store
from mlxintro.tools.forecast import here
from mlxintro.tools.forecast.here import forecast_here
from mlxintro.tools.forecast.machines import machine_names, rated
from mlxintro.tools.forecast.outline import outline_of
from mlxintro.tools.forecast.rated import forecast
from tests.cli import Call
from tests.tiny import make_tiny

SETTINGS = {
    "concepts": ("ocean", "fear", "bread"),
    "layers": (0.3, 0.7),
    "strengths": (0.5, 1.0),
    "unit": "resid",
    "trials": 2,
    "controls": 4,
    "max_tokens": 24,
    "backend": "torch",
    "device": "cpu",
    "dtype": "float32",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("family", "layers", "width"), [("qwen2", 12, 128), ("llama", 8, 320), ("gemma2", 16, 64)])
def test_the_forecast_is_within_a_factor_of_two_of_the_processor_time_of_the_run(
    family: str, layers: int, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tiny(family, tmp_path / "model", layers=layers, width=width)
    checked = launch.check(make_study(model=str(folder), **SETTINGS))
    opened: list[str] = []

    def noted(model: str, *arguments: object, **settings: object) -> object:
        opened.append(model)
        return registry.open_backend(model, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(here, "open_backend", noted)
    found = forecast_here(outline_of(checked, "torch"), clock=time.process_time)
    assert opened, "something was timed"
    assert str(folder) not in opened, "and it was not the model"
    with (
        registry.open_backend(str(folder), "torch", device="cpu", dtype="float32", batch_size=found.rows) as backend,
        Store(tmp_path / "x.db") as store,
    ):
        planned = launch.plan(checked, backend)
        assert len(planned) == found.trials
        begun = time.process_time()
        run = launch.begin(store, checked, backend, planned)
        for _ in launch.execute(store, run, checked, planned, launch.prepare(store, backend, planned)):
            pass
        measured = time.process_time() - begun
    assert found.likely is not None
    print(f"{family}: forecast {found.likely:.1f} s, measured {measured:.1f} s")
    assert 0.5 < found.likely / measured < 2.0


def test_a_machine_that_is_not_here_gives_a_range_and_a_price(tmp_path: Path) -> None:
    folder = make_tiny("qwen2", tmp_path / "model", layers=4)
    checked = launch.check(make_study(model=str(folder), **SETTINGS))
    outline = outline_of(checked, "torch")
    assert outline.counted
    slow, fast = (forecast(outline, rated(name)) for name in ("l4", "h200"))
    for one in (slow, fast):
        assert one.fits
        assert one.seconds is not None
        assert 0 < one.seconds[0] < one.seconds[1]
    low, high = slow.dollars((0.5, 2.0)) or (0, 0)
    assert slow.seconds is not None
    assert (low, high) == pytest.approx((slow.seconds[0] * 0.5 / 3600, slow.seconds[1] * 2 / 3600))


def test_a_large_model_reads_its_weights_at_every_step_and_fits_where_there_is_room(tmp_path: Path) -> None:
    """The bound that no machine beats: bytes of weights over bandwidth, times steps, times batches."""
    folder = make_tiny("qwen2", tmp_path / "model", layers=2)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 48, "num_attention_heads": 40}
    config |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 152064, "dtype": "bfloat16"}
    checked = launch.check(make_study(model=str(folder), **{**SETTINGS, "dtype": None, "layers": (20,)}))
    base = outline_of(launch.check(make_study(model=str(folder), **{**SETTINGS, "layers": (1,)})), "torch")
    large = type(base)(
        checked, base.planned, type(base.files)(str(folder), config, 29_500_000_000, folder=folder), 48, True
    )
    assert not forecast(large, rated("l4")).fits
    found = forecast(large, rated("a100-80"))
    assert found.fits
    assert found.seconds is not None
    steps = 24 * 0.5
    assert found.seconds[0] > steps * 29.5e9 / 2039e9
    assert found.seconds[1] < 40 * found.seconds[0]


def test_every_machine_can_be_read_and_an_unknown_one_is_refused(call: Call) -> None:
    assert {"l4", "a100-80", "h100", "m3-max-64"} <= set(machine_names())
    assert [line["name"] for line in call("plan", "--machines", "--json").lines] == machine_names()
    with pytest.raises(UsageError, match="did you mean 'a100-80'"):
        rated("a100_80")


def test_the_command_says_what_cannot_be_told_and_goes_on(call: Call, tmp_path: Path) -> None:
    folder = make_tiny("qwen2", tmp_path / "model", layers=2)
    study = tmp_path / "s.toml"
    study.write_text(
        f'models = ["{folder}", "{tmp_path}/gone"]\nbackend = "torch"\nconcepts = ["ocean"]\n'
        "layers = [0.5]\ntrials = 1\n"
    )
    done = call("plan", str(study), "--on", "h100")
    assert done.code == 1
    assert "there is no folder" in done.out
    assert "without 1 that cannot be run there" in done.out
