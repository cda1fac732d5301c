"""What thinks is found in the chat template itself: its marks, its switch, and the three ways to begin a reply."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.backends.models.tokenizer import ChatTokenizer
from mlxintro.replies.channels import split_channels
from tests.test_tokenizer import CHATML, byte_level
from tests.thinking_templates import THINKING_FAMILIES, ThinkingFamily, thinking_tokenizer

USER = [{"role": "user", "content": "Do you detect an injected thought?"}]
each = pytest.mark.parametrize("family", THINKING_FAMILIES.values(), ids=THINKING_FAMILIES)


def made(family: ThinkingFamily) -> ChatTokenizer:
    return ChatTokenizer(thinking_tokenizer(byte_level(), family))


@each
def test_the_marks_of_a_family_are_those_of_its_template(family: ThinkingFamily) -> None:
    marks = made(family).thinking
    assert marks is not None
    assert marks.closing == family.closing
    assert marks.closing.strip().startswith(marks.mark)
    assert family.on.endswith(marks.opening)
    assert (marks.switch, marks.unasked) == (family.switch, family.unasked)
    assert marks.mark + marks.after == marks.closing.lstrip()


@each
def test_a_reply_begins_in_three_ways(family: ThinkingFamily) -> None:
    tokenizer = made(family)
    question = USER[0]["content"]
    ends = {mode: tokenizer.render(USER, "", mode).text.rpartition(question)[2] for mode in ("off", "on", "empty")}
    assert ends == {"off": family.off, "on": family.on, "empty": family.empty}


@each
def test_a_reply_begun_for_the_model_belongs_to_its_answer(family: ThinkingFamily) -> None:
    tokenizer = made(family)
    assert tokenizer.render(USER, "Ok.", "empty").text.endswith(family.empty + "Ok.")
    assert tokenizer.render(USER, "Ok.", "on").text.endswith(family.on)


@each
def test_marks_are_read_as_the_tokens_they_are(family: ThinkingFamily) -> None:
    tokenizer = made(family)
    for mode in ("off", "on", "empty"):
        rendered = tokenizer.render(USER, "", mode)
        pieces = tokenizer.pieces(rendered.tokens)
        for mark in (*family.marks, *family.special):
            assert pieces.count(mark) == rendered.text.count(mark)


_MARK = r"(?:<think>|</think>|<\|message\|>|<\|end\|>)"
SPACES: dict[str, Callable[[str], str]] = {
    "none": lambda space: "",
    "twice": lambda space: space * 2,
    "and a blank": lambda space: space + " ",
    "a blank instead": lambda space: " ",
}
"""What becomes of the line breaks around the marks of a template."""


def mutated(family: ThinkingFamily, how: str) -> ThinkingFamily:
    """A family whose template has other white space around its marks, in text and in strings alike."""
    around = re.compile(rf"(?<=<think>)(?:\\n|\n)+|(?<=</think>)(?:\\n|\n)+|(?:\\n|\n)+(?={_MARK})")
    return replace(family, template=around.sub(lambda found: SPACES[how](found.group()), family.template))


@each
@pytest.mark.parametrize("how", SPACES)
def test_a_reply_is_told_apart_whatever_white_space_the_template_has(family: ThinkingFamily, how: str) -> None:
    tokenizer = made(mutated(family, how))
    marks = tokenizer.thinking
    assert marks is not None
    thought, answer = "I look, and look again. Nothing is there.", "No, I do not detect an injected thought."
    begun = tokenizer.render(USER, "", "on").text
    assert begun.endswith(marks.opening)
    assert tokenizer.render(USER, "", "empty").text == begun + marks.closing
    # A reply comes without its opening mark, which stands in the prompt, and elsewhere with it.
    for reply in (f"{thought}{marks.closing}{answer}", f"{marks.opening}{thought}{marks.closing}{answer}"):
        parts = split_channels(reply)
        assert [one.text.strip() for one in parts.thoughts] == [thought]
        assert parts.answer.strip() == answer
        assert parts.finished
    # Cut off, there is no answer.
    assert not split_channels(f"{marks.opening}{thought}").finished
    # What the template itself writes of a finished reply is what is put together here.
    said = {"role": "assistant", "content": answer, "reasoning_content": thought, "thinking": thought}
    written = tokenizer._tokenizer.apply_chat_template([*USER, said], tokenize=False, enable_thinking=True)
    if thought in written:
        assert f"{marks.opening}{thought}{marks.closing}{answer}" in written


def test_a_switch_with_marks_of_its_own_for_off() -> None:
    """As DeepSeek-V3.1 has it: an open mark, or a closing one alone."""
    template = CHATML.replace(
        "assistant\n{% endif %}", "assistant\n{{ '<think>' if thinking else '</think>' }}{% endif %}"
    )
    marks = ChatTokenizer(byte_level(template)).thinking
    assert marks is not None
    assert (marks.opening, marks.closing, marks.switch, marks.opened) == ("<think>", "</think>", True, True)


def test_a_template_without_thoughts_has_no_marks_and_takes_no_mode() -> None:
    tokenizer = ChatTokenizer(byte_level())
    assert tokenizer.thinking is None
    for mode in ("on", "empty"):
        with pytest.raises(UsageError, match="knows no thoughts") as error:
            tokenizer.render(USER, "", mode)
        assert "\n" not in str(error.value)
    assert ChatTokenizer(byte_level(None)).thinking is None


def test_a_template_that_refuses_to_write_a_thought_is_read_by_its_prompt() -> None:
    refuses = "{% for m in messages %}{% if m.reasoning_content %}{{ raise_exception('no') }}{% endif %}{% endfor %}"
    tokenizer = ChatTokenizer(thinking_tokenizer(byte_level(), THINKING_FAMILIES["qwq"]))
    tokenizer._tokenizer.chat_template = refuses + tokenizer._tokenizer.chat_template
    marks = ChatTokenizer(tokenizer._tokenizer).thinking
    assert marks is not None
    assert marks.opening == "<think>\n"
