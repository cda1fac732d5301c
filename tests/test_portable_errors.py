"""Errors of a worker arrive where the run is led, or their words do."""

from __future__ import annotations

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.running.workers.worker import portable


class Stubborn(KnownError):
    """It is pickled without what it is made of."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")


def test_an_error_that_cannot_travel_sends_its_words() -> None:
    sent = portable(Stubborn("layer 3", "no memory"))
    assert (type(sent), str(sent)) == (KnownError, "Stubborn: layer 3: no memory")
    kept = UsageError("name another model")
    assert portable(kept) is kept
