"""The best cell is chosen on some concepts and reported on the others; each half is laid out here to disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from mlxintro.analysis.reply_tally import names, share
from mlxintro.analysis.results import Analysis, Row
from mlxintro.analysis.stats import Rate
from mlxintro.experiments.detection.analysis import analyse
from mlxintro.ladder.best_cell import Best, best_cell
from mlxintro.ladder.rows import Rows
from mlxintro.protocol.study import make_study
from tests.planted import CLAIMS, DENIALS, graded

WORDS = ("ocean", "bread", "fear", "music", "dust", "silver")
CELLS = ((4, 2.0), (4, 4.0), (8, 2.0), (8, 4.0))


def row(word: str | None, cell: tuple[int, float] | None, trial: int, named: bool) -> Row:
    text = CLAIMS[0].format(word=word) if named else DENIALS[0]
    condition = "injected" if cell else "control"
    layer, strength = cell or (None, None)
    concept = word if cell else None
    related = (word,) if cell and word else ()
    return Row("", condition, "", concept, layer, strength, trial, text, {}, {}, graded(text, concept), related)


def rows(named: dict[tuple[int, float], Sequence[str]], trials: int = 3) -> Iterator[Row]:
    """Replies in which, by cell, certain concepts are named every time and no other ever is."""
    for trial in range(trials):
        for word in WORDS:
            yield row(word, None, trial, False)
            for cell in CELLS:
                yield row(word, cell, trial, word in named.get(cell, ()))


def best(found: Sequence[Row]) -> Best:
    chosen = best_cell(Rows.of(found))
    assert chosen is not None
    return chosen


@pytest.fixture(scope="module")
def halves() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The concepts that choose and those that are reported on: a matter of the words alone."""
    one = best(list(rows({})))
    return one.chosen_on, one.words


def test_every_concept_is_on_one_side(halves: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    first, second = halves
    assert sorted(first + second) == sorted(WORDS)
    assert len(first) == len(second) == 3


def test_a_cell_that_only_the_choosing_concepts_favour_is_reported_at_nothing(
    halves: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    """Chosen and reported on the same concepts, it would show every reply right."""
    first, second = halves
    found = best(list(rows({CELLS[1]: first, CELLS[2]: second})))
    assert found.place == CELLS[1]
    assert {one.concept for one in found.reported} == set(second)
    rate = share(found.reported, names)
    assert (rate.successes, rate.trials) == (0, 9)


def test_concepts_that_are_reported_on_have_no_say_in_the_choice(
    halves: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    first, second = halves
    found = best(list(rows({CELLS[0]: first[:1], CELLS[3]: second})))
    assert found.place == CELLS[0]


def analysed(found: Sequence[Row]) -> Analysis:
    return analyse(found, make_study(model="planted", backend="fake"))


def test_what_a_report_shows_of_the_best_cell_is_from_the_other_concepts(
    halves: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    first, second = halves
    analysis = analysed(list(rows({CELLS[1]: first, CELLS[2]: second})))
    (table,) = (table for table in analysis.tables if table.name == "best_cell")
    label, count, _, identified = table.rows[0]
    assert isinstance(identified, Rate)
    assert (label, count) == ("layer 4, strength 4", 3)
    assert (identified.successes, identified.trials) == (0, 9)
    data = analysis.data["best_cell"]
    assert not set(data["chosen_on"]) & set(data["reported_on"])
    assert data["identification"]["successes"] == 0
