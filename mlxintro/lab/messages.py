"""What is said to a lab and what it answers: one JSON object per line, either way.

An order is whole: it carries every setting, so nothing is half set. A newer one replaces one that is being worked on.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mlxintro.backends.errors import UsageError, reason_of
from mlxintro.protocol.bounds import Strength
from mlxintro.protocol.trials import Unit
from mlxintro.protocol.windows import WindowName

Side = Literal["control", "injected"]
SIDES: tuple[Side, Side] = ("control", "injected")
READOUT = 0.85
"""Depth fraction at which the trace is read: behind the layers that are usually injected into, before the last ones,
which turn to the next token."""


class _LabMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# -- orders


class Load(_LabMessage):
    """Asks to load a model in place of the one that is there."""

    do: Literal["load"] = "load"
    model: str
    backend: str = "auto"
    adapter: str | None = None
    """Low-rank adapter that the model speaks with; ``None`` for the model as it is."""


class Ask(_LabMessage):
    """Asks for answers to a prompt with and without a vector."""

    do: Literal["ask"] = "ask"
    number: int
    """Chosen by who asks; stands in every answer."""
    concept: str = Field(min_length=1)
    """Any word; the library's spelling is used where it has one."""
    prompt: str = Field(min_length=1)
    """May have several lines."""
    system: str = ""
    """System message; none when it is empty."""
    layer: int | float
    """Block index, or depth fraction."""
    strength: Strength
    unit: Unit = "raw"
    window: WindowName = "all"
    readout: int | float = READOUT
    """Layer of the trace: block index, or depth fraction."""
    max_tokens: int = Field(default=80, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=10)
    seed: int = Field(default=0, ge=0)
    trace: bool = True
    """Whether to read both replies once more for their cosines."""


class Cancel(_LabMessage):
    """Asks to stop answering; the model stays."""

    do: Literal["cancel"] = "cancel"


Order = Annotated[Load | Ask | Cancel, Field(discriminator="do")]


# -- answers


class Loading(_LabMessage):
    event: Literal["loading"] = "loading"
    model: str
    done: int = 0
    """Bytes of a download, if there is one."""
    total: int = 0


class Ready(_LabMessage):
    """A model is loaded."""

    event: Literal["ready"] = "ready"
    model: str
    backend: str
    device: str
    layers: int
    layer: int
    """Layer at which injection usually works best."""
    readout: int
    """``READOUT`` as an index."""


class Extracting(_LabMessage):
    """Words are being read for the vector."""

    event: Literal["extracting"] = "extracting"
    number: int
    done: int
    total: int


class Started(_LabMessage):
    """The vector is there, and the model begins to answer."""

    event: Literal["started"] = "started"
    number: int
    concept: str
    layer: int
    readout: int
    raw: float
    """The dose in all units: multiple of the vector ..."""
    norm: float
    """... norm of what is added ..."""
    resid: float
    """... and that as a fraction of the residual norm."""
    vector_norm: float
    resid_norm: float


class Token(_LabMessage):
    event: Literal["token"] = "token"
    number: int
    side: Side
    text: str


class Trace(_LabMessage):
    """Holds the cosine of the residual stream with the concept's vector, for every token of both replies."""

    event: Literal["trace"] = "trace"
    number: int
    layer: int
    control: tuple[float, ...]
    injected: tuple[float, ...]
    control_pieces: tuple[str, ...] = ()
    """Text of every token of the reply: as long as its cosines. A character of several tokens stands with the last."""
    injected_pieces: tuple[str, ...] = ()
    name: str = ""
    """First token of the concept's name as it follows a space."""
    control_lens: tuple[float, ...] = ()
    """Log-probability of that token by the logit lens at every token of the reply, natural logarithm."""
    injected_lens: tuple[float, ...] = ()


class Done(_LabMessage):
    event: Literal["done"] = "done"
    number: int
    positions: int
    """Injected into, as measured."""
    relative_change: float
    """Mean over these of the change of the residual, relative to its norm."""


class Stopped(_LabMessage):
    """An order was given up, for a newer one or because that was asked for."""

    event: Literal["stopped"] = "stopped"
    number: int


class Error(_LabMessage):
    event: Literal["error"] = "error"
    number: int | None
    """Number of the order; ``None`` when it belongs to none that is numbered, e.g. to a model that does not load."""
    text: str
    known: bool
    """False: a bug, whose traceback is in the log."""


LabEvent = Annotated[
    Loading | Ready | Extracting | Started | Token | Trace | Done | Stopped | Error, Field(discriminator="event")
]

_ORDER: TypeAdapter[Order] = TypeAdapter(Order)
_EVENT: TypeAdapter[LabEvent] = TypeAdapter(LabEvent)


def read_order(line: str | bytes) -> Order:
    """Return an order from a line.

    Raises:
        UsageError: it is none.
    """
    try:
        return _ORDER.validate_json(line)
    except ValidationError as error:
        raise UsageError(_first(error)) from error


def read_event(line: str | bytes) -> LabEvent:
    """Return an answer from a line.

    Raises:
        UsageError: it is none.
    """
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        raise UsageError(_first(error)) from error


def ask(number: int, **settings: object) -> Ask:
    """Return an order to answer, from what a person typed.

    Raises:
        UsageError: a setting that cannot be.
    """
    try:
        return Ask.model_validate({"number": number, **settings})
    except ValidationError as error:
        raise UsageError(_first(error)) from error


_IN_WORDS = {
    "int_parsing": "{input!r} is no whole number",
    "int_from_float": "{input!r} is no whole number",
    "float_parsing": "{input!r} is no number",
    "string_too_short": "it is empty: type something",
    "greater_than_equal": "{input} is too small, {ge} is the least",
    "less_than_equal": "{input} is too large, {le} is the most",
}
"""What pydantic's kinds of errors are for people."""


def _first(error: ValidationError) -> str:
    wrong = error.errors(include_url=False)[0]
    parts = [str(part) for part in wrong["loc"] if part not in ("load", "ask", "cancel", "int", "float")]
    where = " ".join(parts).replace("_", " ") or "the line"
    known = _IN_WORDS.get(wrong["type"])
    if known is None:
        return f"{where}: {reason_of(wrong)}"
    return f"{where}: {known.format(input=wrong['input'], **wrong.get('ctx', {}))}"
