"""What goes into the store and comes out of it, as plain frozen records."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from mlxintro.backends.errors import KnownError
from mlxintro.protocol.plain_data import parse_json
from mlxintro.replies.grade_terms import GradeState, NamingLevel

if TYPE_CHECKING:
    from mlxintro.backends.base import Proof
    from mlxintro.protocol.trials import Dose, Outcome, TrialSpec

Control = Literal["run", "pause", "cancel"]
"""How other processes steer a run."""
StoredState = Literal["planned", "running", "paused", "interrupted", "done", "cancelled", "failed"]
RunState = StoredState
"""As shown: a run stored as ``running`` or ``paused`` whose process is gone is ``interrupted``."""
Status = Literal["done", "error"]

CONTROLS: tuple[Control, ...] = get_args(Control)
STATES: tuple[StoredState, ...] = get_args(StoredState)
GRADE_FIELDS = ("affirms", "identifies", "named_before_affirming", "coherent", "refuses")


class Finished(NamedTuple):
    """Holds one trial that ran, as the runner hands it over."""

    ordinal: int
    """Place in the plan, from 0."""
    spec: TrialSpec
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    """Ten characters; sorting ids sorts runs by creation."""
    name: str
    experiment: str
    state: RunState
    control: Control
    planned: int
    done: int
    errors: int
    study: dict[str, Any]
    """The resolved study."""
    model: dict[str, Any]
    """Fields of ``ModelInfo``."""
    environment: dict[str, Any]
    batch_size: int | None
    """Rows that run together, since the run first started or memory last ran out: a resumed run must form the same
    blocks (see ``mlxintro.running.runner``)."""
    created: str
    """Times are UTC in ISO 8601 with microseconds."""
    started: str | None = None
    finished: str | None = None
    heartbeat: str | None = None
    pid: int | None = None
    host: str | None = None
    error: str | None = None
    """Why the run failed."""
    damage: str | None = None
    """Part of the run's row that cannot be read; such a run can be listed and deleted, and nothing else."""

    @property
    def preparing(self) -> bool:
        """Tell whether a process gets it ready: its vectors are being extracted."""
        return self.state == "planned" and self.pid is not None

    @property
    def remaining(self) -> int:
        """Return the planned trials without a result; failed ones are among them, because resuming tries them again."""
        return max(0, self.planned - self.done)


@dataclass(frozen=True, slots=True)
class TrialFilter:
    """Says which trials of a run; ``None`` means any."""

    condition: str | None = None
    arm: str | None = None
    """``""`` for the trials the experiment is about and its uninjected controls."""
    concept: str | None = None
    layer: int | None = None
    strength: float | None = None
    status: Status | None = None
    text: str | None = None
    """Occurs in the reply, whatever the case and the Unicode form."""
    words: tuple[str, ...] = ()
    """All of these occur in the reply, anywhere in it; cased like ``text``."""
    grader: str | None = None
    """Whose verdict the four fields below speak of; any grader's when ``None``."""
    affirms: bool | None = None
    identifies: bool | None = None
    coherent: bool | None = None
    refuses: bool | None = None
    verdict: str | None = None
    """Class of the latest verdict, in the words of ``rendering.verdict_words``; ``ungraded`` where there is none."""
    disputed: bool | None = None
    """Whether two graders' latest verdicts contradict each other in a field."""
    labelled: bool | None = None
    """Whether a person has labelled it; a label that was withdrawn does not count."""

    @property
    def sought(self) -> tuple[str, ...]:
        """Return everything that must occur in the reply."""
        return ((self.text,) if self.text else ()) + tuple(word for word in self.words if word)


