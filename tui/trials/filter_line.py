"""The filter of a list of trials, as a line one types: ``is:injected layer:12 grade:names water "some phrase"``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from textual.suggester import Suggester

from mlxintro.analysis import trial_classes
from mlxintro.backends.errors import UsageError
from mlxintro.store.records import TrialFilter
from mlxintro.store.searching.browse import Choices

GRADES: Mapping[str, str] = {
    "names": trial_classes.NAMES_IT.label,
    "first": trial_classes.NAMES_FIRST.label,
    "other": trial_classes.CLAIMS_ANOTHER.label,
    "claims": trial_classes.CLAIMS.label,
    "denies": trial_classes.NO_CLAIM.label,
    "leaks": trial_classes.LEAKS.label,
    "refuses": trial_classes.REFUSES.label,
    "unclear": trial_classes.UNCLEAR.label,
    "garbled": trial_classes.INCOHERENT.label,
    "none": trial_classes.UNGRADED.label,
}
"""Short words for the classes of graded replies."""

FLAGS: Mapping[str, tuple[str, object]] = {
    "injected": ("condition", "injected"),
    "control": ("condition", "control"),
    "failed": ("status", "error"),
    "disputed": ("disputed", True),
    "agreed": ("disputed", False),
    "labelled": ("labelled", True),
    "unlabelled": ("labelled", False),
}
NAMES = ("is", "arm", "concept", "layer", "strength", "grade", "by")
MAIN_ARM = "main"
_TOKEN = re.compile(r'(?P<name>[a-z]+):(?P<value>"[^"]*"?|\S*)|"(?P<quoted>[^"]*)"?|(?P<word>\S+)')


@dataclass(frozen=True, slots=True)
class FilterWord:
    text: str
    """Text as typed."""
    name: str = ""
    """``layer`` in ``layer:12``; empty for a word of the reply."""
    value: str = ""
    quoted: bool = False


def tokens(line: str) -> list[FilterWord]:
    found = []
    for match in _TOKEN.finditer(line):
        name, value, quoted, word = match.group("name", "value", "quoted", "word")
        if name is not None:
            found.append(FilterWord(match[0], name, value.strip('"'), False))
        else:
            found.append(FilterWord(match[0], "", word if quoted is None else quoted, quoted is not None))
    return found


def parse(line: str) -> TrialFilter:
    """Return the filter that a line stands for: every bare word and every quoted phrase occurs in the reply.

    Raises:
        UsageError: with what could be written instead.
    """
    where = TrialFilter()
    words = []
    for token in tokens(line):
        if token.name:
            where = _named(where, token)
        elif token.value.strip():
            words.append(token.value)
    return replace(where, words=tuple(words))


def in_words(where: TrialFilter) -> str:
    """Say how a line was read: ``injected, layer 12; the reply has "detect" and "ocean"``."""
    flags = [name for name, (field, value) in FLAGS.items() if getattr(where, field) == value]
    named = {
        "arm": None if where.arm is None else where.arm or MAIN_ARM,
        "concept": where.concept,
        "layer": where.layer,
        "α": None if where.strength is None else f"{where.strength:g}",
        "verdict": where.verdict,
        "by": where.grader,
    }
    parts = [*flags, *(f"{name} {value}" for name, value in named.items() if value is not None)]
    said = ", ".join(parts)
    if where.words:
        held = " and ".join(f'"{word}"' for word in where.words)
        said = f"{said}; the reply has {held}" if said else f"the reply has {held}"
    return said


def _named(where: TrialFilter, token: FilterWord) -> TrialFilter:
    value = token.value
    try:
        match token.name:
            case "is":
                field, flag = FLAGS[value]
                return replace(where, **{field: flag})  # type: ignore[arg-type]
            case "arm":
                return replace(where, arm="" if value == MAIN_ARM else value)
            case "concept":
                return replace(where, concept=value)
            case "layer":
                return replace(where, layer=int(value))
            case "strength":
                return replace(where, strength=float(value))
            case "by":
                return replace(where, grader=value)
            case "grade":
                return replace(where, verdict=GRADES[value])
    except (ValueError, KeyError):
        wanted = {"grade": f"one of {', '.join(GRADES)}", "is": f"one of {', '.join(FLAGS)}"}.get(
            token.name, "a number"
        )
        raise UsageError(f"{token.text}: after {token.name}: comes {wanted}") from None
    raise UsageError(
        f'{token.text}: begin with one of {", ".join(f"{name}:" for name in NAMES)}, or put it in "quotes"'
    )


def cycled(line: str, name: str, values: Sequence[str]) -> str:
    """Return the line with the next of some values under a name; after the last one, without that name."""
    before = next((one.value for one in tokens(line) if one.name == name), None)
    kept = [one.text for one in tokens(line) if one.name != name]
    place = -1 if before is None else list(values).index(before) if before in values else len(values)
    if place + 1 >= len(values):
        return " ".join(kept)
    value = values[place + 1]
    return " ".join([*kept, f'{name}:"{value}"' if " " in value else f"{name}:{value}"])


def cycled_flag(line: str, flags: Sequence[str]) -> str:
    """Return the line with the next of some flags that exclude each other; after the last one, without any."""
    at = next((flags.index(t.value) for t in tokens(line) if t.name == "is" and t.value in flags), -1)
    rest = " ".join(t.text for t in tokens(line) if not (t.name == "is" and t.value in flags))
    return f"is:{flags[at + 1]} {rest}".strip() if at + 1 < len(flags) else rest


def values_of(choices: Choices) -> dict[str, tuple[str, ...]]:
    """Return what can stand after each name in a run."""
    return {
        "is": tuple(FLAGS),
        "arm": tuple(arm or MAIN_ARM for arm in choices.arms),
        "concept": choices.concepts,
        "layer": tuple(map(str, choices.layers)),
        "strength": tuple(f"{strength:g}" for strength in choices.strengths),
        "grade": tuple(GRADES),
        "by": choices.graders,
    }


class FilterSuggester(Suggester):
    """Completes the last word of the line: names, flags, and the values a run has. Right arrow takes it."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.values: dict[str, tuple[str, ...]] = {}

    async def get_suggestion(self, value: str) -> str | None:
        start = value.rfind(" ") + 1
        last = value[start:]
        if not last:
            return None
        name, colon, begun = last.partition(":")
        offered = (
            [f"{name}:{one}" for one in self.values.get(name, ()) if one.startswith(begun)]
            if colon
            else [one for one in (f"{name}:" for name in NAMES) if one.startswith(last)]
        )
        return next((value[:start] + one for one in offered if one != last), None)
