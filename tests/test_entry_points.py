"""A package of somebody else adds an experiment, a grader and a backend, and the command line uses them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mlxintro as mi
from tests import forked
from tests.test_eighth_experiment import EXPERIMENT
from tests.test_eighth_experiment import PRESET as TOML

ROOT = Path(__file__).parent.parent
PRESET = """
import tomllib

OneWord.own_presets = {"one-word": tomllib.loads(PRESET)}
"""
GRADER = '''
from mlxintro.grading.base import Grade


class Loud:
    """Takes capital letters for a claim."""

    name = "loud"
    version = "1"

    def grade(self, reply, concept, related=()):
        return Grade(reply.isupper(), None, None, True, False, reason="by its letters")
'''
BACKEND = """
from mlxintro.backends.simulated.backend import FakeBackend


def load(model, *, device=None, dtype=None, quantize=None, batch_size=None):
    return FakeBackend(model, batch_size=batch_size or 4)




"""
POINTS = """
[mlxintro.experiments]
one-word = outside.experiment:EXPERIMENT

[mlxintro.graders]
loud = outside.grader:Loud

[mlxintro.backends]
echo = outside.backend:load
gone = outside.nowhere:load
"""


FORKED = """
import importlib, os, runpy, sys
os.chdir({package!r})
sys.path.insert(0, {package!r})
importlib.invalidate_caches()
sys.argv = {arguments!r}
runpy.run_module("mlxintro", run_name="__main__", alter_sys=True)
"""
"""What a process does that is forked from one without the package; PYTHONPATH does it for one that starts afresh."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that Python takes for an installed package."""
    folder = tmp_path_factory.mktemp("site")
    code = folder / "outside"
    code.mkdir()
    (code / "__init__.py").write_text("")
    (code / "experiment.py").write_text(f"{EXPERIMENT}\nPRESET = {TOML!r}\n{PRESET}")
    (code / "grader.py").write_text(GRADER)
    (code / "backend.py").write_text(BACKEND)
    about = folder / "outside-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    return folder


def said(package: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{package}", "MLXINTRO_HOME": str(package / "home")}
    command = [sys.executable, "-m", "mlxintro", *arguments]
    if sys.platform == "linux":
        program = FORKED.format(package=str(package), arguments=["mlxintro", *arguments])
        done = subprocess.CompletedProcess(command, *forked.run(["-c", program], environment, "", None, 120))
    else:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=package)
    assert done.returncode == code, done.stderr
    return done


def test_a_package_adds_one_of_each_and_the_command_line_uses_them(package: Path) -> None:
    chosen = ("--backend", "echo", "-m", "detector", "--concepts", "ocean,bread")
    assert "It has no source." in said(package, "run", "one-word", *chosen, "--explain").stdout
    said(package, "run", "one-word", *chosen, "--name", "first")
    figures = json.loads(said(package, "stats", "first", "--json").stdout)
    assert figures["experiment"] == "one-word"
    assert set(figures["figures"]) == {"said"}
    said(package, "run", "injected-thoughts", *chosen, "--name", "second", "--trials", "1", "--controls", "2")
    said(package, "grade", "second", "--grader", "loud")
    loud = json.loads(said(package, "stats", "second", "--grader", "loud", "--json").stdout)
    assert loud["grader"] == "loud"
    assert loud["false_alarms"]["trials"] == 2


def test_presets_of_a_package_are_listed_shown_and_can_be_edited(package: Path) -> None:
    listed = [json.loads(line) for line in said(package, "presets", "list", "--json").stdout.splitlines()]
    assert {"lindsey", "one-word"} <= {one["name"] for one in listed}
    shown = said(package, "presets", "show", "one-word").stdout
    assert tomllib.loads(shown) == tomllib.loads(TOML)
    (package / "mine.toml").write_text(shown.replace("It has no source.", "It is mine."), encoding="utf-8")
    edited = ("--preset-file", "mine.toml", "--backend", "echo", "-m", "detector", "--explain")
    assert "It is mine." in said(package, "run", "one-word", *edited).stdout
    unknown = said(package, "presets", "show", "two-words", code=2).stderr
    assert "no preset called 'two-words'" in unknown
    assert "one-word" in unknown


def test_what_is_not_there_or_does_not_load_is_one_line_that_names_it(package: Path) -> None:
    unknown = said(package, "run", "two-words", code=2).stderr
    assert "no experiment called 'two-words'" in unknown
    assert "one-word" in unknown
    gone = said(package, "run", "one-word", "--backend", "gone", "-m", "detector", code=1).stderr.splitlines()[-1]
    assert "the backend 'gone' of the package outside does not load (ModuleNotFoundError" in gone
    assert "'echo'" in said(package, "run", "one-word", "--backend", "nobody", code=2).stderr
    without = said(package, "run", "one-word", "--backend", "echo", code=2).stderr
    assert "the backend 'echo' has no usual model: name one with -m" in without


def test_typed_names_of_the_package_are_those_it_loads() -> None:
    """Type checkers read the imports under TYPE_CHECKING, Python the table: both must name the same things."""
    tree = ast.parse((ROOT / "mlxintro" / "__init__.py").read_text("utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert typed == mi._API
    assert sorted(typed) == sorted(mi.__all__)
    assert all(getattr(mi, name) is not None for name in mi.__all__)
    assert (ROOT / "mlxintro" / "py.typed").is_file()
