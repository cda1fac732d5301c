"""Settings with their bounds: studies and presets share them, so what one refuses the other does not run."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Suite = Literal["none", "standard", "full"]
"""Which controls a study runs beside its trials."""

_LARGEST = 3.4e38
"""What float32 holds."""
_MOST = 1_000_000
"""Trials per cell. More is a slip of the finger, and its plan would not fit into memory."""
S = TypeVar("S", bound=Sized)


class Data(BaseModel):
    """Is the base of what is read from a file or set by a study: frozen, and refuses every other key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if abs(value) > _LARGEST:
        raise ValueError(f"a strength of {value:g} exceeds what float32 can hold")
    return value


def _place(value: int | float) -> int | float:
    """Return what can be told of a layer before the model is known."""
    whole = float(value).is_integer()
    if not (value >= 0 if whole else 0 < value < 1):
        kind = "an index is a whole number from 0" if whole else "a depth fraction lies between 0 and 1"
        raise ValueError(
            f"{value} is no layer: {kind}, and "
            + ("0.5 is half of the depth" if whole else "an index is a whole number")
        )
    return value


def _control(value: Any) -> Any:
    suites = get_args(Suite)
    if value in suites or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        return tuple(dict.fromkeys(value))
    raise ValueError(f"write {', '.join(suites)}, how many uninjected trials, or the names of control arms")


def _some(value: S) -> S:
    if not len(value):
        raise ValueError("the list is empty, so there is nothing to run")
    return value


Words = Annotated[tuple[str, ...], AfterValidator(_some)]
Layers = Annotated[tuple[Annotated[int | float, AfterValidator(_place)], ...], AfterValidator(_some)]
Strength = Annotated[float, AfterValidator(_finite)]
Strengths = Annotated[tuple[Strength, ...], AfterValidator(_some)]
Trials = Annotated[int, Field(ge=1, le=_MOST)]
Controls = Annotated[int | Suite | tuple[str, ...], BeforeValidator(_control)]
Temperature = Annotated[float, Field(ge=0, le=10)]
TopP = Annotated[float, Field(gt=0, le=1)]
Tokens = Annotated[int, Field(ge=1)]
