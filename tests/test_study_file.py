"""Studies as files: what is read, what is refused and where, and that a stored study gives the same trials again."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mlxintro import experiments
from mlxintro.backends.errors import PrerequisiteError, UsageError
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol import presets, study_file
from mlxintro.protocol.study import make_study
from mlxintro.running import launch
from mlxintro.running.preview.explain import explain
from mlxintro.store.store import Store
from tests.cli import Call


def keys(settings: dict[str, Any]) -> list[str]:
    with FakeBackend("detector") as backend:
        return [spec.key for spec in launch.plan(launch.check(make_study(**settings)), backend)]


@pytest.mark.parametrize("name", sorted(study_file.ready()))
def test_studies_that_ship_can_be_planned_and_survive_being_written(name: str) -> None:
    found = study_file.read(name)
    settings = {**found.settings, "model": "detector", "backend": "fake", "concepts": ("ocean", "fear", "bread")}
    resolved = launch.check(make_study(**settings)).study
    again = study_file.parse(study_file.write(resolved), "again.toml", Path())
    assert again.subjects == (study_file.NamedSubject("detector"),)
    assert make_study(model="detector", **again.settings) == resolved
    assert keys({**again.settings, "model": "detector"}) == keys(settings)


def test_what_is_written_is_toml_whatever_the_words(tmp_path: Path) -> None:
    words = ('say "no"', "back\\slash", "tab\there", "ünïcode ☃", "new")
    own = presets.load("lindsey").model_dump(mode="json", exclude_none=True)
    more = {"preset": "mine", "preset_data": own, "options": {"a b": [1, 2.5]}}
    study = make_study(model="x", concepts=words, any_word=True, **more)
    text = study_file.write(study)
    data = tomllib.loads(text)
    assert tuple(data["concepts"]) == words
    assert data["preset_data"] == own
    assert data["options"] == {"a b": [1, 2.5]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("trials = 2\n\nstrenghts = [1]\n", "s.toml:3: there is no setting 'strenghts': did you mean 'strengths'?"),
        ("trials = 2\nstrengths = ['a']\n", "s.toml:2: strengths: "),
        ("trials = 0\n", "s.toml:1: trials: "),
        ("\n\ncontrols = 'many'\n", "s.toml:3: controls: write none, standard, full, how many"),
        ("controls = -1\n", "s.toml:1: controls: write none"),
        ("seed = 1\nlayers = [1.5]\n", "s.toml:2: layers: 1.5 is no layer: a depth fraction lies between 0 and 1"),
        ("layers = [-2]\n", "s.toml:1: layers: -2 is no layer: an index is a whole number from 0"),
        ("layers = 5\n", "s.toml:1: layers: this is a list: write layers = [5]"),
        ("concepts = 'ocean'\n", 's.toml:1: concepts: this is a list: write concepts = ["ocean"]'),
        ("strengths = [\n  1.0,\n  inf,\n]\n", "s.toml:1: strengths: inf is not a finite number"),
        ("strengths = []\n", "s.toml:1: strengths: the list is empty"),
        ("seed = 1\ntrials = 10_000_000\n", "s.toml:2: trials: "),
        ("seed = 1\nmodels = []\n", "s.toml:2: models are names"),
        ("seed = 1\npreset_file = 3\n", "s.toml:2: this is a path"),
        ("seed = 1\npreset_file = '/'\n", "s.toml:2: there is no file /"),
        ("seed = 1\ntitle = 'x'\n", "s.toml:2: there is no setting 'title': known are experiment, preset, model,"),
        ("seed = 1\nname = 3\n", "s.toml:2: name: input should be a valid string"),
        ("seed = 1\nbudget = 2\n", "s.toml:2: budget: only a grader that costs money has one"),
        ("seed = 1\ngrader = 'gpt'\n", "s.toml:2: grader.name: input should be "),
        ("grader = {name = 'local'}\n", "s.toml:1: grader: local needs judge"),
        ("budget = -1\ngrader = 'claude'\n", "s.toml:1: budget: input should be greater than or equal to 0"),
        ("dtypes = ['float8']\n", "s.toml:1: dtypes: 'float8' is none: choose from float32"),
        ("dtypes = ['float32', 'float32']\n", "s.toml:1: dtypes: a name is there twice"),
        ("dtype = 'float32'\ndtypes = ['float32']\n", "s.toml:2: give either dtype or dtypes"),
        ("presets = 'blueprint'\n", "s.toml:1: presets are names: write presets = ["),
        ("presets = ['gone.toml']\n", "s.toml:1: presets: there is no file gone.toml"),
        ("models = [{model = 'a', adapter = 'b'}]\nadapters = ['c']\n", "s.toml:2: models name adapters of their own"),
        ("[extra]\na = 1\n", "s.toml:1: there is no setting 'extra'"),
        ("seed = 1\npreset_file = 'gone.toml'\n", "s.toml:2: there is no file gone.toml: give its path from "),
        ("preset = 'a'\npreset_file = 'b.toml'\n", "s.toml:2: give either preset or preset_file"),
        ("layers = 'even:0'\n", "s.toml:1: 'even:0' is not a choice of layers"),
        ("models = ['a', 3]\n", "s.toml:1: models are names"),
        ("model = 'a'\nmodels = ['b']\n", "s.toml:2: give either model or models"),
        ("trials = [1,\n", "s.toml:1: this is not TOML: "),
        ("seed = 1\nseed = = 2\n", "s.toml:2: this is not TOML: invalid value"),
        ("seed = 1\ntrials = 1\nseed = 2\n", "s.toml:3: this is not TOML: this is set twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        study_file.parse(text, "s.toml", Path())
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = 1\nconcepts = ['oceen']\n", "s.toml:2: no concept called 'oceen'"),
        ("preset = 'x'\n", "s.toml:1: no preset called 'x'"),
        ("experiment = 'x'\n", "s.toml:1: no experiment called 'x'"),
        ("trials = 1\n[options]\ntrial_numbers = 0\n", "s.toml:3: option trial_numbers"),
        ("trials = 1\n[options]\nnumber = 1\n", "s.toml:3: option number"),
        ("trials = 3\ntemperature = 0\n", "s.toml:1: trials: at temperature 0 every repeat"),
        ("seed = 1\nlayers = [8]\n", "s.toml:2: layer 8 is out of range: detector has layers 0 to 7"),
        ("seed = 1\nkv_bits = 8\n", "s.toml:2: keys and values are quantised by MLX only"),
        ("\ufeffseed = 1\nmodels = ['nobody']\n", "s.toml:2: no simulated subject"),
    ],
)
def test_so_is_what_only_the_experiment_can_tell(call: Call, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    done = call("run", str(path), "--backend", "fake")
    assert done.code == 2
    assert done.err.splitlines()[-1].removeprefix(f"mlxintro: {tmp_path}/").startswith(says)


def test_the_line_is_found_by_the_setting_and_not_by_the_words_of_the_message() -> None:
    found = study_file.parse("seed = 1\nlayers = [2]\nmodels = ['a']\n", "s.toml", Path())
    for setting, where in (("layers", "s.toml:2: "), ("model", "s.toml:3: "), ("device", ""), (None, "")):
        for kind in (UsageError, PrerequisiteError):
            with pytest.raises(kind) as error, found.told():
                raise kind("seed is said here, and it is not about it", setting=setting)
            assert str(error.value) == f"{where}seed is said here, and it is not about it"
    with pytest.raises(UsageError, match=r"^layers") as error, found.told({"layers"}):
        raise UsageError("layers given as flags", setting="layers")


@pytest.mark.parametrize("flags", [("--layers", "8"), ("--concepts", "oceen"), ("--set", "trial_numbers=0")])
def test_what_flags_get_wrong_is_not_laid_to_the_file(call: Call, tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = tmp_path / "s.toml"
    path.write_text("concepts = ['ocean']\nlayers = [2]\n[options]\ntrial_numbers = 2\n")
    done = call("run", str(path), "--backend", "fake", *flags)
    assert (done.code, "s.toml" in done.err) == (2, False)


def test_a_study_that_ships_is_found_by_its_name_alone(call: Call) -> None:
    assert study_file.read("quick") == study_file.read("quick.toml")
    assert not study_file.is_file("injected-thoughts")
    assert call("run", "quick", "--backend", "fake", "--explain").out.startswith("lindsey: ")


@pytest.mark.parametrize(("layers", "count"), [(8, 4), (30, 10), (62, 10), (64, 1)])
def test_evenly_spaced_layers_reach_from_first_to_last(layers: int, count: int) -> None:
    with FakeBackend(f"detector?layers={layers}") as backend:
        found = [backend.info.layer(depth) for depth in study_file.evenly(f"even:{count}")]
    if count == 1:
        assert found == [layers // 2]
        return
    assert (found[0], found[-1]) == (0, layers - 1)
    steps = [b - a for a, b in pairwise(found)]
    assert max(steps) - min(steps) <= 2
    assert len(set(found)) == count


def test_flags_go_before_the_file_and_several_models_are_several_runs(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(
        'models = ["detector", "null"]\nbackend = "fake"\nconcepts = ["ocean"]\nstrengths = [2.0]\ntrials = 2\n'
        "controls = 1\nseed = 7\n[options]\ntrial_numbers = 2\n"
    )
    done = call("run", str(path), "--name", "pair", "--trials", "3", "--set", "trial_numbers=3")
    assert done.code == 0
    _, *runs = call("runs", "list", "--json").lines
    assert [(run["name"], run["model"]["model"], run["done"]) for run in runs] == [
        ("pair-1", "detector", 4),
        ("pair-2", "null", 4),
    ]
    assert all((run["study"]["seed"], run["study"]["options"]["trial_numbers"]) == (7, 3) for run in runs)
    shown = call("runs", "show", "pair-1", "--toml").out
    (tmp_path / "again.toml").write_text(shown)
    assert call("run", str(tmp_path / "again.toml"), "--name", "again").code == 0
    first, again = ([row["trial_key"] for row in call("runs", "export", name).lines] for name in ("pair-1", "again"))
    assert first == again


OWN = """based_on = "lindsey"
[dialogue]
question = "Round {trial}."
[[dialogue.messages]]
role = "user"
content = "Thoughts may be injected. Round {trial}. Do you detect an injected thought?"
"""


def test_a_wording_of_ones_own_inherits_the_rest_and_is_stored(call: Call, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    data = presets.read_file(path)
    base = presets.load("lindsey")
    mine = presets.Preset.model_validate(data)
    assert (mine.defaults, mine.extraction) == (base.defaults, base.extraction)
    assert mine.dialogue != base.dialogue
    run = ("run", "injected-thoughts", "--backend", "fake", "--preset-file", str(path), "--controls", "1")
    assert call(*run, "--concepts", "ocean", "--strengths", "2", "--name", "mine").code == 0
    path.unlink()
    first = call("runs", "show", "mine", "--json").lines[0]
    assert first["study"]["preset_data"]["dialogue"]["question"] == "Round {trial}."
    trial = call("runs", "show", "mine").out.splitlines()[-1].split()[0]
    prompt = call("runs", "show", "mine", trial, "--json").lines[0]["spec"]["prompt"]
    with Store(home / "mlxintro.db", read_only=True) as store:
        assert "Thoughts may be injected. Round 1. Do you detect" in store.prompts.get(prompt).text
    assert call("run", "--resume", "mine").code == 0, "without the file"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("based_on = 'nobody'\n", "no preset called 'nobody'"),
        (OWN.replace('Round {trial}."\n[[', 'Somewhere."\n[['), "question must stand in the last message"),
        ("title = 'x'\n", "mine.toml: experiment: field required"),
        (OWN + "[defaults]\nwindow = 'moon'\n", "defaults.window"),
        ("title = 'x'\nbased_on = 'lindsay'\n", "mine.toml:2: no preset called 'lindsay'"),
        ("based_on = 'lindsey'\n[defaults]\ntrials = 'x'\n", "mine.toml:3: defaults.trials: input should be"),
        ("based_on = 'lindsey'\n[dialogue]\nquestion = 'Q'\n", "mine.toml:2: dialogue.messages: field required"),
        ("based_on = 'lindsey'\n[defaults]\ntrials = 0\n", "mine.toml:3: defaults.trials: "),
        ("based_on = 'lindsey'\n[defaults]\ntemperature = 99\n", "mine.toml:3: defaults.temperature: "),
        ("based_on = 'lindsey'\n[defaults]\nstrengths = []\n", "mine.toml:3: defaults.strengths: the list is empty"),
        ("based_on = 'lindsey'\n[extraction]\ntemplate = 'x'\n", "mine.toml:3: extraction.template: the template 'x'"),
        ("based_on = 'lindsey'\n[extraction]\nbaseline = 'x'\n", "mine.toml:3: extraction.baseline: no baseline"),
        ("based_on = 'lindsey'\ndialogue = 3\n", "mine.toml:2: dialogue: this is a table: begin it with [dialogue]"),
        ("based_on = 'lindsey'\nsource = 1 2\n", "mine.toml:2: this is not TOML"),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused_in_a_line(call: Call, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    done = call("run", "injected-thoughts", "--backend", "fake", "--preset-file", str(path))
    assert done.code == 2
    assert says in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", [n for n in presets.names() if presets.load(n).experiment == "injected-thoughts"])
def test_a_protocol_is_explained_with_every_difference_from_its_source(name: str) -> None:
    checked = launch.check(make_study(model="x", backend="fake", preset=name, temperature=0.3, trials=1))
    text = "\n".join(explain(checked))
    assert all(f"- {difference}" in text for difference in checked.preset.differences)
    assert "temperature is 0.3 instead of" in text
    assert checked.preset.source in text


@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_says_what_is_read_injected_scored_and_compared(name: str) -> None:
    checked = launch.check(make_study(model="x", backend="fake", experiment=name))
    said = {line.split()[0]: line for line in explain(checked)[1:]}
    experiment = checked.experiment
    assert experiment.graded or experiment.scored in said["grading"]
    assert experiment.compared in said["controls"]
    assert ("by the experiment's design" in said["window"]) == (checked.study.window is None and name[0] != "i")
    text = "\n".join(explain(checked))
    assert checked.preset.dialogue or checked.preset.wording
    for value in checked.preset.wording.values():
        if isinstance(value, str):
            assert " ".join(value.split()) in text


def test_macars_trial_numbers_stand_in_the_text_and_turn_three_begins_with_them() -> None:
    with FakeBackend("detector") as backend:
        study = make_study(model="detector", backend="fake", preset="macar", concepts=("ocean", "fear"), trials=10)
        plan = launch.plan(launch.check(study), backend)
        texts = {
            (spec.concept, plan.prompts[spec.prompt].messages[-1]["content"].split(":")[0])
            for spec in plan
            if spec.condition == "injected" and not spec.arm
        }
        starts = {spec.injections[0].start for spec in plan if spec.injections and not spec.arm}
        first = plan.prompts[next(spec for spec in plan if spec.injections).prompt]
    assert texts == {(word, f"Trial {n}") for word in ("ocean", "fear") for n in range(1, 11)}
    assert all("".join(first.pieces[start + 1 :]).startswith("Trial") for start in starts)


def test_the_preset_that_the_documentation_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "protocols.md").read_text("utf-8")
    shown = page.split("## A preset of your own")[1].split("```toml\n")[1].split("```")[0]
    (tmp_path / "mine.toml").write_text(shown, "utf-8")
    found = study_file.parse("preset_file = 'mine.toml'\n", "s.toml", tmp_path)
    checked = launch.check(make_study(model="detector", **found.settings))
    assert (checked.preset.title, checked.study.max_tokens, checked.study.window) == ("My wording", 60, "question")
    assert checked.preset.dialogue
    messages, question = checked.preset.dialogue.at_trial(3)
    assert question == "Trial 3:"
    assert messages[-1]["content"].startswith("Shall we?\n\nTrial 3: do you notice")
    assert any("mine.toml gives of its own: title, dialogue, defaults." in line for line in explain(checked))
