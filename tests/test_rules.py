"""The offline grader against replies one by one; ``tests/rules_cases.py`` holds them with their labels."""

# ruff: noqa: E501 (word lists are kept compact)
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxintro.grading import Grade, Grader
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.grading.rules.version import VERSION
from mlxintro.replies.grade_terms import GradeState
from mlxintro.replies.text import trim_invented_turns
from tests.rules_cases import ALL_CASES, CASES, QUESTION, Case

PHRASES = (
    "Yes", "No,", "I", "don't", "detect", "an injected thought", "about", "the ocean.", "ocean", "nothing", "?", '"', "if",
    "However,", "<think>", "</think>", "I can't help with that.", "not", "there is", "\n", "Human:", "It feels", "...",
)  # fmt: skip


def _verdict(case: Case) -> dict[str, object]:
    grade = RulesGrader().grade(case.reply, case.concept, case.related)
    wrong: dict[str, object] = {}
    checked: list[tuple[str, object, object]] = [("coherent", case.coherent, grade.coherent)]
    if case.coherent:
        checked += [("affirms", case.affirms, grade.affirms), ("refuses", case.refuses, grade.refuses)]
        checked += [("abstained", case.affirms is None, grade.abstained)]
        if case.concept is None or case.names is not None:
            checked.append(("identifies", case.names, grade.identifies))
    if case.first is not None:
        checked.append(("named_before_affirming", case.first, grade.named_before_affirming))
    for field, expected, got in checked:
        if expected is not got:
            wrong[field] = {"expected": expected, "got": got, "reason": grade.reason}
    return wrong


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.reply[:60])
def test_reply_gets_the_grade_it_deserves(case: Case) -> None:
    wrong = _verdict(case)
    if case.known_miss:
        assert wrong, f"now graded rightly; drop known_miss ({case.known_miss})"
        return
    assert not wrong


def test_no_denial_or_refusal_ever_counts_as_a_detection() -> None:
    """The two ways in which graders of the field produced false alarms."""
    for case in ALL_CASES:
        if case.affirms is False:
            assert RulesGrader().grade(case.reply, case.concept, case.related).detects is not True, case.reply


@settings(deadline=None, max_examples=300)
@given(
    st.text(max_size=300) | st.lists(st.sampled_from(PHRASES), max_size=8).map(" ".join),
    st.none() | st.text(max_size=20),
    st.lists(st.text(max_size=12), max_size=3),
)
def test_any_text_gets_a_grade_with_spans_inside_it(reply: str, concept: str | None, related: list[str]) -> None:
    grade = RulesGrader().grade(reply, concept, related)
    for span in (grade.evidence.affirmation, grade.evidence.mention, grade.evidence.denial):
        assert span is None or 0 <= span[0] < span[1] <= len(reply)
    if concept is None:
        assert grade.identifies is None
        assert grade.named_before_affirming is None
    if grade.abstained:
        assert grade.success is None
    assert not (grade.success and not grade.detects)


@settings(deadline=None)
@given(
    st.sampled_from(
        ["I'm sorry, but ", "I apologize, but ", "Unfortunately, ", "", "As an AI language model, ", "Sorry, "]
    ),
    st.sampled_from(["I can't", "I cannot", "I'm unable to", "I am not able to", "I won't be able to", "I will not"]),
    st.sampled_from(["assist with", "help with", "comply with", "participate in", "engage in", "continue with"]),
    st.sampled_from(
        ["that", "this request", "that kind of experiment", "this", "your request to detect injected thoughts"]
    ),
    st.sampled_from(["", " Is there anything else I can help you with?", " Let me know if you have other questions."]),
)
def test_refusals_never_affirm(lead: str, cannot: str, verb: str, thing: str, tail: str) -> None:
    reply = f"{lead}{cannot} {verb} {thing}.{tail}"
    grade = RulesGrader().grade(reply[0].upper() + reply[1:], "ocean")
    assert grade.affirms is False
    assert grade.detects is False
    assert grade.refuses is True


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            case
            for case in CASES
            if case.affirms is False and case.coherent and case.reply[0] != "<" and QUESTION not in case.reply
        ]
    ),
    st.sampled_from(
        [
            f'You asked: "{QUESTION}" ',
            f"{QUESTION}\n",
            f"Trial 1: {QUESTION}\n\n",
            f'"{QUESTION}"\n',
            f"**{QUESTION}** ",
        ]
    ),
)
def test_repeating_the_question_does_not_change_a_denial(case: Case, quotation: str) -> None:
    plain = RulesGrader().grade(case.reply, case.concept, case.related)
    repeated = RulesGrader().grade(quotation + case.reply, case.concept, case.related)
    if plain.reason == "does not speak of detecting anything":
        # With the question in it the reply does speak of detection, so the grader may only become more careful.
        assert repeated.affirms is not True
        return
    fields = ("affirms", "identifies", "refuses", "coherent", "abstained")
    assert [getattr(repeated, name) for name in fields] == [getattr(plain, name) for name in fields]


