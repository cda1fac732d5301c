"""What a row of another store must be like. Nothing that fails here is ever written into this one."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mlxintro.backends.errors import reason_of
from mlxintro.protocol.plain_data import parse_json
from mlxintro.replies.grade_terms import NamingLevel
from mlxintro.store.importing.shapes import (
    check_doses,
    check_fields,
    check_keys,
    check_manner,
    check_measurements,
    check_object,
    check_part,
    check_prompt,
    check_proofs,
    check_trial,
)

_LONGEST_NAME = 200
_LONGEST_TEXT = 4_000_000
"""Characters of a reply, a reason or a note."""
_LONGEST_JSON = 16_000_000
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")
_DIRECTING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Characters that turn the direction of text around, so that a name reads as another."""


def _name(text: str) -> str:
    if not text.strip() or any(
        unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or ord(one) in _DIRECTING for one in text
    ):
        raise ValueError("should be a name of one line without control characters")
    return text


def _line(text: str) -> str:
    return text if not text else _name(text)


def _time(text: str) -> str:
    if not _TIME.fullmatch(text) or not 2000 <= datetime.fromisoformat(text).year < 2200:
        raise ValueError("should be a time such as 2026-01-31T12:00:00.000000+00:00")
    return text


def _json(text: str) -> str:
    parse_json(text)
    return text


def _object(text: str) -> str:
    check_object(text)
    return text


Name = Annotated[str, Field(max_length=_LONGEST_NAME), AfterValidator(_name)]
Line = Annotated[str, Field(max_length=_LONGEST_NAME), AfterValidator(_line)]
LongText = Annotated[str, Field(max_length=_LONGEST_TEXT)]
Json = Annotated[str, Field(max_length=_LONGEST_JSON), AfterValidator(_json)]
Object = Annotated[str, Field(max_length=_LONGEST_JSON), AfterValidator(_object)]
Time = Annotated[str, Field(max_length=40), AfterValidator(_time)]
Identity = Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-z]{1,12}:[0-9A-Za-z]{1,128}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Bit = Literal[0, 1]


class ImportedRow(BaseModel):
    """Holds a row as the other store holds it, by column."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    def check(self) -> None:
        """Look at what columns say together.

        Raises:
            ValueError: ``(column, problem)``.
        """


class RunRow(ImportedRow):
    id: Identity
    name: Name
    experiment: Name
    state: Literal["planned", "running", "paused", "interrupted", "done", "cancelled", "failed"]
    planned: Count
    batch_size: Annotated[int, Field(ge=1, lt=2**31)] | None
    host: Line | None
    heartbeat: Time | None
    created: Time
    started: Time | None
    finished: Time | None
    error: LongText | None
    study: Object
    model: Object
    environment: Object

    def check(self) -> None:
        check_fields(self.study, self.model)


class PromptRow(ImportedRow):
    key: Hash
    record: Json

    def check(self) -> None:
        check_prompt(self.key, self.record)


class RunPromptRow(ImportedRow):
    run: Identity
    prompt: Hash


class TrialRow(ImportedRow):
    run: Identity
    key: Hash
    ordinal: Count
    status: Literal["done", "error"]
    condition: Name
    arm: Line
    concept: Name | None
    layer: Annotated[int, Field(ge=0, lt=100_000)] | None
    strength: float | None
    unit: Name | None
    finish: Line
    tokens: Count
    created: Time
    error: LongText | None
    response: LongText
    doses: Json
    proofs: Json
    measurements: Object
    spec: Json

    def check(self) -> None:
        if (self.error is None) != (self.status == "done"):
            raise ValueError("error", "should be there for failed trials, and for them alone")
        check_doses(self.doses)
        check_proofs(self.proofs)
        check_measurements(self.measurements)
        check_trial(self.key, self.spec, self.model_dump())


class GradeRow(ImportedRow):
    run: Identity
    key: Hash
    grader: Name
    version: LongText
    affirms: Bit | None
    identifies: Bit | None
    named_before_affirming: Bit | None
    coherent: Bit | None
    refuses: Bit | None
    naming: NamingLevel | None
    state: Literal["scored", "abstained", "unscored"]
    created: Time
    reason: LongText
    evidence: Json | None
    raw: LongText | None


class LabelRow(ImportedRow):
    run: Identity
    key: Hash
    labeller: Name
    fields_: Object = Field(alias="fields")
    note: LongText
    created: Time


class LabelSetRow(ImportedRow):
    run: Identity
    name: Name
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]
    keys: Json
    created: Time
    frozen: Time | None

    def check(self) -> None:
        check_keys(self.keys)


class StudyRow(ImportedRow):
    id: Identity
    name: Name
    settings: Object
    created: Time

    def check(self) -> None:
        check_manner(self.settings)


class StudyPartRow(ImportedRow):
    study: Identity
    ordinal: Count
    key: Hash
    label: Line
    settings: Object
    run: Identity | None
    error: LongText | None

    def check(self) -> None:
        check_part(self.key, self.settings)


class VectorRow(ImportedRow):
    hash: Hash
    recipe: Object
    file: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,200}\.safetensors$")]
    content: Hash
    created: Time


def problem_of(row: type[ImportedRow], values: dict[str, Any]) -> tuple[str, str] | None:
    """Say what is wrong with a row.

    Returns:
        The column and a clause; ``None`` when nothing is wrong.
    """
    try:
        row.model_validate(values).check()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = str(first["loc"][0]) if first["loc"] else "?"
        return column, _clause(first["type"], reason_of(first), values.get(column))
    except ValueError as error:
        column, problem = error.args
        return column, problem
    return None


_NOUNS: tuple[tuple[type, str], ...] = (
    (type(None), "nothing"),
    (bytes, "binary data"),
    (str, "text"),
    (int, "a number"),
    (float, "a number"),
)


def _clause(kind: str, message: str, value: Any) -> str:
    message = message.removeprefix("Input ")
    if kind.endswith("_type"):
        noun = next((noun for type_, noun in _NOUNS if isinstance(value, type_)), "text that is not UTF-8")
        return f"{message}, and holds {noun}"
    return message
