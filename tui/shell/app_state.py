"""What the app remembers between starts, in a file beside the store."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_log = logging.getLogger(__name__)


class Memory(BaseModel):
    """Remembers where one was and what one had typed. Losing it loses no result, so a damaged file counts as none."""

    model_config = ConfigDict(extra="ignore", validate_assignment=False)

    place: str = "runs"
    """Name of the screen."""
    run: str = ""
    """Id of the run that was last opened."""
    theme: str = "textual-dark"
    bell: bool = True
    """Whether to ring when a run ends."""
    desktop: bool = True
    """Whether the terminal shows a notice of the desktop when a run ends (OSC 9 and 777)."""
    title: bool = True
    """Whether to keep the title of the terminal's window up to date."""
    pages: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Data that the screens want to find again (``Page.kept``), by place."""

    @classmethod
    def load(cls, path: Path) -> Memory:
        """Read the file; whatever is wrong with it, the answer is a memory."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except (OSError, ValidationError) as error:
            _log.warning("%s is ignored: %s", path, error)
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file at once, so that a kill leaves the old or the new one."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(self.model_dump_json(), "utf-8")
            fresh.replace(path)
        except OSError as error:
            _log.warning("%s is not saved: %s", path, error)
