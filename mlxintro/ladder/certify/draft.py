"""What ``certify`` has found out before its run begins, kept in a file so that nothing is sought twice.

Seeking a dose and calibrating take minutes to hours. Every finding is written as soon as it is there; when the command
is begun again under the same name, it goes on behind the last one. The run takes over from there, and the file goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.rendering.whole_file import write_whole

FOLDER = "certify"
"""Beside the store."""


@dataclass
class CertifyDraft:
    """Keeps the settings of a command, and what was found so far."""

    settings: dict[str, Any]
    """The command's options, as JSON takes them."""
    path: Path | None = None
    """File of the draft; ``None`` to keep nothing."""
    found: dict[str, Any] = field(default_factory=dict)
    """Findings by name, as JSON takes them."""

    @classmethod
    def named(cls, store: Path, name: str) -> Path:
        """Return where the draft of a name lies."""
        return store.parent / FOLDER / f"{name.encode().hex()}.json"

    @classmethod
    def read(cls, path: Path) -> CertifyDraft | None:
        """Return a draft that was begun; ``None`` where there is none.

        Raises:
            UsageError: the file cannot be understood.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
            return cls(dict(content["settings"]), path, dict(content["found"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} cannot be read ({error}): delete it, and begin again") from None

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """Return a finding that is known, or that is made and written down now.

        Args:
            name: says what is found, and what it depends on beside the settings.
            find: gives it as JSON takes it.
        """
        if name not in self.found:
            self.found[name] = find()
            self.save()
        return self.found[name]

    def save(self) -> None:
        """Write everything down.

        Raises:
            KnownError: the file cannot be written.
        """
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps({"settings": self.settings, "found": self.found}, ensure_ascii=False))

    def discard(self) -> None:
        """Delete the file: the run has everything now."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
