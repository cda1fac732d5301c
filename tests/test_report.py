"""Reports and comparisons of stored runs, as they are typed."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mlxintro.analysis.across import published
from mlxintro.analysis.stats import difference, rate
from mlxintro.backends.simulated.backend import FakeBackend
from mlxintro.protocol import presets
from tests.cli import RUN, Call
from tests.experiment_runs import ran

SWEEP = ("--concepts", "ocean,fear,bread", "--layers", "3,5", "--strengths", "2,4", "--trials", "4", "--name", "sweep")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "data")]
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_stands_alone_is_well_formed_and_holds_the_runs_figures(call: Call, tmp_path: Path) -> None:
    assert call(*RUN, *SWEEP).code == 0
    path = tmp_path / "sweep.html"
    assert call("report", "sweep", "-o", str(path)).code == 0
    page = path.read_text("utf-8")
    tags = Tags()
    tags.feed(page)
    assert (tags.open, tags.loads) == ([], [])
    assert not re.search(r"url\((?!#)|@import|<script", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "<h2>Methods</h2>" in page
    found = call("stats", "sweep", "--json").lines[0]
    assert found["verdict"]["headline"] in page
    pictures = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    texts = [[node.text for node in picture.iter() if node.tag.endswith("text")] for picture in pictures]
    for map_, shown in zip(found["heat_maps"], texts, strict=False):
        assert sorted(f"{cell['value']:.0%}" for cell in map_["cells"]) == sorted(t for t in shown if t and "%" in t)


def test_markdown_has_verdict_and_study_and_tells_markup_from_text(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "first.md"
    assert call("report", "first", "-o", str(path)).code == 0
    text = path.read_text("utf-8")
    study = text.split("```toml\n")[1].split("```")[0]
    assert study == call("runs", "show", "first", "--toml").out
    assert call("stats", "first", "--json").lines[0]["verdict"]["kind"] in text


@pytest.mark.parametrize("name", ["first.pdf", "first", "nowhere/first.md"])
def test_what_cannot_be_written_is_a_line(call: Call, tmp_path: Path, name: str) -> None:
    done = call("report", "first", "-o", str(tmp_path / name))
    assert done.code == 2
    assert done.err.count("\n") == 1


def test_runs_side_by_side_with_their_differences(call: Call) -> None:
    assert call(*RUN, "-m", "null", *SWEEP, "--seed", "3").code == 0
    (found,) = call("compare", "first", "sweep", "--json").lines
    one, two = (call("stats", name, "--json").lines[0] for name in ("first", "sweep"))
    row = next(row for row in found["figures"] if row["figure"] == "claims a thought, injected")
    assert row["first"] == one["overall"]["detection"]
    rates = [
        rate(item["overall"]["detection"]["successes"], item["overall"]["detection"]["trials"]) for item in (two, one)
    ]
    assert row["sweep - first"] == difference(*rates).as_dict()
    assert any(line.startswith("layers: ") for line in found["protocol_differences"])
    assert not any(line.startswith("seed") for line in found["protocol_differences"])
    assert any(line == "model: detector | null" for line in found["model_differences"])
    assert "the protocols differ" in call("compare", "first", "sweep").out
    assert "the protocols differ" not in call("compare", "first", "first").out
    assert call("compare", "first").code == 2


def test_runs_of_different_experiments_are_not_compared(call: Call) -> None:
    other = ("run", "localization", "--backend", "fake", "--concepts", "ocean", "--layers", "5", "--name", "other")
    assert call(*other, "--controls", "none").code == 0
    done = call("compare", "first", "other")
    assert (done.code, done.out) == (2, "")
    assert "same experiment have figures in common: first is injected-thoughts, other is localization" in done.err


def test_published_figures_stand_beside_a_run_with_what_differs(call: Call) -> None:
    shown = call("stats", "first", "--published").out
    assert "41.1% (2055/5000, 39.7-42.5)" in shown
    assert "published 22.9% " in shown
    assert shown.count("differs: preset: lindsey here, macar there") == 1, "what differs from all is said once"
    (found,) = call("stats", "first", "--published", "--json").lines
    macar = next(one for one in found["published"]["comparisons"] if "layer 37" in one["setting"])
    assert "preset: lindsey here, macar there" in macar["differences"]
    assert "concepts: 2 here, 500 there" in macar["differences"]
    paper = next(one for one in found["published"]["comparisons"] if "best layer" in one["setting"])
    assert not any(line.startswith(("preset", "window", "temperature", "unit")) for line in paper["differences"])


def test_a_published_cell_stands_beside_the_cell_of_that_depth_and_strength_alone(call: Call) -> None:
    """The counts of the cell are taken from the export, one trial at a time."""
    grid = (
        "--concepts",
        "ocean,fear,bread",
        "--layers",
        "2,5",
        "--strengths",
        "2,3",
        "--trials",
        "2",
        "--controls",
        "6",
    )
    assert call("run", "injected-thoughts", "--backend", "fake", "-m", "detector", *grid, "--name", "grid").code == 0
    (found,) = call("stats", "grid", "--published", "--json").lines
    trials = call("runs", "export", "grid", "--format", "jsonl").lines
    cell = [
        t for t in trials if t["condition"] == "injected" and (t["layer"], t["strength"]) == (5, 2.0) and not t["arm"]
    ]
    named = sum(t["rules.affirms"] is True and t["rules.identifies"] is True for t in cell)
    paper, other = (
        next(one for one in found["published"]["comparisons"] if wanted in one["setting"])
        for wanted in ("best layer", "the same layer, strength 5")
    )
    assert paper["cell"] == "layer 5 (62% of the depth), strength 2"
    assert len(cell) == 6
    assert f"({named}/6, " in paper["figures"][0][2]
    assert not any(line.startswith(("strengths", "depth")) for line in paper["differences"])
    assert other["cell"] is None
    assert {here for _, _, here in other["figures"]} == {"no such cell"}
    assert "strengths: 2, 3 here, 5 there" in other["differences"]


@pytest.mark.parametrize("source", published.sources(), ids=lambda one: one.protocol.experiment)
def test_published_figures_are_figures_of_the_experiment(source: published.PublishedSource) -> None:
    protocol = source.protocol
    with FakeBackend("detector") as backend:
        found = ran(backend, protocol.experiment, layers=(5,), strengths=(2.0,), concepts=("ocean", "fear")).analysis
    assert {name for result in source.results for name in result.figures} <= {figure.name for figure in found.figures}
    assert protocol.preset in presets.names()
    for result in source.results:
        for number in result.figures.values():
            assert (number.rate is None) == (number.count is not None and number.trials is not None)
