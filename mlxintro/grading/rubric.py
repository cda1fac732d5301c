"""What judges are asked, as data with a hash, and how a reply is set apart from the question about it.

A reply is untrusted text: it may hold anything, instructions to its judge included. It stands between marks that are
made from it after it was written and that it does not hold, so nothing in it can end its own block.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mlxintro import data
from mlxintro.backends.errors import UsageError, reason_of
from mlxintro.protocol.hashing import tagged_hash

QuestionName = Literal["stance", "naming"]
"""``stance``: what the reply claims, asked without the concept. ``naming``: whether it names the concept, and when."""


class Rubric(BaseModel):
    """Holds the texts of ``mlxintro/data/rubric.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: str
    """Text that a judge is told before any question."""
    message: str
    """Holds ``{tag}``, ``{reply}`` and ``{concept}``."""
    answer: str
    """Text that ends a yes/no question."""
    concept: str
    """How a concept is brought in, with ``{concept}`` and ``{related}``."""
    related: str
    """How near names are brought in, with ``{names}``."""
    questions: Mapping[QuestionName, str]
    """Questions for a judge that answers in fields."""
    yes_no: Mapping[str, str]
    """Questions for a judge that answers yes or no, one per field of a grade."""

    @property
    def hash(self) -> str:
        """Return twelve hex digits that change with any word of the rubric."""
        return tagged_hash(self.model_dump(mode="json")).removeprefix("b2:")[:12]

    def instructions(self, question: str) -> str:
        """Return the frame and question: the same for every reply."""
        return f"{self.frame.strip()}\n\n{question.strip()}"

    def show(self, reply: str, concept: str | None = None, related: Sequence[str] = ()) -> str:
        """Return the message that shows a reply, with marks of its own.

        Args:
            reply: whatever the subject wrote.
            concept: only for the questions about naming.
            related: near names that count.
        """
        if reply.startswith("  "):
            reply = reply.lstrip()  # a thought stood there, see ``replies.channels.answer_text``
        about = ""
        if concept is not None:
            names = self.related.replace("{names}", ", ".join(related)) if related else ""
            about = self.concept.replace("{related}", names).replace("{concept}", concept)
        # The reply goes in last: what it holds is never looked at for a place to fill.
        shown = self.message.strip().replace("{tag}", make_tag(reply + about)).replace("{concept}", about)
        before, after = shown.split("{reply}", 1)
        return before + reply + after


_chosen: ContextVar[Rubric | None] = ContextVar("rubric", default=None)


def load() -> Rubric:
    """Return the rubric judges ask by: the one a file was chosen for, else the one that ships."""
    return _chosen.get() or shipped()


def use(path: str | PathLike[str]) -> Rubric:
    """Choose a file's rubric for what follows in this context; its hash goes into every grader's version.

    Raises:
        UsageError: the file cannot be read, is not TOML, or is no rubric; says where.
    """
    try:
        chosen = Rubric.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'it cannot be read').lower()}: name a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(f"{path}: {'.'.join(map(str, first['loc']))}: {reason_of(first)}") from None
    if "{tag}" not in chosen.message or "{reply}" not in chosen.message:
        raise UsageError(f"{path}: message: it must hold {{tag}} and {{reply}}, the marks of a reply")
    wanted = {"affirms", "coherent", "refuses", "identifies", "named_before_affirming"}
    missing = sorted((wanted - set(chosen.yes_no)) | ({"stance", "naming"} - set(chosen.questions)))
    if missing:
        raise UsageError(f"{path}: the question {missing[0]!r} is missing: start from mlxintro/data/rubric.toml")
    _chosen.set(chosen)
    return chosen


@lru_cache(maxsize=1)
def shipped() -> Rubric:
    """Return the rubric that ships."""
    return Rubric.model_validate(data.load("rubric.toml"))


def make_tag(text: str) -> str:
    """Return a name for the marks around a text.

    Not in it, and a hash of it, so that whoever wrote it could not have known.

    The same text has the same marks, and with them the same probabilities from a judge that gives any.
    """
    for attempt in count():
        tag = f"reply-{hashlib.blake2b(f'{attempt} {text}'.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
        if tag not in text:
            break
    return tag
