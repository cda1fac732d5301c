"""What the JSON inside a row must be like, so that everything that reads it later can rely on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from mlxintro.protocol.plain_data import parse_json

_FURTHEST = 100_000_000
"""Tokens: no position lies beyond it."""


def check_object(text: str) -> dict[str, Any]:
    """Parse JSON that must be an object."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("should be a JSON object")
    return value


def check_fields(study: str, model: str) -> None:
    """Check that a run's study can be read as one, and that its model is described by plain values."""
    from pydantic import ValidationError

    from mlxintro.protocol.study import Study

    described = parse_json(model)
    if any(isinstance(value, dict) for value in described.values()) or not isinstance(described.get("model", ""), str):
        raise ValueError("model", "should describe a model by plain values")
    known = {name: value for name, value in parse_json(study).items() if name in Study.model_fields}
    try:
        Study.model_validate({"model": "", **known})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError("study", f"is no study: {where}: {first['msg']}") from None


def check_prompt(key: str, text: str) -> None:
    """Check that a prompt is complete and is the one that its key names."""
    from mlxintro.protocol.trials import PromptRecord

    data = parse_json(text)
    whole = isinstance(data, dict) and data.keys() == {"messages", "prefill", "text", "tokens", "pieces"}
    if not whole or not all(isinstance(data[name], str) for name in ("prefill", "text")):
        raise ValueError("record", "should hold messages, prefill, text, tokens and pieces")
    messages, tokens, pieces = data["messages"], data["tokens"], data["pieces"]
    if not _all(messages, dict) or not all(isinstance(v, str) for one in messages for v in one.values()):
        raise ValueError("record", "its messages should hold text")
    if not _all(tokens, int) or not _all(pieces, str) or len(tokens) != len(pieces):
        raise ValueError("record", "should hold one piece of text for each token")
    record = PromptRecord(tuple(messages), data["prefill"], data["text"], tuple(tokens), tuple(pieces))
    if record.key != key:
        raise ValueError("key", "is not the hash of its record")


def check_trial(key: str, text: str, row: Mapping[str, Any]) -> None:
    """Check that a trial's spec is complete, is the one that its key names, and says what the columns say."""
    from pydantic import ValidationError

    from mlxintro.protocol.trials import TrialSpec

    data = parse_json(text)
    try:
        _spec_shape().validate_json(text, strict=True)
        spec = TrialSpec.from_dict(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ValueError("spec", f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None
    except (TypeError, KeyError, AttributeError):
        raise ValueError("spec", "should hold the fields of a trial and no others") from None
    if spec.key != key:
        raise ValueError("key", "is not the hash of its spec")
    first = spec.injections[0] if spec.injections else None
    said = {
        "condition": spec.condition,
        "arm": spec.arm,
        "concept": spec.concept,
        "layer": first.layer if first else None,
        "strength": first.strength if first else None,
        "unit": first.unit if first else None,
    }
    for column, value in said.items():
        if row[column] != value:
            raise ValueError(column, "is not what the spec says")
    for one in spec.injections:
        stop = one.start if one.stop is None else one.stop
        if not 0 <= one.start <= stop <= _FURTHEST or not 0 <= one.layer < 100_000:
            raise ValueError("spec", "an injection lies outside every prompt and model")


def check_doses(text: str) -> None:
    """Check the doses of a trial's injections."""
    from mlxintro.protocol.hashing import field_names
    from mlxintro.protocol.trials import Dose

    for one in _records(text, "doses", field_names(Dose)):
        if not all(value is None or _is_number(value) for value in one.values()):
            raise ValueError("doses", "should hold numbers")


def check_proofs(text: str) -> None:
    """Check the proofs of a trial's injections."""
    from mlxintro.backends.base import Proof
    from mlxintro.protocol.hashing import field_names

    for one in _records(text, "proofs", field_names(Proof)):
        words, numbers = (one.pop("site"), one.pop("operation")), one.values()
        if not _all(list(words), str) or not all(value is None or _is_number(value) for value in numbers):
            raise ValueError("proofs", "should hold numbers, a site and an operation")
        if one["positions"] is None or one["layer"] is None:
            raise ValueError("proofs", "should name a layer and how many positions were touched")


def check_measurements(text: str) -> None:
    """Check the log-probabilities among a trial's measurements."""
    scores = parse_json(text).get("logprobs", {})
    if not isinstance(scores, dict) or not all(value is None or _is_number(value) for value in scores.values()):
        raise ValueError("measurements", "its logprobs should be numbers")


def check_keys(text: str) -> None:
    """Check the keys of a label set's trials."""
    if not _all(parse_json(text), str):
        raise ValueError("keys", "should be a list of keys of trials")


def check_manner(text: str) -> None:
    """Check what holds for a study as a whole: its name, its grader, its budget."""
    from pydantic import ValidationError

    from mlxintro.protocol.study_parts import StudyManner

    try:
        StudyManner.model_validate(parse_json(text))
    except ValidationError as error:
        raise ValueError("settings", f"are not a study's: {error.errors(include_url=False)[0]['msg']}") from None


def check_part(key: str, text: str) -> None:
    """Check that the settings of a study's part can be read, and are those that its key names."""
    from pydantic import ValidationError

    from mlxintro.protocol.study import Study
    from mlxintro.protocol.study_parts import part_key

    try:
        study = Study.model_validate(parse_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError("settings", f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if part_key(study) != key:
        raise ValueError("key", "is not the hash of its settings")


def _records(text: str, column: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    found = parse_json(text)
    if not _all(found, dict) or any(one.keys() != set(names) for one in found):
        raise ValueError(column, f"should be a list of objects with {', '.join(names)}")
    records: list[dict[str, Any]] = found
    return records


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def _spec_shape() -> Any:
    from pydantic import TypeAdapter

    from mlxintro.protocol.trials import TrialSpec

    return TypeAdapter(TrialSpec)
