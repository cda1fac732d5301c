"""A trial as text: its line in a list, and everything that is known of it."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from mlxintro.protocol.trials import PromptRecord
from mlxintro.rendering.token_strip import MARK, strip, window_in_words
from mlxintro.rendering.verdict_words import in_words
from mlxintro.store.records import GRADE_FIELDS, GradeRecord, Trial
from mlxintro.store.searching.browse import Seen

from . import wording

MARKED = {"affirmation": ("reverse", "claims"), "mention": ("bold underline", "names"), "denial": ("italic", "denies")}
"""Styles of evidence: none is a colour, so that they are there without colours, too."""


def chosen(seen: Seen, grader: str) -> GradeRecord | None:
    """The verdict of a grader."""
    return next((grade for grade in seen.grades if grade.grader == grader), None)


def disputed(seen: Seen) -> bool:
    """Whether two graders contradict each other in a field."""
    return any({True, False} <= {getattr(grade, name) for grade in seen.grades} for name in GRADE_FIELDS)


_ROOMY = 88
"""A list at least this wide shows units."""


def head(width: int) -> str:
    """Names of the columns of ``line``."""
    concept, dose = _widths(width)
    return f"{'trial':>7} {'concept':<{concept}} {'layer':>5} {'dose':>{dose}} {'verdict':<18}   reply"


def line(seen: Seen, width: int, grader: str) -> str:
    """One line of the list."""
    trial = seen.trial
    concept, dose = _widths(width)
    what = "(control)" if trial.condition == "control" else trial.concept or "–"
    if trial.arm:
        what = f"{trial.arm}: {what}"
    layer = "" if trial.layer is None else str(trial.layer)
    strength = "" if trial.strength is None else f"{trial.strength:g}"
    if width >= _ROOMY and trial.unit:
        strength += f" {trial.unit}"
    verdict = "✗ failed" if trial.error is not None else in_words(chosen(seen, grader))
    marks = ("≠" if disputed(seen) else " ") + ("✎" if seen.labels else " ")
    said = wording.plain(" ".join((trial.error or trial.response).split()))
    about = f"{trial.ordinal + 1:>7} {wording.fit(what, concept)} {layer:>5} {strength:>{dose}}"
    before = f"{about} {wording.fit(verdict, 18)}{marks} "
    return before + said[: max(0, width - cell_len(before))]


def _widths(width: int) -> tuple[int, int]:
    """Return the widths of concept and dose, in cells."""
    return (15, 9) if width >= _ROOMY else (11, 5)


def reply(trial: Trial, grade: GradeRecord | None) -> Content:
    """The reply with a grader's evidence marked."""
    content = Content(wording.plain(trial.response) or "(empty)")
    for name, span in ((grade.evidence or {}) if grade else {}).items():
        start, stop = int(span[0]), int(span[1])
        if name in MARKED and 0 <= start < stop <= len(trial.response):
            content = content.stylize(MARKED[name][0], start, stop)
    return content


def legend(grade: GradeRecord | None) -> Content:
    """What the marks in the reply mean, for those that are there."""
    found = [name for name in MARKED if grade is not None and name in (grade.evidence or {})]
    if not found:
        return Content("")
    parts = [Content.styled("  marked: ", "dim")]
    for name in found:
        parts += [Content.styled(MARKED[name][1], MARKED[name][0]), Content(" ")]
    return Content.assemble(*parts)


def everything(seen: Seen, prompt: PromptRecord | None, grader: str, width: int) -> Content:
    """All that is known of a trial, the reply first."""
    trial, grade = seen.trial, chosen(seen, grader)
    source = grade if grade and grade.evidence else next((one for one in seen.grades if one.evidence), None)
    by = f" (by {source.grader})" if source is not None and source is not grade else ""
    parts = [Content.styled(_headline(trial), "bold"), Content("\n\n")]
    if trial.error is not None:
        parts += [Content(f"✗ failed: {wording.plain(trial.error)}\n")]
    else:
        parts += [reply(trial, source), Content("\n"), legend(source), Content.styled(by, "dim"), Content("\n")]
    parts += [_title("verdicts"), *(_verdict(one) for one in seen.grades)]
    if not seen.grades:
        parts.append(Content("  not graded yet\n"))
    for label in seen.labels:
        fields = ", ".join(f"{name} {_answer(value)}" for name, value in label.fields.items())
        parts.append(
            Content(wording.plain(f"  ✎ {label.labeller}: {fields}{f'; {label.note}' if label.note else ''}\n"))
        )
    parts += [_title("injection"), Content(wording.plain("\n".join(_injection(trial, prompt)) + "\n"))]
    if trial.measurements_json != "{}":
        parts += [_title("measured"), Content(wording.plain(f"  {trial.measurements_json[:4000]}\n"))]
    if prompt is not None:
        note = f"prompt, token by token; {MARK} below a token: injected into"
        lines = strip(prompt, trial.spec.injections, max(20, width - 2))
        parts += [_title(note), Content(wording.plain("\n".join(lines)))]
    return Content.assemble(*parts)


def _headline(trial: Trial) -> str:
    where = "" if trial.layer is None else f", layer {trial.layer}, {trial.strength:g} {trial.unit}"
    what = "control, nothing injected" if trial.condition == "control" else f"injected, about {trial.concept}{where}"
    arm = f"arm {trial.arm}: " if trial.arm else ""
    name = trial.key.removeprefix("b2:")[:10]
    return wording.plain(f"trial {trial.ordinal + 1} ({name}): {arm}{what}; {trial.tokens} tokens")


def _title(text: str) -> Content:
    return Content.styled(f"\n{text}\n", "bold dim")


def _verdict(grade: GradeRecord) -> Content:
    fields = ", ".join(f"{name} {_answer(getattr(grade, name))}" for name in GRADE_FIELDS)
    text = f"  {grade.grader}: {in_words(grade)}; {wording.plain(grade.reason)}\n      {fields}\n"
    return Content(text.replace("named_before_affirming", "named first"))


def _answer(value: object) -> str:
    return {True: "yes", False: "no", None: "?"}.get(value, str(value)) if value in (True, False, None) else str(value)


def _injection(trial: Trial, prompt: PromptRecord | None) -> list[str]:
    spec = trial.spec
    if not spec.injections:
        return [f"  none; seed {spec.seed}"]
    lines = [f"  {text}" for text in window_in_words(prompt, spec.injections)] if prompt is not None else []
    lines += [
        f"  dose   {dose.raw:.3g} x the vector = norm {dose.norm:.3g} = {dose.resid:.1%} of the residual norm "
        f"({dose.resid_norm:.3g})"
        for dose in trial.doses
    ]
    lines += [
        f"  proof  {proof.positions} positions touched, {proof.first} to {proof.last}; the residual moved by "
        f"{proof.change:.3g}, {proof.relative_change:.1%} of its norm there"
        for proof in trial.proofs
    ]
    return [*lines, f"  seed {spec.seed}"]
