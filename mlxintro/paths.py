"""Where things live. Nothing is created here: whoever writes a file makes its folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "MLXINTRO_HOME"
DATABASE = "mlxintro.db"


@dataclass(frozen=True, slots=True)
class DataHome:
    """Knows the paths of one store and of what belongs to it."""

    db: Path
    """The SQLite file."""
    cache: Path
    """Folder of what can be deleted and is made again."""

    @property
    def vectors(self) -> Path:
        """Return the concept vectors as safetensors; moves together with the store."""
        return vectors_beside(self.db)

    @property
    def logs(self) -> Path:
        """Return the output of runs that were started in the background."""
        return self.db.parent / "logs"


def data_home(db: str | Path | None = None) -> DataHome:
    """Return the store that is meant: ``db`` when given, else ``$MLXINTRO_HOME``, else the platform's data folder."""
    import platformdirs

    home = os.environ.get(HOME_VARIABLE)
    root = Path(home).expanduser().absolute() if home else None
    cache = root / "cache" if root else Path(platformdirs.user_cache_dir("mlxintro", appauthor=False))
    if db is not None:
        return DataHome(Path(db).expanduser().absolute(), cache)
    folder = root or Path(platformdirs.user_data_dir("mlxintro", appauthor=False))
    return DataHome(folder / DATABASE, cache)


def vectors_beside(db: Path) -> Path:
    """Return the folder of the vectors that belong to a store."""
    return db.parent / "vectors"
