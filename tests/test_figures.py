"""Figures for a paper: what they show is what the store holds, and the files beside them say the same."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import image, rcParams
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Analysis, Curve, HeatMap, Plot, Point, ValueMap
from mlxintro.analysis.stats import Mean, rate
from mlxintro.analysis.tally import RunTally
from mlxintro.rendering.figures.building import FigureChoice, paper_figure, report_figures
from mlxintro.rendering.figures.drawing import draw, svg_text
from mlxintro.rendering.figures.numbers import latex, number_table
from mlxintro.rendering.figures.panels import KINDS
from mlxintro.rendering.figures.rates import Drawn
from mlxintro.rendering.figures.style import DASHES, stroke
from mlxintro.rendering.report import pictures
from tests.cli import RUN, Call, mlxintro

SIZES = {"small": 0.135e9, "middle": 0.5e9, "large": 3e9}
GRID = ("--concepts", "ocean,fear,bread", "--layers", "2,5", "--strengths", "2,4", "--trials", "2", "--controls", "6")


def numbers_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_all(home: Path) -> None:
    """A grid, and three runs of subjects that pass for models of different sizes; larger ones notice more."""
    assert mlxintro(home, *RUN, "-m", "detector", *GRID, "--name", "grid").code == 0
    for (name, size), hit in zip(SIZES.items(), (0.05, 0.4, 0.9), strict=True):
        words = ("--concepts", "set:lindsey-50", "--layers", "5", "--strengths", "4", "--controls", "20")
        assert mlxintro(home, *RUN, "-m", f"detector?hit={hit}&fa=0.2", *words, "--name", name).code == 0
        with closing(sqlite3.connect(home / "mlxintro.db")) as db, db:
            (model,) = db.execute("SELECT model FROM runs WHERE name = ?", (name,)).fetchone()
            told = {**json.loads(model), "model": f"owner/{name}", "parameters": int(size)}
            db.execute("UPDATE runs SET model = ? WHERE name = ?", (json.dumps(told), name))


@pytest.fixture
def home(filled: Path, made_once: Callable[[str, Callable[[Path], object]], Path], tmp_path: Path) -> Path:
    """A home with the runs that figures are drawn of, to do anything with."""

    def fill(home: Path) -> None:
        shutil.copytree(filled, home, dirs_exist_ok=True)
        run_all(home)

    return Path(shutil.copytree(made_once("figures", fill), tmp_path / "home"))


def test_the_numbers_beside_a_figure_are_those_of_the_exported_trials(call: Call, tmp_path: Path) -> None:
    done = call("figure", "grid", "-o", str(tmp_path / "fig.svg"), "--figure", "detection")
    assert done.code == 0
    assert done.out.startswith("Detects by depth: detector")
    trials = call("runs", "export", "grid", "--format", "jsonl").lines
    rows = numbers_of(tmp_path / "fig.csv")
    assert len(rows) == 5, "two layers by two strengths, and the false alarms"
    for row in rows:
        if row["x"]:
            strength, layer = float(row["series"].removeprefix("strength ")), float(row["x"]) * 8
            cell = [t for t in trials if (t["layer"], t["strength"], t["condition"]) == (layer, strength, "injected")]
        else:
            cell = [t for t in trials if t["condition"] == "control"]
        hits = sum(t["rules.affirms"] and t["rules.coherent"] and not t["rules.refuses"] for t in cell if not t["arm"])
        n = sum(not t["arm"] for t in cell)
        assert (int(row["hits"]), int(row["n"])) == (hits, n)
        assert float(row["low"]) == pytest.approx(rate(hits, n).low)


def test_files_beside_a_figure_hold_table_caption_and_methods(call: Call, tmp_path: Path) -> None:
    (made,) = call("figure", "grid", "-o", str(tmp_path / "fig.pdf"), "--json").lines
    assert [Path(path).name for path in made["files"]] == ["fig.pdf", "fig.csv", "fig.tex", "fig.md"]
    assert (tmp_path / "fig.pdf").read_bytes().startswith(b"%PDF")
    words, tex = (tmp_path / "fig.md").read_text("utf-8"), (tmp_path / "fig.tex").read_text("utf-8")
    assert tex.count("\\toprule") == 1
    assert "\\label{tab:fig}" in tex
    for value in ("2/6", "1/6", "0/6"):
        assert (value in words) == (value in tex)
    for fact in ("detector", "fake", "float32", "not quantised", "seed 0", "rules", "layers 2, 5", "b2:", "mlxintro"):
        assert fact in made["methods"], fact
    assert "n = 6 trials per point" in made["caption"]


@pytest.mark.parametrize("ending", ["pdf", "svg", pytest.param("png", marks=pytest.mark.slow)])
def test_the_same_numbers_give_the_same_bytes(call: Call, tmp_path: Path, ending: str) -> None:
    files = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        assert call("figure", "grid", "-o", str(folder / f"fig.{ending}")).code == 0
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert files[0] == files[1]


def test_models_of_different_depths_share_an_axis(call: Call, tmp_path: Path) -> None:
    assert call(*RUN, "-m", "null?layers=16", *GRID, "--name", "deep").code == 0
    assert call("figure", "grid", "deep", "-o", str(tmp_path / "fig.svg")).code == 0
    rows = numbers_of(tmp_path / "fig.csv")
    assert {row["series"] for row in rows if row["x"]} == {"detector", "null?layers=16"}
    depths = {(row["series"], float(row["x"])) for row in rows if row["x"]}
    assert depths == {("detector", 2 / 8), ("detector", 5 / 8), ("null?layers=16", 2 / 16), ("null?layers=16", 5 / 16)}
    text = (tmp_path / "fig.svg").read_text("utf-8")
    assert "null?layers=16, false alarms (n = 6)" in text
    assert "depth (layer / number of layers)" in text


def test_rates_over_size_have_the_line_of_the_tested_trend(call: Call, tmp_path: Path) -> None:
    done = call("figure", "large", "small", "middle", "--x", "size", "-o", str(tmp_path / "fig.svg"))
    assert done.code == 0, done.err
    rows = numbers_of(tmp_path / "fig.csv")
    panel = [row for row in rows if row["panel"] == "detects"]
    points = [row for row in panel if row["series"] == "injected"]
    assert [float(row["x"]) for row in points] == pytest.approx([0.135, 0.5, 3.0])
    assert all(row["n"] == "50" for row in points)
    # One trial per concept in every run: the mean of the concepts' slopes is the slope of the rates.
    logs = np.log2([float(row["x"]) for row in points])
    slope, start = np.polyfit(logs, [float(row["value"]) for row in points], 1)
    (label,) = {row["series"] for row in panel if row["series"].startswith("fit: detects, injected")}
    ends = [float(row["value"]) for row in panel if row["series"] == label]
    assert ends == pytest.approx([start + slope * logs[0], start + slope * logs[-1]])
    assert f"{100 * slope:+.1f} points per doubling" in label
    compared = call("compare", "large", "small", "middle", "--json")
    (trend,) = [t for t in json.loads(compared.out)["across"] if t["name"] == "trend"]
    (row,) = [row for row in trend["rows"] if row[0] == "detects, injected"]
    assert row[1]["value"] == pytest.approx(slope)
    text = (tmp_path / "fig.svg").read_text("utf-8")
    for said in ("small", "135M", "500M", "3B", "parameters (log scale)", "injected (n = 50)", "false alarms (n = 20)"):
        assert said in text
    image_path = tmp_path / "fig.png"
    assert call("figure", "large", "small", "--x", "size", "-o", str(image_path)).code == 0
    assert "A trend takes 3 sizes or more" in (tmp_path / "fig.md").read_text("utf-8")
    assert image.imread(image_path)[..., :3].std() > 0.05, "something is drawn"


def test_a_figure_over_size_takes_models_of_known_and_different_sizes(call: Call, tmp_path: Path) -> None:
    done = call("figure", "grid", "--x", "size", "-o", str(tmp_path / "fig.svg"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "the size of detector is not known" in done.err


def test_every_kind_that_a_run_has_is_drawn(call: Call, tmp_path: Path) -> None:
    for kind in ("rates", "overall", "heat-maps", "curves", "ladder"):
        path = tmp_path / f"{kind}.png"
        assert call("figure", "grid", "-o", str(path), "--kind", kind).code == 0
        assert image.imread(path)[..., :3].std() > 0.05, "something is drawn"
    for kind in ("heat-maps", "curves"):
        assert all(row["panel"].startswith("detector: ") for row in numbers_of(tmp_path / f"{kind}.csv")), "whose it is"
    assert {row["state"] for row in numbers_of(tmp_path / "ladder.csv")} <= {"excluded", "not excluded", "not tested"}
    done = call("figure", "grid", "-o", str(tmp_path / "x.png"), "--kind", "maps")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "grid has no maps: it has rates, overall, heat-maps, curves, ladder" in done.err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("first", "-o", "fig.gif"), "fig.gif is none of .pdf, .png and .svg"),
        (("first", "-o", "nowhere/fig.png"), "cannot be written"),
        (("nobody", "-o", "fig.png"), "no run called 'nobody'"),
        (("first", "-o", "fig.png", "--figure", "height"), "choose from detection, identification"),
        (("first", "-o", "fig.png", "--x", "depth"), "every cell has one depth: choose --x strength"),
        (("first", "-o", "fig.png", "--kind", "ladder", "--x", "depth"), "leave --x out"),
        (("first", "-o", "fig.png", "--grader", "claude"), "claude"),
    ],
)
def test_what_cannot_be_drawn_is_a_line(call: Call, wrong: Sequence[str], said: str) -> None:
    done = call("figure", *wrong)
    assert done.code in (1, 2)
    assert done.err.count("\n") == 1
    assert said in done.err


def only(analysis: Analysis, label: str = "m") -> Drawn:
    return Drawn(label, None, analysis, RunTally(Display()))


def test_maps_of_means_are_pale_where_the_interval_holds_zero_and_hatched_below_it() -> None:
    cells = {("1", "a"): Mean(0.5, 0.2, 0.8, 5), ("1", "b"): Mean(-0.5, -0.8, -0.2, 5), ("0", "a"): Mean(0.5, -1, 2, 5)}
    map_ = ValueMap("v", "map", ("1", "0"), ("a", "b"), cells, "nats", 0.5)
    canvas = draw(paper_figure([only(Analysis(value_maps=(map_,)))], FigureChoice("maps")))
    found = [box for box in canvas.axes[0].patches if isinstance(box, Rectangle)]
    boxes = {(round(box.get_x() + 0.48), round(box.get_y() + 0.46)): box for box in found}
    above, below, unsure = boxes[0, 0], boxes[1, 0], boxes[0, 1]
    assert unsure.get_facecolor() == (1, 1, 1, 1)
    assert (above.get_hatch(), below.get_hatch(), unsure.get_hatch()) == (None, "////", None)
    assert above.get_facecolor() != below.get_facecolor()


def test_a_caption_names_what_is_shown_whatever_the_run_is_called() -> None:
    map_ = ValueMap("v", "yes: beyond no", ("1",), ("a",), {("1", "a"): Mean(0.5, 0.2, 0.8, 5)}, "nats", 0.5)
    figure = paper_figure([only(Analysis(value_maps=(map_,)), "batch: two")], FigureChoice("maps"))
    assert figure.caption.startswith("Yes: beyond no (nats).")


def test_twenty_eight_lines_are_told_apart_and_bars_are_their_intervals() -> None:
    assert len({(stroke(n).colour, stroke(n).dash) for n in range(28)}) == 28
    curves = tuple(
        Curve(f"arm {n}", (Point(0, 0.1 * n, 0.1 * n - 0.05, 0.1 * n + 0.02), Point(1, 0.0))) for n in (0, 1)
    )
    (figure,) = report_figures(Analysis(plots=(Plot("p", "t", "layer", "cosine", curves),)))
    axes = draw(figure).axes[0]
    drawn = axes.containers[1]
    assert isinstance(drawn, ErrorbarContainer)
    (bars,) = drawn.lines[2]
    assert bars.get_segments()[0][:, 1].tolist() == pytest.approx([0.05, 0.12])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("layer", "cosine")


def test_the_first_four_strokes_differ_in_grey_too() -> None:
    """Lightness by the formula of WCAG 2.1, relative luminance."""

    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))

    found = sorted((luminance(stroke(n).colour), stroke(n).dash) for n in range(4))
    assert len({dash for _, dash in found}) == len(DASHES)
    assert found[0][0] < 0.05
    assert found[-1][0] > 0.3


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = dict(rcParams)
    map_ = HeatMap("m", "m", (1,), (1.0,), {(1, 1.0): rate(1, 4)})
    svg_text(paper_figure([only(Analysis(heat_maps=(map_,)))]), "p")
    assert dict(rcParams) == before


def test_text_of_models_and_people_is_no_markup(tmp_path: Path) -> None:
    evil = 'a<b>&"$x_1$%'
    curves = (Curve(evil, (Point(0, 0.1), Point(1, 0.2))),)
    figure = paper_figure([only(Analysis(plots=(Plot("p", evil, evil, evil, curves),)))])
    texts = [node.text for node in ElementTree.fromstring(svg_text(figure, "p")).iter() if node.tag.endswith("text")]
    assert texts.count(evil) >= 3, "dollars are no formula"
    tex = latex(number_table(figure), evil, "tab:x")
    assert not re.search(r"(?<!\\)[$&%_](?!\\)", tex.replace(" & ", " ").replace("tab:x", ""))


def test_a_report_without_matplotlib_has_its_maps_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlxintro.rendering.report.can_draw", lambda: False)
    map_ = HeatMap("m", "m", (1,), (1.0,), {(1, 1.0): rate(1, 4)})
    found = "".join(pictures(Analysis(heat_maps=(map_,))))
    assert "25%" in found
    assert "<svg" not in found
    assert "matplotlib" in found


def test_the_help_names_every_kind(call: Call) -> None:
    text = call("figure", "--help").out
    assert all(f"\n  {kind} " in text for kind in KINDS)
