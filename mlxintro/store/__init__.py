"""Where runs and trials are kept; see ``mlxintro.store.store``."""

from mlxintro.store.records import (
    Control,
    Finished,
    GradeRecord,
    Imported,
    Label,
    LabelSet,
    Run,
    RunState,
    Trial,
    TrialFilter,
    VectorRecord,
)
from mlxintro.store.store import Store

__all__ = [
    "Control",
    "Finished",
    "GradeRecord",
    "Imported",
    "Label",
    "LabelSet",
    "Run",
    "RunState",
    "Store",
    "Trial",
    "TrialFilter",
    "VectorRecord",
]
