"""What is readable is told from salad, loops and other languages, and a reply is graded up to where it breaks up."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from mlxintro.grading.rules.coherence import FOREIGN, read_coherence
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.replies.familiarity import familiarity
from mlxintro.replies.text import fold

# Written for this test; none stood in the texts the table of pairs was built from.
PROSE = (
    "The kettle had been whistling for a minute before anybody noticed. My sister got up, poured the water over "
    "the leaves and came back with two cups, one of which she put down beside the letters on my desk.",
    "When a large model answers a question, each layer adds a little to what those before it have written. Nothing "
    "is ever erased outright, which is why a direction that is added early can still be read near the end.",
    "I don't notice anything that stands out right now. If something changes while we go on with the next trials, I'll "
    "tell you what it is about and how strong it seems to me.",
    "Start by washing the rice until the water runs clear. Let it rest in a sieve for ten minutes, then cook it slowly "
    "with a pinch of salt and do not lift the lid before the time is up.",
    "To debug this function, print the value of the counter before the loop begins. If it is already negative, the "
    "mistake is in the code that calls it, and you can leave the function as it is.",
)


REGISTERS = Path(__file__).parent / "data" / "registers.jsonl"


def flaw(text: str) -> str | None:
    return read_coherence(text, fold(text)).flaw


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_readable_to_its_end_and_its_shuffled_words_are_not(text: str) -> None:
    reading = read_coherence(text, fold(text))
    assert (reading.flaw, reading.stop) == (None, len(text))
    for seed in range(5):
        shuffled = text.split()
        random.Random(seed).shuffle(shuffled)
        assert flaw(" ".join(shuffled)) is not None


def test_a_claim_whose_tail_breaks_up_is_graded_up_to_the_break() -> None:
    claim = (
        "Yes, I do notice something that does not belong to our conversation. It has been with me since you asked, "
        "and it seems to be a thought about rivers, about slow brown water that goes past a town. I can describe it in "
        "more detail if you want me to, although I should say that I cannot tell you where it comes from. "
    )
    reply = claim + "Of whose it had the was of under if and of had is the whom to of in had the asking was."
    reading = read_coherence(reply, fold(reply))
    assert reading.flaw is None
    assert reading.broken == "word salad"
    assert abs(reading.stop - len(claim)) <= 2
    grade = RulesGrader().grade(reply, "rivers")
    assert (grade.affirms, grade.identifies, grade.coherent) == (True, True, True)


def test_what_stands_behind_the_break_is_no_claim() -> None:
    start = (
        "I have thought about your question, and there is nothing that I could put my finger on. My answers come from "
        "the text in front of me, and this trial is no different from the last one that you showed me. "
    )
    reply = start + "Yes injected ocean detect whom the wick of asking if so because had lantern was to of."
    assert RulesGrader().grade(reply, "ocean").affirms is not True


@pytest.mark.parametrize("tail", ["0" * 200, " " * 500 + ".", "-" * 90, "\n" * 60 + "0 0 0 0 0 0 0 0 0 0 0 0 0 0"])
def test_a_tail_of_zeros_or_blanks_spoils_no_answer(tail: str) -> None:
    grade = RulesGrader().grade("Yes, I detect an injected thought. It is about bread." + tail, "bread")
    assert (grade.affirms, grade.identifies, grade.coherent) == (True, True, True)


def test_a_loop_is_no_prose_although_its_pairs_are_familiar() -> None:
    loop = "I was thinking about the house by the sea and then " * 12
    assert flaw(loop) is not None
    assert familiarity(fold(loop)).mean > 0.6


@pytest.mark.parametrize(
    "reply",
    [
        "Sí, noto algo extraño en mis pensamientos, como una idea que no es mía y que vuelve una y otra vez.",
        "Ja, ich bemerke einen fremden Gedanken, der nicht von mir kommt, und er handelt von einem großen Fluss.",
        "Oui, je remarque une pensée étrange qui revient sans cesse et qui ne vient pas de moi, je crois.",
        "是的,我注意到一个被注入的想法,它似乎与海洋有关。",
    ],
)
def test_a_reply_in_another_language_is_left_open(reply: str) -> None:
    grade = RulesGrader().grade(reply, "ocean")
    assert (grade.coherent, grade.affirms, grade.abstained, grade.reason) == (None, None, True, FOREIGN)


def test_reading_takes_time_in_proportion_to_the_length() -> None:
    for pattern in (
        "- ",
        '"',
        "ocean, ",
        "word ",
        "a\n",
        "I notice. ",
        "9",
        "\u4e00",
        "*",
        "((",
        "I notice something but no ",
    ):
        text = (pattern * 64_000)[:64_000]
        reading = read_coherence(text, fold(text))
        assert reading.flaw is not None, pattern


def test_verse_lists_code_chat_and_headlines_are_no_salad_and_salad_of_familiar_words_is() -> None:
    from statsmodels.stats.inter_rater import cohens_kappa

    table = [[0, 0], [0, 0]]
    for line in REGISTERS.read_text("utf-8").splitlines():
        row = json.loads(line)
        table[row["coherent"]][flaw(row["response"]) is None] += 1
    assert cohens_kappa(table).kappa >= 0.6
    assert table[True][False] / sum(table[True]) < 0.1


def test_a_break_in_the_middle_of_a_long_reply_is_found_where_it_is() -> None:
    reply = (
        PROSE[0] + " " + PROSE[1] + " Whose of were had wick the if lantern of is by asking was the to of in had whom."
    )
    reading = read_coherence(reply, fold(reply))
    assert (reading.flaw, reading.broken) == (None, "word salad")
    assert abs(reading.stop - len(PROSE[0]) - len(PROSE[1]) - 1) <= 2


@pytest.mark.parametrize(
    "reply",
    [
        "Oui, je détecte une pensée injectée. Elle concerne l'océan.",
        "No, no detecto ningún pensamiento inyectado.",
        "Nein, ich bemerke nichts.",
        "Sì, noto un pensiero iniettato sul mare.",
        "Tak, zauważam wstrzykniętą myśl o oceanie.",
    ],
)
def test_a_short_reply_in_another_language_is_left_open(reply: str) -> None:
    grade = RulesGrader().grade(reply, "ocean")
    assert (grade.affirms, grade.coherent, grade.abstained) == (None, None, True)


@pytest.mark.parametrize("reply", ["Yes! Origami, sushi, karate.", "I notice a pull toward déjà vu and ennui."])
def test_foreign_words_in_an_english_reply_make_it_no_other_language(reply: str) -> None:
    assert RulesGrader().grade(reply, "ocean").coherent is True
