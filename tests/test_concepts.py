"""The concept library: complete, free of contradictions, and helpful when a name is wrong."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxintro.backends.errors import UsageError
from mlxintro.protocol import concepts
from mlxintro.protocol.concepts import Concept, Library, WordList, library, same_word

COMMON = """
a an and any are as assistant be but can detect do experiment happy help hope i idea injected injection is it just
language like me model my no not notice of one or say sure that the thing think thought to trial unusual word yes
you your free right mean machine computer worry afraid chance
"""
"""Words that honest replies to a trial question are made of."""


def test_every_category_has_enough_concepts_for_a_comparison() -> None:
    sizes = Counter(concept.category for concept in library().concepts)
    assert set(sizes) >= {"nature", "objects", "emotion", "abstract", "people", "places", "actions"}
    assert min(sizes.values()) >= 15
    assert concepts.CUSTOM not in sizes


def test_no_two_concepts_are_the_same_word() -> None:
    words = [concept.word for concept in library().concepts]
    clashes = [(a, b) for i, a in enumerate(words) for b in words[i + 1 :] if same_word(a, b)]
    assert clashes == []


def test_every_concept_can_be_named_in_at_least_three_other_ways() -> None:
    thin = [c.word for c in library().concepts if not 3 <= len(c.related) <= 8]
    assert thin == []
    repeated = [c.word for c in library().concepts if len({n.casefold() for n in c.names}) < len(c.names)]
    assert repeated == []


def test_no_name_of_one_concept_is_the_word_of_another() -> None:
    words = {concept.word.casefold(): concept for concept in library().concepts}
    taken = [
        (name, concept.word)
        for concept in library().concepts
        for name in concept.related
        if words.get(name.casefold(), concept) is not concept
    ]
    assert taken == []


def test_names_are_not_words_that_any_reply_holds() -> None:
    common = set(COMMON.split())
    clashes = [(c.word, name) for c in library().concepts for name in c.related if name.casefold() in common]
    assert clashes == []


def test_sets_name_the_concepts_of_their_sources() -> None:
    assert [c.word for c in library().resolve(["set:blueprint"], False)] == [
        "ocean",
        "music",
        "fear",
        "celebration",
        "silence",
    ]
    lindsey = library().resolve(["set:lindsey-50"], False)
    assert len(lindsey) == 50
    assert all(c.category != concepts.CUSTOM and len(c.related) >= 3 for c in lindsey)
    macar = {c.word for c in library().resolve(["set:macar-50"], False)}
    assert macar ^ {c.word for c in lindsey} == {"happiness", "information"}


def test_the_published_baseline_is_kept_as_printed() -> None:
    words = library().baseline("lindsey-100").words
    assert len(words) == 100
    assert [word for word, count in Counter(words).items() if count > 1] == ["Butterflies"]


@pytest.mark.parametrize("target", ["music", "MUSIC", "Music", " music "])
def test_a_target_is_left_out_of_its_baseline_whatever_its_case(target: str) -> None:
    words = library().baseline("blueprint-10").without(target)
    assert len(words) == 9
    assert "music" not in words


@pytest.mark.parametrize(
    ("target", "gone"),
    [("butterfly", {"Butterflies"}), ("dog", {"Dogs"}), ("abyss", {"Abysses"}), ("galaxy", {"Galaxies"})],
)
def test_a_target_is_left_out_of_its_baseline_whatever_its_number(target: str, gone: set[str]) -> None:
    full = library().baseline("lindsey-100")
    assert set(full.words) - set(full.without(target)) == gone


@pytest.mark.parametrize(("a", "b"), [("care", "car"), ("glass", "glas "), ("marble", "marvel"), ("time", "dime")])
def test_similar_words_are_not_the_same(a: str, b: str) -> None:
    assert not same_word(a, b)


@given(st.text(max_size=12), st.text(max_size=12))
def test_being_the_same_word_is_symmetric(a: str, b: str) -> None:
    assert same_word(a, b) == same_word(b, a)
    assert same_word(a, a.upper().lower())


def test_a_plural_keeps_its_spelling_and_counts_the_singular_as_naming_it() -> None:
    oceans = library().find("Oceans")
    ocean = library().find("ocean")
    assert oceans is not None
    assert ocean is not None
    assert (oceans.word, oceans.category) == ("oceans", ocean.category)
    assert set(oceans.names) == set(ocean.names)


def test_case_does_not_matter_for_finding() -> None:
    assert library().find("OCEAN") == library().find("ocean")
    paris = library().find("paris")
    assert paris is not None
    assert paris.word == "Paris"


def found_by_reading(word: str) -> Concept | None:
    """The concept of a word, from every concept one after another."""
    known = library()
    for concept in (*known.concepts, *known.contrasts):
        if concept.word.casefold() == word.casefold():
            return concept
    return next((concept for concept in known.concepts if same_word(concept.word, word)), None)


def test_the_index_finds_what_reading_the_whole_list_finds() -> None:
    words = [concept.word for concept in (*library().concepts, *library().contrasts)]
    forms = [form for word in words for form in (word.upper(), *concepts.plurals(word))]
    for word in (*words, *forms, *(word[:-1] for word in words), "zzz", ""):
        found, wanted = library().find(word), found_by_reading(word)
        assert (found is None) == (wanted is None), word
        if found is not None and wanted is not None:
            assert wanted.word in found.names, word


def test_a_long_list_is_not_read_anew_for_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    words = tuple(f"word{number}" for number in range(2000))
    many = Library(tuple(Concept(word, "mine") for word in words), {"all": WordList("all", "", words)}, {})
    compared = 0

    def counting(text: str) -> str:
        nonlocal compared
        compared += 1
        return text.casefold()

    monkeypatch.setattr(concepts, "comparable", counting)
    assert len(many.resolve(["set:all", "category:mine"], allow_unknown=False)) == len(words)
    assert all(many.find(f"{word}s") for word in words)
    assert compared < 40 * len(words)


def test_names_sets_and_categories_mix_without_repeats() -> None:
    found = library().resolve(["Ocean", "set:blueprint", "category:emotion", "fear"], False)
    words = [c.word for c in found]
    assert words[:3] == ["ocean", "music", "fear"]
    assert len(words) == len(set(words)) == 5 + sum(c.category == "emotion" for c in library().concepts) - 1


def test_a_misspelt_concept_is_answered_with_close_ones() -> None:
    with pytest.raises(UsageError, match=r"'ocean'.*--any-word"):
        library().resolve(["ocaen"], False)
    with pytest.raises(UsageError, match="Albert Einstein"):
        library().resolve(["Einstein"], False)
    with pytest.raises(UsageError, match="lindsey-50"):
        library().resolve(["set:lindsay"], False)
    with pytest.raises(UsageError, match="emotion"):
        library().resolve(["category:feelings"], False)


def test_any_word_becomes_a_concept_on_request() -> None:
    assert library().resolve(["quark"], True) == [Concept("quark", "custom", ("quarks",))]
    assert library().resolve(["ocean"], True)[0].category == "nature"


@pytest.mark.parametrize("word", ["", "   ", "a" * 81, "two\nlines"])
def test_what_is_no_word_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="no concept"):
        library().resolve([word], True)


def test_a_baseline_of_nothing_but_the_target_is_refused() -> None:
    with pytest.raises(UsageError, match="choose another baseline"):
        concepts.WordList("mine", "", ("ocean", "Oceans")).without("ocean")
