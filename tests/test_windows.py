from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest

from mlxintro.backends.base import Rendered
from mlxintro.backends.errors import UsageError
from mlxintro.backends.models.tokenizer import ChatTokenizer
from mlxintro.backends.simulated.text import FakeTokenizer
from mlxintro.protocol import presets, windows

QUESTION = "Trial 1: Can you"


def rendered(*pieces: str) -> Rendered:
    """What a tokenizer that cuts a text like this would give."""
    stops = list(accumulate(map(len, pieces)))
    return Rendered("".join(pieces), tuple(range(len(pieces))), tuple(zip([0, *stops], stops, strict=False)))


@pytest.mark.parametrize(
    ("pieces", "first"),
    [
        pytest.param(("Ok", ", begin", ".", "\n", "\n", "Trial", " 1", ":", " Can you"), "\n", id="two newline tokens"),
        pytest.param(("Ok", ", begin", ".", "\n\n", "Trial", " 1", ":", " Can you"), "\n\n", id="one double newline"),
        pytest.param(("Ok", ", begin", ".\n\n", "Trial", " 1", ":", " Can you"), ".\n\n", id="merged as in Llama 3"),
        pytest.param(("<|im_start|>", "user", "\n", "Trial", " 1:", " Can you"), "\n", id="starts the turn in ChatML"),
        pytest.param(("<s>", "[INST]", "Trial", " 1:", " Can you"), "[INST]", id="no separator at all"),
        pytest.param(("Trial", " 1:", " Can you"), "Trial", id="nothing before"),
        pytest.param(("begin.", "\n\nTrial", " 1:", " Can you"), "\n\nTrial", id="separator and question in one token"),
    ],
)
def test_the_question_window_starts_with_the_separator_before_the_question(pieces: tuple[str, ...], first: str) -> None:
    start, stop = windows.resolve("question", rendered(*pieces), QUESTION)
    assert start == pieces.index(first)
    assert stop is None, "it goes on through the reply"


def test_of_two_newline_tokens_the_window_starts_with_the_first() -> None:
    pieces = ("a", "\n", "b", "\n", "\n", "Trial")
    assert windows.separator_before(rendered(*pieces), "Trial") == 3


def test_the_window_is_anchored_on_the_last_time_the_question_stands_there() -> None:
    pieces = ("user", "\n", "Trial 1", "assistant", "\n", "Ok", "user", "\n", "Trial 1", "end")
    assert windows.resolve("question", rendered(*pieces), "Trial 1") == (7, None)


@pytest.mark.parametrize(("window", "expected"), [("all", (0, None)), ("prompt", (0, 3)), ("generation", (3, None))])
def test_the_other_windows_are_counted_in_tokens(window: windows.WindowName, expected: tuple[int, int | None]) -> None:
    assert windows.resolve(window, rendered("a", "bc", "d"), "not in it") == expected


def test_a_question_that_is_not_in_the_prompt_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'Trial 2:', which does not stand in the rendered prompt") as error:
        windows.resolve("question", rendered("user", "\n", "Trial 1:"), "Trial 2:")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["ocean", ""])
def test_a_span_of_a_text_that_is_not_there_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="does not stand in the rendered prompt"):
        windows.span(rendered("the ", "sea"), text)


def test_an_unknown_window_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="all, prompt, generation, question"):
        windows.resolve("everything", rendered("a"), "a")  # type: ignore[arg-type]


def test_a_span_covers_every_token_that_overlaps_the_text() -> None:
    cut = rendered("I", " think", " of o", "cean", "s", " today")
    assert windows.span(cut, "ocean") == (2, 4)
    assert windows.span(cut, "I") == (0, 1)
    assert windows.span(cut, "today") == (5, 6)
    assert windows.span(cut, cut.text) == (0, 6)


@pytest.mark.parametrize("word", ["🌊", "né", "海", "👩‍🔬", "a🌊"])
def test_characters_of_several_tokens_are_covered_whole(tiny: Callable[[str], Path], word: str) -> None:
    tokenizer = ChatTokenizer.load(tiny("llama"))
    cut = tokenizer.render([{"role": "user", "content": f"Think of {word}. Now."}])
    start, stop = windows.span(cut, word)
    assert word in tokenizer.decode(cut.tokens[start:stop])
    # One token less on either side no longer holds it: nothing beside it is touched.
    assert word not in tokenizer.decode(cut.tokens[start + 1 : stop])
    assert word not in tokenizer.decode(cut.tokens[start : stop - 1])


def test_a_question_after_a_wide_character_is_found_in_tokens_not_in_bytes(tiny: Callable[[str], Path]) -> None:
    tokenizer = ChatTokenizer.load(tiny("qwen2"))
    cut = tokenizer.render([{"role": "user", "content": "海海海 🌊.\n\nTrial 1: do you notice it?"}])
    start, _ = windows.resolve("question", cut, "Trial 1:")
    assert tokenizer.decode(cut.tokens[start:]).lstrip("\n").startswith("Trial 1: do you notice it?")
    assert "." not in tokenizer.decode(cut.tokens[start:])


@pytest.mark.parametrize("family", ["fake", "llama", "qwen3"])
@pytest.mark.parametrize("preset", [name for name in presets.names() if presets.load(name).dialogue])
def test_every_preset_is_anchored_on_a_text_its_dialogue_holds(
    tiny: Callable[[str], Path], family: str, preset: str
) -> None:
    tokenizer = FakeTokenizer() if family == "fake" else ChatTokenizer.load(tiny(family))
    dialogue = presets.load(preset).dialogue
    assert dialogue is not None
    messages, question = dialogue.at_trial(1)
    cut = tokenizer.render(messages, dialogue.prefill)
    start, stop = windows.resolve("question", cut, question)
    assert stop is None
    at = cut.text.rindex(question)
    # No token of the window ends before the last character ahead of the question's white space.
    assert cut.offsets[start][1] >= len(cut.text[:at].rstrip())
    assert cut.offsets[start][0] <= at
