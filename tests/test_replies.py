"""The index of replies: whatever of it is there, a search finds what reading every reply finds."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlxintro.store import Finished, Store, TrialFilter
from mlxintro.store.searching import text_index as module
from mlxintro.store.searching.text_index import NoTextIndex
from tests.cli import mlxintro
from tests.plans import outcome, plan

ALPHABET = "aAbBcC  \"'*-%_\0éÉßİ🌊海\n"
TEXTS = ('a"b', "ABC", "b c", "bc\0", "🌊海a", "éÉß", "海", "ab", "*-%", "zzz", '"', "aab bcc", "İa ")


def _fold(text: str) -> str:
    """Neither case nor the form of an accented letter counts: what the filter promises."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two runs of 300 replies of few different characters, so that nearly all trigrams occur and few texts do."""
    dice = random.Random(5)
    with Store(tmp_path / "mlxintro.db") as opened:
        for name in ("a", "b"):
            run = opened.runs.create("injected-thoughts", planned=300, name=name, model={"model": "x"}).id
            said = ["".join(dice.choices(ALPHABET, k=dice.randrange(40))) for _ in range(300)]
            done = [Finished(i, s, outcome(s, said[i])) for i, s in enumerate(plan(300))]
            for at in range(0, 300, 40):
                opened.trials.add(run, done[at : at + 40])
        yield opened


def _agrees(store: Store) -> None:
    for run in store.runs.all():
        said = [(trial.ordinal, trial.response) for trial in store.trials.of_run(run.id)]
        cut = [text[3:9] for _, text in said[::20] if len(text) > 12]
        for text in (*TEXTS, *cut):
            where = TrialFilter(text=text)
            rows = store.browse.matching(run.id, where, store.browse.route(run.id, where))
            found = [seen.trial.ordinal for seen in store.browse.seen(run.id, rows)]
            assert found == [at for at, reply in said if _fold(text) in _fold(reply)], repr(text)


def test_a_search_finds_what_reading_finds(store: Store) -> None:
    waiting = store.trials.unindexed()
    # Trials index themselves as they are written, but for the last few.
    assert 0 < waiting < 64
    _agrees(store)
    while store.trials.index_replies(37):
        assert 0 < store.trials.unindexed() < waiting
        _agrees(store)
    assert store.trials.unindexed() == 0
    _agrees(store)


def test_the_index_spares_reading(store: Store) -> None:
    store.trials.index_replies(10_000)
    (run,) = (one for one in store.runs.all() if one.name == "a")
    needle = next(t.response for t in store.trials.of_run(run.id) if len(t.response) > 30)[5:25]
    route = store.browse.route(run.id, TrialFilter(text=needle))
    assert route.rows is not None
    assert len(route.rows) == 1


def test_replies_that_change_or_go_are_neither_missed_nor_found(store: Store) -> None:
    store.trials.index_replies(10_000)
    run = store.runs.find("a").id
    (more,) = plan(301)[300:]
    store.trials.add(run, [Finished(300, more, outcome(more, error="out of memory"))])
    store.trials.add(run, [Finished(300, more, outcome(more, "a cuttlefish"))])
    where = TrialFilter(text="CUTTLE")
    assert len(store.browse.matching(run, where, store.browse.route(run, where))) == 1
    store.trials.index_replies(10_000)
    assert len(store.browse.matching(run, where, store.browse.route(run, where))) == 1
    store.runs.delete(run)
    # Numbers of rows are used again, and the index still speaks of those that are gone.
    run = store.runs.create("injected-thoughts", planned=300, name="c", model={"model": "x"}).id
    store.trials.add(run, [Finished(i, s, outcome(s, f"Reply {i}.")) for i, s in enumerate(plan(300))])
    _agrees(store)
    store.trials.index_replies(10_000)
    _agrees(store)


def test_without_trigrams_replies_are_read_and_it_is_said_once(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CREATE", "CREATE VIRTUAL TABLE replies USING fts5(text, tokenize='nonesuch')")
    with Store(tmp_path / "other.db") as other:
        run = other.runs.create("injected-thoughts", planned=300, name="a", model={"model": "x"}).id
        said = [trial.response for trial in store.trials.of_run(store.runs.find("a").id)]
        other.trials.add(run, [Finished(i, s, outcome(s, said[i])) for i, s in enumerate(plan(300))])
        _agrees(other)
        with pytest.raises(
            NoTextIndex, match=r"^this SQLite \(3\.[0-9.]+\) has no trigram index.*SQLite 3.34 or newer$"
        ):
            other.trials.index_replies(10)
        assert other.trials.unindexed() == sum(text != "" for text in said)


def test_the_command_indexes_an_older_store(tmp_path: Path) -> None:
    with Store(tmp_path / "mlxintro.db") as store:
        run = store.runs.create("injected-thoughts", planned=40, name="a", model={"model": "x"}).id
        store.trials.add(run, [Finished(i, s, outcome(s, f"Reply {i}.")) for i, s in enumerate(plan(40))])
        assert store.trials.unindexed() == 40
    assert mlxintro(tmp_path, "runs", "index").err == "40 replies are indexed\n"
    assert mlxintro(tmp_path, "runs", "index").err == "every reply is indexed\n"
    with Store(tmp_path / "mlxintro.db") as store:
        assert store.trials.unindexed() == 0
        assert store.browse.route(run, TrialFilter(text="Reply 17")).rows is not None
