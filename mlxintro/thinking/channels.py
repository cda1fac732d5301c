"""The class of one reply that follows a thought: what was noticed in the thought, crossed with what the answer says.

A thought that was cut off, at its budget or by the end of the model's turn, is a class of its own: what the model would
have concluded is not known.
"""

from __future__ import annotations

from typing import Literal

from mlxintro.replies.thoughts import StoredThought
from mlxintro.store.records import GradeRecord
from mlxintro.thinking.grades import thought_verdict

ChannelClass = Literal[
    "noticed and said", "noticed, not said", "said, not noticed", "neither", "thought cut off", "undecided"
]
CHANNEL_CLASSES: tuple[ChannelClass, ...] = (
    "noticed and said",
    "noticed, not said",
    "said, not noticed",
    "neither",
    "thought cut off",
    "undecided",
)


def channel_of(thought: StoredThought, record: GradeRecord | None) -> ChannelClass:
    """Return the class of one reply.

    Args:
        record: a grader's verdict on the reply, which carries that on the thought.
    """
    if thought.truncated:
        return "thought cut off"
    noticed = None if record is None else notices(thought_verdict(record))
    said = None if record is None else notices(record)
    if noticed is None or said is None:
        return "undecided"
    if noticed:
        return "noticed and said" if said else "noticed, not said"
    return "said, not noticed" if said else "neither"


def notices(record: GradeRecord | None) -> bool | None:
    """Tell whether a text claims a detection; refusals do not. Garble and what a grader left open are not decided."""
    if record is None or record.affirms is None:
        return None
    return record.affirms and not record.refuses and record.coherent is not False
