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


def test_there_are_forty_cases() -> None:
    assert len({case.reply for case in CASES}) == 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case.reply[:40]))
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case.reply[:40]))
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