@dataclass(frozen=True, slots=True)
class Trial:
    """Holds a finished or failed trial. Nested data is parsed when asked for, so that a page of trials stays cheap."""

    run: str
    key: str
    ordinal: int
    status: Status
    condition: str
    arm: str
    concept: str | None
    layer: int | None
    """Layer of the first injection; strength and unit are its as well."""
    strength: float | None
    unit: str | None
    response: str
    finish: str
    tokens: int
    error: str | None
    created: str
    spec_json: str
    proofs_json: str
    doses_json: str
    measurements_json: str

    @property
    def spec(self) -> TrialSpec:
        from mlxintro.protocol.trials import TrialSpec

        with self._reading("spec"):
            return TrialSpec.from_dict(parse_json(self.spec_json))

    @property
    def proofs(self) -> tuple[Proof, ...]:
        from mlxintro.backends.base import Proof

        with self._reading("proofs"):
            return tuple(
                Proof(
                    **{**item, "change": _number(item["change"]), "relative_change": _number(item["relative_change"])}
                )
                for item in parse_json(self.proofs_json)
            )

    @property
    def doses(self) -> tuple[Dose, ...]:
        from mlxintro.protocol.trials import Dose

        with self._reading("doses"):
            return tuple(Dose(**{k: _number(v) for k, v in item.items()}) for item in parse_json(self.doses_json))

    @property
    def measurements(self) -> dict[str, Any]:
        with self._reading("measurements"):
            return dict(parse_json(self.measurements_json).items())

    def plain(self) -> dict[str, Any]:
        """Return the spec, doses, proofs and measurements as they are stored: plain data by the name of the column.

        Raises:
            KnownError: one of them cannot be read.
        """
        found = {}
        for column, text, kind in (
            ("spec", self.spec_json, dict),
            ("doses", self.doses_json, list),
            ("proofs", self.proofs_json, list),
            ("measurements", self.measurements_json, dict),
        ):
            with self._reading(column):
                found[column] = value = parse_json(text)
                if not isinstance(value, kind):
                    raise TypeError(f"{column} is no {kind.__name__}")
        return found

    def _reading(self, column: str) -> AbstractContextManager[None]:
        return reading(f"trial {self.key} of run {self.run}", column)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeRecord:
    """Holds one grader's verdict on one trial. ``None`` in a field: the grader does not judge it, or cannot tell."""

    key: str
    """Key of the trial."""
    grader: str
    version: str
    """Version of the rubric and of the model that applied it."""
    affirms: bool | None = None
    identifies: bool | None = None
    named_before_affirming: bool | None = None
    coherent: bool | None = None
    refuses: bool | None = None
    state: GradeState = GradeState.SCORED
    naming: NamingLevel | None = None
    """How near the word is that names the concept; ``None`` where nothing names it or the grader does not say."""
    reason: str = ""
    evidence: Any = None
    """Plain data."""
    raw: str | None = None
    """The grader's reply as it came."""
    created: str = ""
    """Filled in by the store."""

    @property
    def abstained(self) -> bool:
        """Tell whether the grader read the reply and cannot decide."""
        return self.state is GradeState.ABSTAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Says what one person said of one trial."""

    key: str
    """Key of the trial."""
    labeller: str
    fields: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    created: str = ""
    """Filled in by the store."""


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Holds what is known of trials that were drawn to be labelled."""

    name: str
    seed: int
    keys: tuple[str, ...]
    """Keys of the trials, in the order they are shown."""
    created: str
    frozen: str | None
    """Time at which it was frozen: since then it takes no more labels."""


@dataclass(frozen=True, slots=True)
class VectorRecord:
    hash: str
    """Hash of the recipe."""
    recipe: dict[str, Any]
    file: str
    """Name inside the folder of vectors."""
    content: str
    """Hash of the file's content."""
    created: str = ""
    """Filled in by the store."""


class Imported(NamedTuple):
    """Says what a merge added here."""

    runs: int
    trials: int
    grades: int
    labels: int
    vectors: int
    vector_problems: tuple[str, ...] = ()
    """A line for each file of a vector that was not taken."""


@contextmanager
def reading(row: str, column: str) -> Iterator[None]:
    """Turn what damaged JSON in a row leads to into a line for the user.

    Raises:
        KnownError: the column cannot be read as what it should be.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise KnownError(
            f"{row}: its {column} cannot be read, the row is damaged: import it anew, or delete the run "
            "with `mlxintro runs rm`"
        ) from error


def plain_json(value: Any) -> str:
    """Return the canonical JSON; numbers that are not finite become null, because JSON has no word for them."""
    from mlxintro.protocol.hashing import canonical_json

    try:
        return storable(canonical_json(value))
    except ValueError:
        return storable(canonical_json(_finite(json.loads(json.dumps(value, default=_fields)))))


def storable(text: str) -> str:
    """Replace halves of surrogate pairs, which byte-level models can produce and which have no UTF-8 form."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _fields(value: Any) -> Any:
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} is not plain data")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> Any:
    return math.nan if value is None else value
