"""A judge behind an OpenAI-compatible endpoint: what it is asked, and how its answer is read.

It gets the questions of the Claude grader in the words of the same rubric, and answers in the same fields.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, NonNegativeInt

from mlxintro.grading import rubric
from mlxintro.grading.claude.prices import Usage
from mlxintro.grading.claude.questions import FIELDS, MAX_TOKENS, Answer, Dossier
from mlxintro.grading.rubric import QuestionName
from mlxintro.protocol.hashing import tagged_hash
from mlxintro.replies.channels import split_channels

_STOP = {"length": "max_tokens", "content_filter": "refusal"}
_FENCED = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n\s*```\s*$", re.DOTALL)


class _ChatMessage(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _ChatChoice(BaseModel):
    message: _ChatMessage
    finish_reason: str | None = None


class _ChatTokens(BaseModel):
    prompt_tokens: NonNegativeInt = 0
    completion_tokens: NonNegativeInt = 0


class _ChatCompletion(BaseModel):
    choices: list[_ChatChoice]
    usage: _ChatTokens | None = None


def read_completion(body: str, *, unreported: Usage) -> Answer:
    """Put an endpoint's answer into the form of the Claude grader's.

    Args:
        body: JSON, as it came.
        unreported: what to count where the endpoint does not say how many tokens it used: the worst case.

    Raises:
        pydantic.ValidationError: it is no chat completion.
    """
    found = _ChatCompletion.model_validate_json(body)
    choice = found.choices[0] if found.choices else _ChatChoice(message=_ChatMessage(), finish_reason="length")
    text = choice.message.content or ""
    # Models that think aloud, and servers that do not enforce a schema, wrap what was asked for.
    parts = split_channels(text)
    text = parts.answer[parts.begin :]
    if fenced := _FENCED.match(text):
        text = fenced[1]
    used = found.usage
    usage = Usage(input_tokens=used.prompt_tokens, output_tokens=used.completion_tokens) if used else unreported
    stop = "refusal" if choice.message.refusal else _STOP.get(choice.finish_reason or "", "end_turn")
    return Answer.model_validate(
        {
            "content": [{"type": "text", "text": text}],
            "stop_reason": stop,
            "usage": usage,
        }
    )


class CompatibleGrader:
    """Grades with a model of an OpenAI-compatible endpoint and the rubric."""

    def __init__(self, model: str, *, name: str = "openai") -> None:
        """
        Args:
            model: as the endpoint calls it.
            name: under which the grades are stored.
        """
        self.model = model
        self.name = name

    @property
    def version(self) -> str:
        """Return the model, and a hash of everything it is asked."""
        asked = ["openai", rubric.load().hash, MAX_TOKENS, {n: f.model_json_schema() for n, f in FIELDS.items()}]
        return f"{self.model} {tagged_hash(asked).removeprefix('b2:')[:12]}"

    def request(self, dossier: Dossier, question: QuestionName) -> dict[str, Any]:
        """Return the parameters of ``chat.completions.create``."""
        text = rubric.load()
        concept = dossier.concept if question == "naming" else None
        schema = FIELDS[question].model_json_schema()
        return {
            "model": self.model,
            "max_tokens": MAX_TOKENS,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": text.instructions(text.questions[question])},
                {"role": "user", "content": text.show(dossier.reply, concept, dossier.related if concept else ())},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": question, "strict": True, "schema": schema},
            },
        }