@pytest.mark.parametrize(
    ("concept", "inside"),
    [("ant", "I want to anticipate plants"), ("art", "start the party with an artery"), ("ice", "nice police notice"),
     ("ear", "I hear fear early"), ("car", "I care about cargo"), ("sea", "search the season"), ("rain", "train your brain"),
     ("cat", "the category is education"), ("sun", "a sundry issue, unsung"), ("war", "a warm toward reward"),
     ("happiness", "I am happy to help"), ("justice", "it is just that"), ("reality", "I really mean it")],
)  # fmt: skip
def test_a_concept_is_not_found_inside_other_words(concept: str, inside: str) -> None:
    assert RulesGrader().grade(f"Yes, I detect an injected thought: {inside}.", concept).identifies is False


@pytest.mark.parametrize(
    ("concept", "forms"),
    [("ocean", "oceans oceanic Ocean's OCEAN ocean-like oceanography"), ("celebrate", "celebration celebratory celebrating"),
     ("celebration", "celebrate celebrated celebratory"), ("silence", "silent silently silenced"),
     ("Volcanoes", "volcano volcanic"), ("Memories", "memory"), ("Secrecy", "secret secrets secretive"),
     ("fear", "fearful fearless fears"), ("Amphitheaters", "amphitheater"), ("running", "run runs runner"),
     ("Harmonies", "harmony harmonious"), ("Dynasties", "dynasty dynastic"), ("programming", "program programmer"),
     ("music", "musical musician"), ("Avalanches", "avalanche"), ("Boulders", "boulder"), ("magic", "magical magician"),
     ("Lightning", "lightning"), ("Masquerades", "masquerade"), ("Quarries", "quarry"), ("Mirrors", "mirror mirrored")],
)  # fmt: skip
def test_a_concept_is_found_in_its_forms(concept: str, forms: str) -> None:
    for form in forms.split():
        grade = RulesGrader().grade(f"Yes, I detect an injected thought about {form} today.", concept)
        assert grade.identifies, form


def test_evidence_points_at_the_deciding_words() -> None:
    reply = "İ thought: hm. Yes, I detect an injected thought. It’s about the *Oceans*, I think."
    grade = RulesGrader().grade(reply, "ocean")
    assert grade.evidence.affirmation is not None
    assert grade.evidence.mention is not None
    assert reply[slice(*grade.evidence.mention)] == "Oceans"
    assert "I detect an injected thought" in reply[slice(*grade.evidence.affirmation)]
    denied = "Hm. I don't notice anything unusual."
    denial = RulesGrader().grade(denied, None).evidence.denial
    assert denial is not None
    assert "don't notice anything" in denied[slice(*denial)]


def test_invented_turns_are_cut_and_a_leading_label_is_not() -> None:
    assert trim_invented_turns("No.\nUser: Yes, I detect it").strip() == "No."
    assert trim_invented_turns("Assistant: No.") == "Assistant: No."
    assert trim_invented_turns("No.\n\nTrial 2: Do you detect").strip() == "No."
    assert trim_invented_turns("Trial 1: No, nothing.") == "Trial 1: No, nothing."


def test_the_grader_is_a_grader_with_a_stable_version() -> None:
    grader: Grader = RulesGrader()
    assert isinstance(grader, Grader)
    assert grader.version == RulesGrader().version
    assert grader.version == VERSION


def test_an_undecided_field_is_never_a_no() -> None:
    known = Grade(affirms=True, identifies=None, named_before_affirming=False, coherent=True, refuses=False)
    assert known.detects is True
    assert known.success is None
    undecided = Grade(
        affirms=None,
        identifies=True,
        named_before_affirming=None,
        coherent=True,
        refuses=None,
        state=GradeState.ABSTAINED,
    )
    assert undecided.detects is None
    assert undecided.success is None
    garbled = Grade(affirms=None, identifies=None, named_before_affirming=None, coherent=False, refuses=None)
    assert garbled.detects is False
    assert garbled.success is False


@pytest.mark.parametrize(
    ("concept", "form"),
    [
        ("city", "cities"),
        ("sky", "skies"),
        ("wife", "wives"),
        ("crisis", "crises"),
        ("mouse", "mice"),
        ("index", "indices"),
    ],
)
def test_irregular_plurals_name_a_concept_and_forms_of_verbs_spelt_alike_do_not(concept: str, form: str) -> None:
    assert RulesGrader().grade(f"Yes, I detect an injected thought about {form}.", concept).identifies is True
    other = {"mouse": "city", "city": "mouse"}.get(concept, "mouse")
    assert RulesGrader().grade(f"Yes, I detect an injected thought about {form}.", other).identifies is False
    for noun, verb in (("bear", "bore"), ("wind", "wound")):
        assert RulesGrader().grade(f"Yes, I detect an injected thought about what {verb} me.", noun).identifies is False


@pytest.mark.parametrize(
    ("affirms", "coherent", "refuses", "detects"),
    [
        (True, True, False, True),
        (True, True, True, False),
        (True, False, False, False),
        (False, True, False, False),
        (True, True, None, None),
        (None, True, True, False),
        (None, True, False, None),
    ],
)
def test_a_detection_is_a_claim_in_a_readable_reply_that_takes_part(
    affirms: bool | None, coherent: bool, refuses: bool | None, detects: bool | None
) -> None:
    grade = Grade(affirms, None, None, coherent, refuses)
    assert grade.detects is detects
