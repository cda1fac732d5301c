"""A trial as one line: its class in sign, word and colour, what it said or gave, and where was injected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from mlxintro.analysis.head_figures import Display
from mlxintro.analysis.results import Row
from mlxintro.analysis.trial_classes import TrialClass
from mlxintro.grading.passes import counted, row_of
from mlxintro.protocol.spelling import spellings
from mlxintro.store.records import GRADE_FIELDS, GradeRecord
from mlxintro.store.searching.browse import Seen

from ..reading import colours, head_text, wording

Part = tuple[str, str]
"""A piece of a line and its style; an empty style is that of the line."""
FAILED = TrialClass("failed", "✗", "alarm")
HIT_STYLE = "bold underline"
"""What a filter has found in a reply."""
_WIDE = 110
"""A line at least this wide has room for the place in the plan."""
_ROOMY = 96
"""A line at least this wide has room for labels of classes in full, and for an arm beside its concept."""
_SAID_BY_SIGN = re.compile(r"^(no claim|claims), ")
"""What labels of classes begin with that their sign says, too."""


def chosen(seen: Seen, grader: str) -> GradeRecord | None:
    """Return the verdict of a grader."""
    return next((grade for grade in seen.grades if grade.grader == grader), None)


def disputed(seen: Seen) -> bool:
    """Tell whether two graders contradict each other in a field."""
    return any({True, False} <= {getattr(grade, name) for grade in seen.grades} for name in GRADE_FIELDS)


def row_for(seen: Seen, grader: str, display: Display) -> Row:
    """Return the trial as an analysis sees it, by one grader's verdict."""
    return row_of(seen.trial, counted(chosen(seen, grader)), display.library)


@dataclass(frozen=True, slots=True)
class TrialLines:
    """Draws the trials of one run."""

    display: Display
    grader: str
    dark: bool
    words: tuple[str, ...] = ()
    """Words that the filter looks for in replies: they are marked."""

    def class_of(self, seen: Seen) -> TrialClass:
        """Return the class of a trial; one that failed has a class of its own."""
        return (
            FAILED if seen.trial.error is not None else self.display.classify(row_for(seen, self.grader, self.display))
        )

    def said(self, seen: Seen) -> str:
        """Return the reply on one line, or what was read out of a trial without one."""
        trial = seen.trial
        text = trial.error or " ".join(trial.response.split())
        if not text and trial.error is None:
            text = head_text.read_out(self.display, row_for(seen, self.grader, self.display)) or "(empty reply)"
        return wording.plain(text)

    def head(self, width: int) -> str:
        """Return the names of the columns of ``parts``."""
        word, concept = self._widths(width)
        before = f"{'':2}{wording.fit('verdict', word)}   reply"
        after = f"{wording.fit('concept', concept)} {'layer':>5} {'α':>5}" + (
            f" {'trial':>7}" if width >= _WIDE else ""
        )
        return before + " " * max(1, width - cell_len(before) - cell_len(after)) + after

    def parts(self, seen: Seen, width: int) -> list[Part]:
        """Return a line in pieces with their styles."""
        trial, class_ = seen.trial, self.class_of(seen)
        word, concept = self._widths(width)
        what = "(control)" if trial.condition == "control" and not trial.arm else trial.concept or "–"
        both = f"{trial.arm}: {what}"
        # An arm and a concept that have no room side by side: the pane has both.
        what = both if trial.arm and cell_len(both) <= concept else trial.arm or what
        layer = "" if trial.layer is None else str(trial.layer)
        dose = "" if trial.strength is None else f"{trial.strength:g}"
        after = f" {wording.fit(what, concept)} {layer:>5} {dose:>5}"
        after += f" {trial.ordinal + 1:>7}" if width >= _WIDE else ""
        colour = colours.role_colour(class_.role, dark=self.dark)
        marks = ("≠" if disputed(seen) else " ") + ("✎" if seen.labels else " ")
        before = f"{class_.sign} {wording.fit(_label(class_, width), word)}"
        room = max(0, width - cell_len(before) - cell_len(after) - 3)
        return [
            (before, colour),
            (f"{marks} ", ""),
            *self._marked(wording.fit(self.said(seen), room)),
            (after, ""),
        ]

    def _widths(self, width: int) -> tuple[int, int]:
        """Return the columns of the word of the class and of the concept."""
        word = max(cell_len(_label(class_, width)) for class_ in (*self.display.classes, FAILED))
        return word, 20 if width >= _WIDE else 16 if width >= _ROOMY else 12

    def _marked(self, text: str) -> list[Part]:
        return marked(text, self.words)


def marked(text: str, words: Sequence[str]) -> list[Part]:
    """Cut a text so that the words that were looked for have a style of their own."""
    either = [form for word in words for form in spellings(word) if form]
    sought = "|".join(map(re.escape, sorted(either, key=len, reverse=True)))
    if not sought:
        return [(text, "")]
    found: list[Part] = []
    at = 0
    for match in re.finditer(sought, text, re.IGNORECASE):
        found += [(text[at : match.start()], ""), (match[0], HIT_STYLE)]
        at = match.end()
    return [part for part in [*found, (text[at:], "")] if part[0]]


def _label(class_: TrialClass, width: int) -> str:
    """Return the label of a class, short where a line is short."""
    return class_.label if width >= _ROOMY else _SAID_BY_SIGN.sub("", class_.label)
