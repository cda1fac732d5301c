"""A trial as text: its line in a list, and everything that is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content

from mlxintro.protocol.trials import PromptRecord
from mlxintro.rendering.token_strip import MARK, strip, window_in_words
from mlxintro.rendering.verdict_words import in_words
from mlxintro.replies.thoughts import thought_of
from mlxintro.store.records import GRADE_FIELDS, GradeRecord, Trial
from mlxintro.store.searching.browse import Seen
from mlxintro.thinking.grades import thought_verdict

from ..reading import colours, head_text, wording
from .trial_line import HIT_STYLE, TrialLines, chosen, marked, row_for

MARKED = {"affirmation": ("reverse", "claims"), "mention": ("bold underline", "names"), "denial": ("italic", "denies")}
"""Styles of evidence: none is a colour, so that they are there without colours, too."""


def reply(trial: Trial, grade: GradeRecord | None) -> Content:
    """Return the reply with a grader's evidence marked."""
    content = Content(wording.plain(trial.response) or "(empty)")
    for name, span in ((grade.evidence or {}) if grade else {}).items():
        start, stop = int(span[0]), int(span[1])
        if name in MARKED and 0 <= start < stop <= len(trial.response):
            content = content.stylize(MARKED[name][0], start, stop)
    return content


def legend(grade: GradeRecord | None) -> Content:
    """Return what the marks in the reply mean, for those that are there."""
    found = [name for name in MARKED if grade is not None and name in (grade.evidence or {})]
    if not found:
        return Content("")
    parts = [Content.styled("  marked: ", "$text-muted")]
    for name in found:
        parts += [Content.styled(MARKED[name][1], MARKED[name][0]), Content(" ")]
    return Content.assemble(*parts)


def everything(seen: Seen, prompt: PromptRecord | None, lines: TrialLines, width: int, *, chat: bool) -> Content:
    """Return all that is known of a trial, the reply first.

    Args:
        chat: show the prompt as a dialogue instead of token by token.
    """
    trial = seen.trial
    grade = chosen(seen, lines.grader)
    source = grade if grade and grade.evidence else next((one for one in seen.grades if one.evidence), None)
    by = f" (by {source.grader})" if source is not None and source is not grade else ""
    class_ = lines.class_of(seen)
    colour = colours.role_colour(class_.role, dark=lines.dark)
    parts = [Content.styled(f"{class_.sign} {class_.label}", f"bold {colour}"), Content("\n")]
    if trial.error is not None:
        parts += [Content(f"\n{wording.plain(trial.error)}\n")]
    elif trial.response:
        parts += _thought(trial)
        parts += [Content("\n"), _with_hits(reply(trial, source), lines.words), Content("\n"), legend(source)]
        parts += [Content.styled(by, "$text-muted"), Content("\n")]
    measured = (
        head_text.read_out(lines.display, row_for(seen, lines.grader, lines.display)) if trial.error is None else ""
    )
    if measured and (not trial.response or trial.measurements_json != "{}"):
        parts += [_title("read out"), Content(f"  {measured}\n")]
    if seen.grades or (lines.display.from_grades and trial.error is None and trial.response):
        parts += [_title("verdicts"), *(_verdict(one) for one in seen.grades)]
        if not seen.grades:
            parts.append(Content("  nobody has graded it yet\n"))
    for label in seen.labels:
        fields = ", ".join(f"{name} {_answer(value)}" for name, value in label.fields.items())
        parts.append(
            Content(wording.plain(f"  ✎ {label.labeller}: {fields}{f'; {label.note}' if label.note else ''}\n"))
        )
    parts += [_title("injection"), Content(wording.plain(f"  {headline(trial)}\n"))]
    parts += [Content(wording.plain("\n".join(_injection(trial, prompt)) + "\n"))]
    if prompt is not None and chat:
        parts += [_title("prompt, as a dialogue"), *_dialogue(prompt)]
    elif prompt is not None:
        note = f"prompt, token by token; {MARK} below a token: injected into"
        parts += [
            _title(note),
            Content(wording.plain("\n".join(strip(prompt, trial.spec.injections, max(20, width - 2))))),
        ]
    return Content.assemble(*parts)


def _thought(trial: Trial) -> list[Content]:
    """Return what was thought before the answer, apart from it."""
    thought = thought_of(trial.measurements)
    if thought is None:
        return []
    lines = "\n".join(f"  │ {line}" for line in wording.plain(thought.text.strip()).split("\n"))
    title = f"thought, {thought.in_words}"
    return [_title(title), Content.styled(f"{lines}\n", "$text-muted"), _title("answer")]


def _with_hits(content: Content, words: Sequence[str]) -> Content:
    at = 0
    for text, style in marked(content.plain, words):
        if style:
            content = content.stylize(HIT_STYLE, at, at + len(text))
        at += len(text)
    return content


def _dialogue(prompt: PromptRecord) -> Iterator[Content]:
    for message in prompt.messages:
        yield Content.styled(f"  {message.get('role', '?')}\n", "bold $text-muted")
        yield Content("".join(f"    {line}\n" for line in wording.plain(message.get("content", "")).split("\n")))
    if prompt.prefill:
        yield Content.styled("  assistant, begun\n", "bold $text-muted")
        yield Content(f"    {wording.plain(prompt.prefill)}\n")


def headline(trial: Trial) -> str:
    """Return what was done in a trial, in one line."""
    where = "" if trial.layer is None else f", layer {trial.layer}, α = {trial.strength:g} ({trial.unit})"
    what = "control, nothing injected" if trial.condition == "control" else f"injected, about {trial.concept}{where}"
    arm = f"arm {trial.arm}: " if trial.arm else ""
    name = trial.key.removeprefix("b2:")[:10]
    return wording.plain(f"trial {trial.ordinal + 1} ({name}): {arm}{what}; {trial.tokens} tokens")


def _title(text: str) -> Content:
    return Content.styled(f"\n{text}\n", "bold $text-muted")


def _verdict(grade: GradeRecord) -> Content:
    asked = [name for name in GRADE_FIELDS if getattr(grade, name) is not None]
    fields = ", ".join(f"{name} {_answer(getattr(grade, name))}" for name in asked)
    text = f"  {grade.grader}: {in_words(grade)}; {wording.plain(grade.reason)}\n      {fields}\n"
    if (thought := thought_verdict(grade)) is not None:
        noticed = _answer(thought.affirms)
        text += f"      in the thought: affirms {noticed}; {wording.plain(thought.reason)}\n"
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
