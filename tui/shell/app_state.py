"""What the app remembers between starts, and the keys a person has chosen. Both are files beside the store."""

from __future__ import annotations

import json
import logging
import os
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mlxintro.backends.errors import UsageError

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """Where one was. Losing it loses nothing of value, so a damaged file counts as none."""

    place: str = "runs"
    run: str = ""
    """Id of the run that was last opened."""
    theme: str = "textual-dark"

    @classmethod
    def load(cls, path: Path) -> Memory:
        try:
            found = json.loads(path.read_text("utf-8"))
            return cls(**{f.name: str(found[f.name]) for f in fields(cls) if f.name in found})
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError) as error:
            _log.warning("%s is ignored: %s", path, error)
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file at once, so that a kill leaves the old or the new one."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(asdict(self)), "utf-8")
            fresh.replace(path)
        except OSError as error:
            _log.warning("%s is not saved: %s", path, error)


def load_keys(path: Path) -> dict[str, str]:
    """Keys by the id of their binding, e.g. ``"runs.delete" = "x"``; none when there is no file.

    Raises:
        UsageError: the file is not such a table.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}: correct or delete it; the usual keys are in use") from error
    wrong = [name for name, keys in found.items() if not isinstance(keys, str) or not keys.strip()]
    if wrong:
        raise UsageError(f'{path}: {wrong[0]}: write it as "{wrong[0]}" = "KEY"; the usual keys are in use')
    return found


def keys_template(bindings: dict[str, tuple[str, str]]) -> str:
    """A file to edit: every binding's id with its usual key (as a comment) and what it does."""
    lines = ["# Keys of mlxintro's terminal app. Take the # away and change the key; read when the app starts.", ""]
    lines += [f"# {json.dumps(name)} = {json.dumps(key)}  # {what}" for name, (key, what) in sorted(bindings.items())]
    return "\n".join(lines) + "\n"
