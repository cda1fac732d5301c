"""What ships can be listed, and what is listed can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxintro.protocol.concepts import library
from tests.cli import Call, mlxintro


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_every_listed_name_of_concepts_can_be_resolved(call: Call) -> None:
    listed = call("concepts", "list", "--json").lines
    sizes = {one["name"]: one["words"] for one in listed if one["kind"] != "baseline"}
    assert sizes["set:lindsey-50"] == 50
    for name, words in sizes.items():
        assert len(library().resolve([name], allow_unknown=False)) == words


def test_a_set_shows_its_words_and_an_unknown_name_is_one_line(call: Call) -> None:
    assert {one["word"] for one in call("concepts", "list", "ocean", "fear", "--json").lines} == {"ocean", "fear"}
    wrong = call("concepts", "list", "category:nonsense")
    assert wrong.code == 2
    assert wrong.err.count("\n") == 1


def test_a_shown_preset_can_be_edited_and_run(call: Call, home: Path, tmp_path: Path) -> None:
    names = [one["name"] for one in call("presets", "list", "--json").lines]
    assert "lindsey" in names
    own = tmp_path / "mine.toml"
    own.write_text(call("presets", "show", "lindsey").out, encoding="utf-8")
    done = mlxintro(home, "run", "injected-thoughts", "--backend", "fake", "--preset-file", str(own), "--explain")
    assert done.code == 0, done.err


def test_an_unknown_preset_is_one_line(call: Call) -> None:
    wrong = call("presets", "show", "nonsense")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
