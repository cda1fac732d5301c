"""What a person brings along from outside the package: experiments, presets, recipes and words."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mlxintro import experiments
from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.backends.simulated.subject import SUBJECTS
from tests.cli import Call
from tests.test_eighth_experiment import EXPERIMENT, PRESET

PRESET_TEXT = tomllib.loads(PRESET)
OWN = EXPERIMENT.replace(
    '    summary = "say one word"', f'    summary = "say one word"\n    own_presets = {{"one-word": {PRESET_TEXT!r}}}'
)
SMALL = ("--backend", "fake", "-m", "detector", "--concepts", "ocean", "--controls", "1")


def test_an_experiment_in_a_file_runs_and_is_resumed_and_read_by_its_name(
    call: Call, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert call("run", str(path), *SMALL, "--name", "own").code == 0
    assert call("run", "--resume", "own").code == 0
    assert "say one word" in call("experiments", "list").out
    assert '"one-word"' in call("presets", "list", "--json").out
    path.write_text("raise SystemError('broken')\n")
    stats = call("stats", "own")
    assert (stats.code, "does not load (SystemError: broken)" in stats.err) == (1, True)
    assert "does not load" in call("experiments", "list").out, "and the others are listed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "sets no EXPERIMENT"),
        ("EXPERIMENT = 3\n", "no instance of Experiment"),
        ("1 / 0\n", "does not load (ZeroDivisionError"),
        (OWN.replace('name = "one-word"', 'name = "latent"'), "there is already an experiment called 'latent'"),
        (EXPERIMENT, "its preset 'one-word' is neither in own_presets nor one that ships"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(home: Path, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises((UsageError, PrerequisiteError)) as error:
        experiments.own_name(path)
    assert says in str(error.value)
    assert not (home / "experiments.json").exists()


def test_a_store_cannot_name_a_file_that_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "hostile.py"
    path.write_text("raise SystemExit('executed')\n")
    with pytest.raises(UsageError, match="no experiment called"):
        experiments.find(str(path))


def test_extract_dose_and_run_take_a_preset_of_ones_own_and_a_recipe(call: Call, tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('based_on = "lindsey"\n[extraction]\nbaseline = "blueprint-10"\n')
    own = ("--backend", "fake", "-m", "detector", "--preset-file", str(preset))
    plain = call("extract", "ocean", "--backend", "fake", "-m", "detector", "--json").lines[0]
    mine = call("extract", "ocean", *own, "--json").lines[0]
    assert plain["recipe"] != mine["recipe"]
    study = tomllib.loads(call("dose", "ocean", "fear", *own, "--layers", "0.66", "--toml").out)
    assert study["concepts"] == ["ocean", "fear"]
    assert study["preset_data"]["extraction"]["baseline"] == "blueprint-10"
    run = ("run", "injected-thoughts", *SMALL, "--recipe", "mean-difference", "--strengths", "2", "--dry-run", "--json")
    assert call(*run).lines[0]["study"]["extraction"] == {"method": "mean-difference"}
    both = call("dose", "ocean", *own, "--preset", "lindsey")
    assert (both.code, "give either --preset or --preset-file" in both.err) == (2, True)


def test_every_list_is_to_be_had_by_a_command(call: Call) -> None:
    assert {row["name"] for row in call("models", "list", "--backend", "fake", "--json").lines} == set(SUBJECTS)
    assert {row["name"] for row in call("experiments", "list", "--json").lines} >= {"latent", "prefill"}
    assert "trial_numbers" in call("experiments", "show", "injected-thoughts").out
    assert (
        "trial_numbers" in call("experiments", "show", "injected-thoughts", "--json").lines[0]["options"]["properties"]
    )
