"""Errors a user can act on.

Every message is one line and ends with what to do next. The command line prints it and exits with
``exit_code``; anything that is not a ``KnownError`` is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping


class KnownError(Exception):
    """Says in one line what failed, as was foreseeable, and names the way out."""

    exit_code = 1

    def __init__(self, message: str = "", *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting
        """Name of the setting of a study that is wrong, or of one of its options; ``None`` where it is none of them."""


class UsageError(KnownError):
    """The input is wrong: nothing was started, nothing was written."""

    exit_code = 2


class PrerequisiteError(KnownError):
    """A library, device or file that is needed is not there."""


class ModelError(KnownError):
    """A model cannot be found, fetched, loaded or fitted into memory."""


class InjectionError(KnownError):
    """What was injected is not what was planned. Results without a matching proof are never returned."""


class OutOfMemory(KnownError):
    """The rows that ran together did not fit into the device's memory. What they held has been freed."""


def reason_of(wrong: Mapping[str, object]) -> str:
    """Return why a value was refused: what our own validator said, else pydantic's words.

    Args:
        wrong: one of ``ValidationError.errors()``, with its context.
    """
    context = wrong.get("ctx")
    raised = context.get("error") if isinstance(context, dict) else None
    return str(wrong["msg"] if raised is None else raised)
