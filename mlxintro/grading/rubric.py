"""What judges are asked, as data with a hash, and how a reply is set apart from the question about it.

A reply is untrusted text: it may hold anything, instructions to its judge included. It stands between marks that are
drawn after it was written and that it does not hold, so nothing in it can end its own block.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mlxintro.identity import tagged_hash

QuestionName = Literal["stance", "naming"]
"""``stance``: what the reply claims, asked without the concept. ``naming``: whether it names the concept, and when."""


class Rubric(BaseModel):
    """See ``mlxintro/data/rubric.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: str
    """What a judge is told before any question."""
    message: str
    """Holds ``{tag}``, ``{reply}`` and ``{concept}``."""
    answer: str
    """What a yes/no question ends with."""
    concept: str
    """How a concept is brought in, with ``{concept}`` and ``{related}``."""
    related: str
    """How near names are brought in, with ``{names}``."""
    questions: Mapping[QuestionName, str]
    """For a judge that answers in fields."""
    yes_no: Mapping[str, str]
    """For a judge that answers yes or no: a question per field of a grade."""

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any word of the rubric."""
        return tagged_hash(self.model_dump(mode="json")).removeprefix("b2:")[:12]

    def instructions(self, question: str) -> str:
        """Frame and question: the same for every reply."""
        return f"{self.frame.strip()}\n\n{question.strip()}"

    def show(self, reply: str, concept: str | None = None, related: Sequence[str] = ()) -> str:
        """The message that shows a reply, with marks of its own.

        Args:
            reply: whatever the subject wrote.
            concept: only for the questions about naming.
            related: near names that count.
        """
        about = ""
        if concept is not None:
            names = self.related.replace("{names}", ", ".join(related)) if related else ""
            about = self.concept.replace("{related}", names).replace("{concept}", concept)
        # The reply goes in last: what it holds is never looked at for a place to fill.
        shown = self.message.strip().replace("{tag}", draw_tag(reply + about)).replace("{concept}", about)
        before, after = shown.split("{reply}", 1)
        return before + reply + after


@lru_cache(maxsize=1)
def load() -> Rubric:
    """The rubric that ships."""
    with files("mlxintro").joinpath("data", "rubric.toml").open("rb") as file:
        return Rubric.model_validate(tomllib.load(file))


def draw_tag(text: str) -> str:
    """A name for the marks around a text: unguessable, and not in it."""
    while True:
        tag = f"reply-{secrets.token_hex(8)}"
        if tag not in text:
            return tag
