"""The line above the replies: what is typed there is a filter, and keys edit it."""

from __future__ import annotations

import asyncio

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.store.records import TrialFilter
from mlxintro.tui.trials.filter_line import FLAGS, FilterSuggester, cycled, cycled_flag, parse


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("", TrialFilter()),
        ("is:injected layer:12 strength:0.5", TrialFilter(condition="injected", layer=12, strength=0.5)),
        ('concept:"sea horse" is:unlabelled', TrialFilter(concept="sea horse", labelled=False)),
        ("arm:main grade:leaks by:claude", TrialFilter(arm="", verdict="no claim, says it", grader="claude")),
        ('detect an injected "control two"', TrialFilter(words=("detect", "an", "injected", "control two"))),
        ("is:disputed is:failed", TrialFilter(disputed=True, status="error")),
    ],
)
def test_the_filter_line(line: str, where: TrialFilter) -> None:
    assert parse(line) == where


@pytest.mark.parametrize("line", ["layer:", "grade:good", "color:red", "strength:much"])
def test_the_filter_line_refuses(line: str) -> None:
    with pytest.raises(UsageError, match=line.partition(":")[0]):
        parse(line)


def test_the_filter_line_is_edited_by_keys() -> None:
    assert cycled("word", "layer", ("4", "8")) == "word layer:4"
    assert cycled("layer:4 word", "layer", ("4", "8")) == "word layer:8"
    assert cycled("layer:8 word", "layer", ("4", "8")) == "word"
    assert cycled("", "concept", ("sea horse",)) == 'concept:"sea horse"'
    assert cycled_flag("word", ("injected", "control")) == "is:injected word"
    assert cycled_flag("is:injected word", ("injected", "control")) == "is:control word"
    assert cycled_flag("is:control word", ("injected", "control")) == "word"
    suggester = FilterSuggester()
    suggester.values = {"is": tuple(FLAGS), "concept": ("ocean", "fear")}
    assert asyncio.run(suggester.get_suggestion("is:injected concept:f")) == "is:injected concept:fear"
    assert asyncio.run(suggester.get_suggestion("is:dis")) == "is:disputed"
