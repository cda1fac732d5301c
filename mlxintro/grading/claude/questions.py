"""The Claude grader: what is asked, and what an answer says. It sends nothing; see ``claude_api``.

Two questions a reply. The first, about its stance, is asked without the concept; the second, about naming, is the only
one that knows it, and is asked only where it can matter. Neither knows whether anything was injected, where or how
strongly. Answers come as structured output and are validated; what does not fit is no answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mlxintro.backends.errors import reason_of
from mlxintro.grading import rubric
from mlxintro.grading.base import Evidence, Grade, Span
from mlxintro.grading.claude import prices
from mlxintro.grading.claude.prices import Usage
from mlxintro.grading.rubric import QuestionName
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.protocol.spelling import find
from mlxintro.replies.grade_terms import GradeState, NamingLevel
from mlxintro.replies.mentions import find_mentions
from mlxintro.replies.text import fold

MAX_TOKENS = 2048
"""Most tokens of an answer, with what the model thinks before it."""
TYPICAL_TOKENS = 250
"""Tokens of a usual answer, for estimates."""

JudgeAnswer = Literal["yes", "no", "unclear"]


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    quote: str
    reason: str


class Stance(_Fields):
    """Is the answer to the first question: what the reply claims."""

    affirms: JudgeAnswer
    coherent: JudgeAnswer
    refuses: JudgeAnswer


class Naming(_Fields):
    """Is the answer to the second question: what the reply names."""

    identifies: JudgeAnswer
    level: Literal["exact", "close", "category", "none"]
    named_first: Literal["yes", "no", "not_applicable"]


FIELDS: Mapping[QuestionName, type[Stance] | type[Naming]] = {"stance": Stance, "naming": Naming}


class _PromptBlock(BaseModel):
    type: str
    text: str = ""


class Answer(BaseModel):
    """Reads the part of a Messages API response that is used, whatever else it brings."""

    content: list[_PromptBlock]
    stop_reason: str | None
    usage: Usage

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.content if block.type == "text")


class UnscoredError(Exception):
    """Says why an answer decides nothing."""


@dataclass(slots=True)
class Dossier:
    """Holds one reply and what has been answered about it."""

    key: str
    """Key of the trial."""
    reply: str
    concept: str | None
    related: tuple[str, ...] = ()
    answers: dict[QuestionName, str] = field(default_factory=dict)
    """Answers in the order in which they came."""
    thought: Dossier | None = None
    """What was thought before the reply, as another text about which the same is asked; ``None`` without a thought."""

    @property
    def stance(self) -> Stance | None:
        return Stance.model_validate_json(self.answers["stance"]) if "stance" in self.answers else None

    @property
    def naming(self) -> Naming | None:
        return Naming.model_validate_json(self.answers["naming"]) if "naming" in self.answers else None

    @property
    def missing(self) -> QuestionName | None:
        """Return the question to ask next; ``None`` when there is enough for a grade.

        Naming matters when the reply claims something, or when it holds the concept's name without a claim (a leak).
        A reply that is empty or unreadable is not worth a second question.
        """
        if not self.reply.strip():
            return None
        stance = self.stance
        if stance is None:
            return "stance"
        if self.concept is None or stance.coherent == "no" or self.naming is not None:
            return None
        claims = stance.affirms != "no" and stance.refuses != "yes"
        return "naming" if claims or find_mentions(fold(self.reply), self.concept, self.related) else None

    def grade(self) -> Grade:
        """Return the grade that the answers add up to; nothing may be ``missing``."""
        stance, naming = self.stance, self.naming
        if stance is None:
            named = None if self.concept is None else False
            return Grade(
                affirms=False,
                identifies=named,
                named_before_affirming=None,
                coherent=False,
                refuses=False,
                reason="empty",
            )
        affirms, coherent = _truth(stance.affirms), _truth(stance.coherent)
        identifies = _truth(naming.identifies) if naming else None
        both = affirms and naming is not None and naming.named_first != "not_applicable"
        claim = _find(self.reply, stance.quote)
        return Grade(
            affirms=affirms,
            identifies=identifies,
            named_before_affirming=naming.named_first == "yes" if both and naming else None,
            coherent=coherent,
            refuses=_truth(stance.refuses),
            state=GradeState.of(affirms, coherent),
            reason=_one_line(stance.reason),
            naming=_level(naming) if naming else None,
            evidence=Evidence(
                affirmation=claim if affirms else None,
                mention=_find(self.reply, naming.quote) if naming else None,
                denial=claim if affirms is False else None,
            ),
        )


def unscored(reason: str) -> Grade:
    """Return no verdict, and why."""
    return Grade(None, None, None, None, None, GradeState.UNSCORED, _one_line(reason))


class ClaudeGrader:
    """Grades with a Claude model and the rubric."""

    def __init__(self, model: str | None = None, *, name: str = "claude") -> None:
        """
        Args:
            model: id as the API knows it; the current default when ``None``.
            name: under which the grades are stored.
        """
        self.model = model or prices.table().default
        self.name = name
        known = prices.find(self.model)
        self._effort = known.effort if known else None

    @property
    def version(self) -> str:
        """Return the model, and a hash of everything it is asked."""
        asked = [rubric.load().hash, self._effort, MAX_TOKENS, {n: f.model_json_schema() for n, f in FIELDS.items()}]
        return f"{self.model} {tagged_hash(asked).removeprefix('b2:')[:12]}"

    def request(self, dossier: Dossier, question: QuestionName) -> dict[str, Any]:
        """Return the parameters of ``messages.create``."""
        text = rubric.load()
        concept = dossier.concept if question == "naming" else None
        shown = text.show(dossier.reply, concept, dossier.related if concept else ())
        output: dict[str, Any] = {"format": {"type": "json_schema", "schema": self._schemas[question]}}
        if self._effort is not None:
            output["effort"] = self._effort
        system = {
            "type": "text",
            "text": text.instructions(text.questions[question]),
            "cache_control": {"type": "ephemeral"},
        }
        return {
            "model": self.model,
            "max_tokens": MAX_TOKENS,
            "system": [system],
            "messages": [{"role": "user", "content": shown}],
            "output_config": output,
        }

    @cached_property
    def _schemas(self) -> dict[QuestionName, dict[str, Any]]:
        from anthropic import transform_schema

        return {name: transform_schema(fields) for name, fields in FIELDS.items()}


def size(request: Mapping[str, Any]) -> int:
    """Return the UTF-8 bytes of a request."""
    return len(json.dumps(request, ensure_ascii=False).encode("utf-8", "replace"))


def read(question: QuestionName, answer: Answer) -> str:
    """Return the answer's text, once it is known to be one.

    Raises:
        UnscoredError: it was refused, cut off, or does not fit the schema.
    """
    if answer.stop_reason == "refusal":
        raise UnscoredError("the grader refused to judge this reply")
    if answer.stop_reason == "max_tokens":
        raise UnscoredError(f"the grader's answer was cut off at {MAX_TOKENS} tokens")
    try:
        FIELDS[question].model_validate_json(answer.text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnscoredError(
            f"the grader's answer does not fit: {f'{where}: ' if where else ''}{reason_of(first)}"
        ) from None
    return answer.text


def _level(naming: Naming) -> NamingLevel | None:
    """How near the concept is named; what names it by no more than a category does not identify it."""
    if naming.identifies == "yes":
        return naming.level if naming.level in ("exact", "close") else "close"
    return "category" if naming.level == "category" else None


def _truth(verdict: JudgeAnswer) -> bool | None:
    return None if verdict == "unclear" else verdict == "yes"


def _find(reply: str, quote: str) -> Span | None:
    """Where the quoted words stand; nowhere when they were not quoted letter by letter."""
    return find(reply, quote.strip())


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:299] + "…"
