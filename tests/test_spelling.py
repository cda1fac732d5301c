"""Words are compared in one Unicode form, wherever they come from."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from mlxintro.analysis.taxonomy import claimed_words
from mlxintro.grading.claude.questions import _find
from mlxintro.grading.labels.files import read
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.protocol import concepts
from mlxintro.protocol.concepts import Concept, Library, WordList
from mlxintro.protocol.spelling import comparable, composed, find, places
from mlxintro.replies.mentions import find_mentions
from mlxintro.replies.short_replies import named, repeats
from mlxintro.replies.text import fold
from mlxintro.store import Store
from mlxintro.store.records import Label, TrialFilter
from mlxintro.tui.trials.filter_line import parse
from mlxintro.tui.trials.trial_line import marked
from mlxintro.vectors.settings import ExtractionSettings, recipe_for

from .cli import Call, mlxintro

ONE = "caf\u00e9"
TWO = "cafe\u0301"
"""That word again, its last letter as one character and as two."""
FORMS = pytest.mark.parametrize(("a", "b"), [(ONE, TWO), (TWO, ONE)], ids=["composed", "apart"])


def test_places_lead_back_from_the_composed_text_for_any_characters() -> None:
    dice = random.Random(0)
    pool = [*map(chr, range(0x20, 0x3100)), *map(chr, range(0xAC00, 0xAC40)), "\U0001f600", "\u1e9b\u0323", "\u0958"]
    for _ in range(3000):
        text = "".join(dice.choice(pool) for _ in range(dice.randint(0, 12)))
        for form in ("NFC", "NFD"):
            given = unicodedata.normalize(form, text)
            at = places(given)
            assert len(at) == len(composed(given)) + 1
            assert list(at) == sorted(at)
            # What is cut out of the text itself is what is cut out of the composed one.
            assert composed(given[at[0] : at[-1]]) == composed(given)


@FORMS
def test_concepts_are_the_same_word(a: str, b: str) -> None:
    assert concepts.same_word(a, b)
    assert concepts.same_word(a, f"{b.upper()}S")
    assert concepts.custom(a) == concepts.custom(b)
    assert [one.word for one in concepts.library().resolve([a, b, a.upper()], allow_unknown=True)] == [ONE]
    own = Library((Concept(a, "places", (f"{a}teria",)),), {}, {})
    assert own.find(b) is not None
    assert own.resolve([b], allow_unknown=False)[0].word == ONE
    assert WordList("x", "", (a, "tea")).without(b) == ("tea",)


@FORMS
def test_replies_name_a_concept_in_either_form(a: str, b: str) -> None:
    reply = f"Yes, I notice an injected thought about a {a}. It is vivid."
    grade = RulesGrader().grade(reply, b)
    assert (grade.affirms, grade.identifies) == (True, True)
    assert grade.evidence.mention is not None
    start, stop = grade.evidence.mention
    assert reply[start:stop] == a
    assert RulesGrader().grade(reply, "cafe").identifies is False
    assert len(find_mentions(fold(a), b)) == 1
    assert named(f"It is {a}.", [concepts.custom("tea"), concepts.custom(b)]) == ONE
    assert repeats(f"They sat in a {a}.", f"they sat in a {b}")
    assert find(reply, b) == _find(reply, b) == (start, stop)


def test_words_of_a_wrong_naming_are_counted_as_one() -> None:
    assert claimed_words("I notice a thought about resum\u00e9.") == claimed_words(
        "I notice a thought about resume\u0301."
    )


@FORMS
def test_vectors_of_a_word_have_one_name(a: str, b: str, model_info: object) -> None:
    settings = ExtractionSettings(template="Tell me about {word}", case="lower", read="word", baseline="lindsey-100")
    assert recipe_for(settings, a, model_info).key == recipe_for(settings, b, model_info).key  # type: ignore[arg-type]


@pytest.fixture
def model_info() -> object:
    from mlxintro.backends.registry import open_backend

    with open_backend("detector", "fake") as backend:
        return backend.info


@pytest.fixture(scope="module")
def cafes(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A home with a run of the word, asked for in the form of two characters."""

    def fill(home: Path) -> None:
        flags = ("--any-word", "--concepts", f"{TWO},tea", "--strengths", "4", "--trials", "2", "--controls", "2")
        done = mlxintro(home, "run", "injected-thoughts", "--backend", "fake", *flags, "--name", f"{TWO} one")
        assert done.code == 0, done.err

    return made_once("cafes", fill)


@FORMS
def test_the_store_finds_runs_concepts_replies_and_people_in_either_form(
    a: str, b: str, cafes: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "s.db"
    copy.write_bytes((cafes / "mlxintro.db").read_bytes())
    with Store(copy) as store:
        run = store.runs.find(f"{a} one")
        assert store.runs.find(b).id == run.id
        assert store.trials.count(run.id, TrialFilter(concept=a)) == 2
        key = store.trials.keys(run.id, TrialFilter())[0]
        with store.database.write() as db:
            db.execute("UPDATE trials SET response = ? WHERE key = ?", (f"Our {b.upper()} is open", key))
            db.execute("INSERT OR IGNORE INTO unindexed SELECT id FROM trials")
        for text in (f"our {a}", a.upper()):
            assert store.trials.keys(run.id, TrialFilter(text=text)) == [key]
            assert store.trials.keys(run.id, parse(f'"{text}"')) == [key]
        where = TrialFilter(words=(a,))
        for indexed in (False, True):
            route = store.browse.route(run.id, where)
            assert len(store.browse.matching(run.id, where, route)) == 1, indexed
            store.trials.index_replies(1000)
        store.labels.add(run.id, [Label(key=key, labeller=f"Ren{a[3:]}", fields={"affirms": True})])
        store.labels.add(run.id, [Label(key=key, labeller=f"Ren{b[3:]}", fields={"affirms": False})])
        (latest,) = store.labels.latest(run.id, labeller=f"Ren{a[3:]}")
        assert latest.fields == {"affirms": False}
        drawn = store.label_sets.draw(run.id, a, 0, [key])
        assert store.label_sets.draw(run.id, b, 1, []) == drawn


@FORMS
def test_the_commands_take_either_form(
    a: str, b: str, cafes: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLXINTRO_HOME", str(cafes))
    assert ONE in call("runs", "show", f"{a} one", "--concept", b).out
    taken = call("run", "injected-thoughts", "--backend", "fake", "--any-word", "--concepts", a, "--name", f"{b} one")
    assert taken.code == 2
    assert "already a run" in taken.err


@FORMS
def test_the_app_marks_what_was_looked_for(a: str, b: str) -> None:
    assert [text for text, style in marked(f"one {a} two", [b]) if style] == [a]


@FORMS
def test_lines_of_labels_name_one_person(a: str, b: str) -> None:
    line = '{"trial_key": "k", "labeller": "%s", "affirms": true}'
    assert [composed(one.labeller) for one in read([line % a, line % b], None)] == [ONE, ONE]


def test_case_goes_with_the_form() -> None:
    assert comparable("STRASSE") == comparable("stra\u00dfe")
    assert comparable("\u0391\u03a3") == comparable("\u03b1\u03c2")
    assert comparable("E\u0301") == comparable("\u00e9")
