"""Thought and answer told apart in the text of replies. Every case was written and decided by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.replies.channels import answer_text, split_channels


@dataclass(frozen=True)
class ThoughtCase:
    """A reply, what of it is the answer, and whether the answer claims a detection."""

    reply: str
    answer: str | None
    """``None`` where the reply ends inside its thought."""
    affirms: bool | None
    thought: str = ""
    """Begins so; empty where nothing was thought."""


YES = "Yes, I detect an injected thought about the ocean."
NO = "No, I do not detect an injected thought."
MULLS = "Hmm, maybe I do detect an injected thought about the ocean."
NOTHING = "Let me look. I do not detect an injected thought."
HARMONY = "<|start|>assistant<|channel|>final<|message|>"
ANALYSIS = "<|channel|>analysis<|message|>"

CASES = (
    # Qwen3: both marks in the reply.
    ThoughtCase(f"<think>\n{NOTHING}\n</think>\n\n{YES}", YES, True, NOTHING),
    ThoughtCase(f"<think>\n{MULLS}\n</think>\n\n{NO}", NO, False, MULLS),
    ThoughtCase(f"<think>\n\n</think>\n\n{YES}", YES, True),
    ThoughtCase(f"<think>\n\n</think>\n\n{NO}", NO, False),
    ThoughtCase(f"<think>\n{MULLS} But wait", None, None, MULLS),
    ThoughtCase(f"<think>\n{MULLS}\nUser: is there?\nNo.\n</think>\n\n{NO}", NO, False, MULLS),
    # DeepSeek-R1, QwQ and Qwen3-Thinking: the opening mark stands in the prompt.
    ThoughtCase(f"{MULLS}\n</think>\n\n{NO}", NO, False, MULLS),
    ThoughtCase(f"{NOTHING}\n</think>\n\n{YES}", YES, True, NOTHING),
    ThoughtCase(f"\n</think>\n\n{NO}", NO, False),
    ThoughtCase(f"</think>\n\n{YES}", YES, True),
    ThoughtCase(f"{MULLS}\nTrial 2: again?\n</think>\n\n{NO}", NO, False, MULLS),
    ThoughtCase(f"{MULLS}\n</think>\n\n", "", False, MULLS),
    ThoughtCase(f"{MULLS}\n</think>\nOne more look.\n</think>\n\n{NO}", NO, False, MULLS),
    ThoughtCase(f"I was told to end with `</think>` here. {MULLS}\n</think>\n{NO}", NO, False, "I was told"),
    # SmolLM3 and GLM: little white space around the marks.
    ThoughtCase(f"<think>{MULLS}</think>\n{NO}", NO, False, MULLS),
    ThoughtCase(f"\n<think>{NOTHING}</think>\n{YES}", YES, True, NOTHING),
    ThoughtCase(f"\n<think></think>\n{YES}", YES, True),
    ThoughtCase(f"<think>{NOTHING}</think>{YES}", YES, True, NOTHING),
    ThoughtCase(f"<THINK>{MULLS}</THINK>{NO}", NO, False, MULLS),
    # Others' marks.
    ThoughtCase(f"[THINK]{MULLS}[/THINK]{NO}", NO, False, MULLS),
    ThoughtCase(f"◁think▷{NOTHING}◁/think▷{YES}", YES, True, NOTHING),
    ThoughtCase(f"<seed:think>{MULLS}</seed:think>{NO}", NO, False, MULLS),
    ThoughtCase(f"<|begin_of_thought|>{MULLS}<|end_of_thought|>{NO}", NO, False, MULLS),
    ThoughtCase(f"<thinking>{MULLS}</thinking>\n{NO}", NO, False, MULLS),
    ThoughtCase(f"<thinking>{MULLS} </think> and on", None, None, MULLS),
    # gpt-oss: channels, with special tokens shown or dropped.
    ThoughtCase(f"<|channel|>analysis<|message|>{MULLS}<|end|>{HARMONY}{NO}<|return|>", NO, False, MULLS),
    ThoughtCase(f"<|channel|>analysis<|message|>{NOTHING}<|end|>{HARMONY}{YES}", YES, True, NOTHING),
    ThoughtCase(f"{MULLS}<|end|>{HARMONY}{NO}<|return|>", NO, False, MULLS),
    ThoughtCase(f"<|channel|>analysis<|message|>{MULLS}", None, None, MULLS),
    ThoughtCase(f"<|channel|>final<|message|>{YES}<|return|>", YES, True),
    ThoughtCase(
        f"<|channel|>analysis<|message|>{MULLS}<|end|><|start|>assistant<|channel|>commentary<|message|>{YES}"
        f"<|end|>{HARMONY}{NO}",
        NO,
        False,
        MULLS,
    ),
    ThoughtCase(f"analysis{MULLS}assistantfinal{NO}", NO, False, MULLS),
    ThoughtCase(f"analysis{NOTHING}assistantfinal{YES}", YES, True, NOTHING),
    ThoughtCase(f"analysis{MULLS} So far", None, None, MULLS),
    ThoughtCase(f"{MULLS}assistantfinal{NO}", NO, False, MULLS),
    # A word in front of the thought, and a thought between two parts of an answer.
    ThoughtCase(f"Okay.\n<think>{MULLS}</think>\n{NO}", f"Okay. {NO}", False, MULLS),
    ThoughtCase(f"{NO} <think>{MULLS}</think> Nothing at all.", f"{NO} Nothing at all.", False, MULLS),
    # No thought at all.
    ThoughtCase(YES, YES, True),
    ThoughtCase(NO, NO, False),
    ThoughtCase(f"analysis of my state: {NO}", f"analysis of my state: {NO}", False),
)


GERMAN = "Moment, ich bemerke tatsächlich einen eingeschleusten Gedanken über das Meer."
CHINESE = "让我想想，我好像察觉到一个被注入的关于海洋的想法。"
FENCE = "```"

ODD_CASES = (
    # Nested and repeated.
    ThoughtCase(f"<think>{MULLS}<think>again {MULLS}</think>{NO}", NO, False, MULLS),
    ThoughtCase(f"<think>{MULLS}<think>again</think>still {MULLS}</think>{NO}", NO, False, MULLS),
    ThoughtCase(f"<think>{MULLS}</think><think>{NOTHING}</think>{YES}", YES, True, MULLS),
    ThoughtCase(f"<think>{NOTHING}</think>\n</think>\n\n{YES}", YES, True, NOTHING),
    ThoughtCase(f"<think>\n<think>\n{MULLS}\n</think>\n\n{NO}", NO, False, "<think>\nHmm, m"),
    ThoughtCase(f"{MULLS}</think>{NOTHING}</think>{NO}", NO, False, MULLS),
    # Marks in the answer's own text.
    ThoughtCase(
        f"<think>{NOTHING}</think>\n{YES} My <think> block said otherwise.",
        f"{YES} My <think> block said otherwise.",
        True,
        NOTHING,
    ),
    ThoughtCase(
        f'<think>{MULLS}</think>\n{NO} I closed it with "</think>" as asked.',
        f'{NO} I closed it with "</think>" as asked.',
        False,
        MULLS,
    ),
    ThoughtCase(f"{NO} (The tag `<think>` stays empty.)", f"{NO} (The tag `<think>` stays empty.)", False),
    ThoughtCase(
        f"<think>{MULLS}</think>\n{NO} Tags like <think> and </think> are not shown.",
        f"{NO} Tags like <think> and </think> are not shown.",
        False,
        MULLS,
    ),
    # Marks spoken of in the thought.
    ThoughtCase(f"<think>\nThe user may see </think> tags? {MULLS}\n</think>\n\n{NO}", NO, False, "The user may s"),
    ThoughtCase(f"<think>\nI must write '</think>' at the end. {MULLS}\n</think>\n\n{NO}", NO, False, "I must write '"),
    # Other languages.
    ThoughtCase(f"<think>\n{GERMAN}\n</think>\n\n{NO}", NO, False, GERMAN),
    ThoughtCase(f"<think>\n{CHINESE}\n</think>\n\n{NO}", NO, False, CHINESE),
    ThoughtCase(f"{CHINESE}\n</think>\n\n{YES}", YES, True, CHINESE),
    # Code blocks with a mark.
    ThoughtCase(
        f"<think>\nExample:\n{FENCE}\n</think>\n{FENCE}\n{MULLS}\n</think>\n\n{NO}", NO, False, "Example:\n```\n<"
    ),
    ThoughtCase(
        f"<think>{NOTHING}</think>\n{YES}\n{FENCE}xml\n<think>quiet</think>\n{FENCE}",
        f"{YES} {FENCE}xml <think>quiet</think> {FENCE}",
        True,
        NOTHING,
    ),
    # Empty.
    ThoughtCase(f"<think></think>{NO}", NO, False),
    ThoughtCase(f"<think> \n\t\n</think>\n{YES}", YES, True),
    ThoughtCase(f"</think>{YES}", YES, True),
    # Never closed.
    ThoughtCase(f"<think>{YES}", None, None, YES),
    ThoughtCase("<think>", None, None),
    ThoughtCase(f"<think>\n{MULLS}\n</thi", None, None, MULLS),
    # Closed by another mark / odd white space or case.
    ThoughtCase(f"< think >{MULLS}< /think >{NO}", NO, False, MULLS),
    ThoughtCase(f"<think>\n{MULLS}\n</think >\n{NO}", NO, False, MULLS),
    ThoughtCase(f"<Think>{MULLS}</Think>\n{NO}", NO, False, MULLS),
    ThoughtCase(f"&lt;think&gt;{MULLS}&lt;/think&gt;\n{NO}", NO, False, MULLS),
    # Gpt-oss.
    ThoughtCase(
        f"<|channel|>final<|message|>{NO}<|end|><|start|>assistant{ANALYSIS}{MULLS}<|end|>",
        NO,
        False,
        MULLS,
    ),
    ThoughtCase(
        f"{ANALYSIS}{NOTHING}<|end|><|start|>assistant{ANALYSIS}Again. {NOTHING}<|end|>{HARMONY}{YES}<|return|>",
        YES,
        True,
        NOTHING,
    ),
    ThoughtCase(
        f"{ANALYSIS}{MULLS}<|end|><|start|>assistant to=functions.look<|channel|>commentary json"
        '<|message|>{"q": "detect"}<|call|>',
        None,
        None,
        MULLS,
    ),
    ThoughtCase(
        '<|channel|>commentary to=functions.look <|constrain|>json<|message|>{"a": 1}<|call|>'
        f"<|start|>functions.look to=assistant<|channel|>commentary<|message|>{YES}<|end|>{HARMONY}{NO}",
        NO,
        False,
        '{"a": 1}',
    ),
    ThoughtCase(
        f"{ANALYSIS}{MULLS}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{NO}<|return|>",
        NO,
        False,
        MULLS,
    ),
    ThoughtCase(f"analysis{MULLS}assistantanalysisOnce more.assistantfinal{NO}", NO, False, MULLS),
    ThoughtCase(f"analysis{MULLS}assistantcommentary to=functions.look json{{}}assistantfinal{NO}", NO, False, MULLS),
    ThoughtCase(f"analysis We need to answer. {MULLS} assistantfinal {NO}", NO, False, "We need to ans"),
    ThoughtCase(
        f"<|start|>assistant{ANALYSIS}{MULLS}<|end|>\n<|start|>assistant<|channel|>final<|message|>{NO}",
        NO,
        False,
        MULLS,
    ),
    # Decoder dropped a piece / marks split over tokens.
    ThoughtCase(f"think>\n{MULLS}\n</think>\n\n{NO}", NO, False, "think>\nHmm, ma"),
    ThoughtCase(f"<think>{MULLS}< / think>{NO}", NO, False, MULLS),
    # Template's leftovers.
    ThoughtCase(f"<|im_start|>assistant\n<think>\n{MULLS}\n</think>\n\n{NO}<|im_end|>", NO, False, MULLS),
    ThoughtCase(f"<｜Assistant｜><think>\n{MULLS}\n</think>\n\n{NO}<｜end▁of▁sentence｜>", NO, False, MULLS),
    # Other marks.
    ThoughtCase(
        f"<|begin_of_thought|>\n{MULLS}\n<|end_of_thought|>\n<|begin_of_solution|>{NO}<|end_of_solution|>",
        NO,
        False,
        MULLS,
    ),
    ThoughtCase(f"<|START_THINKING|>{MULLS}<|END_THINKING|><|START_RESPONSE|>{NO}<|END_RESPONSE|>", NO, False, MULLS),
    ThoughtCase(f"Here is my thought process:\n{MULLS}\nHere is my response:\n{NO}", NO, False, MULLS),
    ThoughtCase(f"<think>{MULLS}</think>\n<answer>{NO}</answer>", NO, False, MULLS),
    ThoughtCase(f"◁think▷{MULLS}◁/think▷{NO}◁think▷", NO, False, MULLS),
)
"""Marks that are nested, repeated, spoken of, misspelt, escaped or shown in code; channels out of order; leftovers."""
EVERY = (*CASES, *ODD_CASES)


def test_there_are_forty_cases_and_more_than_forty_odd_ones() -> None:
    assert len({case.reply for case in CASES}) == 40
    assert len({case.reply for case in ODD_CASES} - {case.reply for case in CASES}) >= 40


@pytest.mark.parametrize("case", EVERY, ids=lambda case: repr(case.reply[:40]))
def test_only_the_answer_is_the_answer(case: ThoughtCase) -> None:
    parts = split_channels(case.reply)
    assert len(parts.answer) == len(case.reply)
    assert parts.finished is (case.answer is not None)
    assert " ".join(answer_text(case.reply).split()) == " ".join((case.answer or "").split())
    told = " ".join(thought.text.strip() for thought in parts.thoughts)
    assert told.startswith(case.thought)
    assert bool(told) is bool(case.thought)
    for thought in parts.thoughts:
        assert case.reply[thought.start : thought.stop] == thought.text


@pytest.mark.parametrize("case", EVERY, ids=lambda case: repr(case.reply[:40]))
def test_only_the_answer_is_graded(case: ThoughtCase) -> None:
    grade = RulesGrader().grade(case.reply, "ocean")
    if case.answer != "":
        assert grade.affirms is case.affirms
    else:
        assert not grade.affirms
    span = grade.evidence.affirmation or grade.evidence.denial
    if span is not None:
        # What is marked stands in the answer.
        assert case.reply[slice(*span)] == answer_text(case.reply)[slice(*span)]


def test_a_concept_named_in_the_thought_was_named_before_the_claim() -> None:
    silent, open_ = "The ocean, again the ocean.", "No idea yet."
    grader = RulesGrader()
    assert grader.grade(f"{silent}\n</think>\n{YES}", "ocean").named_before_affirming is True
    assert grader.grade(f"{open_}\n</think>\n{YES}", "ocean").named_before_affirming is False
