"""Studies: what was asked for in one file or line, and which runs it came to.

A study has parts, one for each combination of its models and other axes. A part is known by the hash of its settings,
so that the same line, given again, finds the run that it has begun.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlxintro.backends.errors import UsageError
from mlxintro.protocol.plain_data import parse_json
from mlxintro.protocol.spelling import composed
from mlxintro.store.database import Database, now
from mlxintro.store.records import Run, plain_json
from mlxintro.store.run_names import new_id
from mlxintro.store.runs import RunTable


@dataclass(frozen=True, slots=True)
class StoredPart:
    """Holds one part of a study: settings that one run is made with."""

    ordinal: int
    key: str
    """Hash of the settings."""
    label: str
    """Words that tell it from the other parts, e.g. its model."""
    settings: dict[str, Any]
    """Settings that ``make_study`` takes."""
    run: Run | None = None
    """Its run; ``None`` until it has begun, and after its run was deleted."""
    error: str | None = None
    """Why it could not begin, or did not come to its end."""

    @property
    def state(self) -> str:
        """Return the state of its run, or that there is none yet."""
        if self.run is not None:
            return self.run.state
        return "failed" if self.error else "waiting"

    @property
    def settled(self) -> bool:
        """Tell whether nothing is left to do: done without failed trials, or cancelled by a person."""
        run = self.run
        return run is not None and (run.state == "cancelled" or (run.state == "done" and not run.errors))


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """Holds a study with its parts, in the order of its file."""

    id: str
    name: str
    settings: dict[str, Any]
    """Who grades it, for how much, and whether its runs are frozen: see ``protocol.study_parts.StudyManner``."""
    created: str
    parts: tuple[StoredPart, ...]

    @property
    def runs(self) -> list[Run]:
        """Return its runs, in the order of its parts."""
        return [part.run for part in self.parts if part.run is not None]


class StudyTable:
    """Keeps studies, and which runs belong to them."""

    def __init__(self, database: Database, runs: RunTable) -> None:
        self._database = database
        self._runs = runs

    def create(self, name: str, settings: Mapping[str, Any], parts: Iterable[tuple[str, str, Any]]) -> StoredStudy:
        """Record a study whose runs are about to begin.

        Args:
            name: what people will call it.
            settings: see ``StoredStudy``.
            parts: key, label and settings of each.

        Raises:
            UsageError: the name is taken.
        """
        name = composed(name)
        with self._database.write() as db:
            if db.execute("SELECT 1 FROM studies WHERE name = ?", (name,)).fetchone():
                raise UsageError(f"there is already a study called {name!r}: choose another name")
            identity = new_id(db, "studies")
            db.execute(
                "INSERT INTO studies (id, name, settings, created) VALUES (?, ?, ?, ?)",
                (identity, name, plain_json(settings), now()),
            )
            _insert(db, identity, 0, parts)
        return self.get(identity)

    def change(
        self, study: str, settings: Mapping[str, Any], parts: Iterable[tuple[str, str, Any]], dropped: Collection[str]
    ) -> StoredStudy:
        """Bring a study up to what its file says now.

        Args:
            study: id.
            settings: in place of those that were stored.
            parts: that are new.
            dropped: keys of parts without a run that the file does not name any more.
        """
        with self._database.write() as db:
            db.execute("UPDATE studies SET settings = ? WHERE id = ?", (plain_json(settings), study))
            db.executemany(
                "DELETE FROM study_parts WHERE study = ? AND key = ? AND run IS NULL", [(study, key) for key in dropped]
            )
            (last,) = db.execute("SELECT max(ordinal) FROM study_parts WHERE study = ?", (study,)).fetchone()
            _insert(db, study, 0 if last is None else last + 1, parts)
        return self.get(study)

    def get(self, study: str) -> StoredStudy:
        """Read a study by its full id.

        Raises:
            UsageError: there is none.
        """
        row = self._database.row("SELECT id, name, settings, created FROM studies WHERE id = ?", study)
        if row is None:
            raise UsageError(f"there is no study {study}: `mlxintro studies list` shows what there is")
        return self._read(row)

    def all(self) -> list[StoredStudy]:
        """Read every study, newest first."""
        rows = self._database.rows("SELECT id, name, settings, created FROM studies ORDER BY created DESC, id DESC")
        return [self._read(row) for row in rows]

    def find(self, text: str) -> StoredStudy:
        """Find a study by its name, its id, or the start of one.

        Raises:
            UsageError: none or several match; the message lists them.
        """
        names = {str(row["id"]): str(row["name"]) for row in self._database.rows("SELECT id, name FROM studies")}
        text = composed(text)
        found = [i for i, name in names.items() if text in (i, composed(name))] or [
            i for i, name in names.items() if text and (i.startswith(text) or composed(name).startswith(text))
        ]
        if len(found) == 1:
            return self.get(found[0])
        if found:
            listed = ", ".join(f"{names[i]} ({i})" for i in found[:5])
            raise UsageError(f"{text!r} could be {len(found)} studies: {listed}: give more of it")
        close = difflib.get_close_matches(text, list(names.values()), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "`mlxintro studies list` shows what there is"
        raise UsageError(f"no study called {text!r}: {hint}")

    def named(self, name: str) -> StoredStudy | None:
        """Read the study of exactly this name; ``None`` where there is none."""
        row = self._database.row("SELECT id, name, settings, created FROM studies WHERE name = ?", composed(name))
        return None if row is None else self._read(row)

    def runs_of(self, text: str) -> list[Run]:
        """Read the run of this name, or the runs of the study of this name in the order of its parts.

        Args:
            text: what the user typed: a run's whole name goes before a study's, that before the start of a run's.

        Raises:
            UsageError: there is neither, or the study has no run yet.
        """
        exact = any(text in (run, composed(name)) for run, name, _ in self._runs.states())
        study = None if exact else self.named(text)
        if study is None:
            return [self._runs.find(text)]
        if not study.runs:
            raise UsageError(
                f"no run of the study {study.name} has begun: go on with `mlxintro studies resume {study.name}`"
            )
        return study.runs

    def failed(self, study: str, ordinal: int, error: str | None) -> None:
        """Record why a part could not begin or end; ``None`` takes that back."""
        with self._database.write() as db:
            db.execute("UPDATE study_parts SET error = ? WHERE study = ? AND ordinal = ?", (error, study, ordinal))

    def delete(self, study: str, *, with_runs: bool) -> None:
        """Delete a study, with its runs or without.

        Raises:
            KnownError: one of the runs is being run.
        """
        for run in self.get(study).runs if with_runs else ():
            self._runs.delete(run.id)
        with self._database.write() as db:
            db.execute("DELETE FROM studies WHERE id = ?", (study,))

    def names_by_run(self) -> dict[str, str]:
        """Say to which study runs belong: run id -> name of the study."""
        rows = self._database.rows(
            "SELECT p.run AS run, s.name AS name FROM study_parts p JOIN studies s ON s.id = p.study "
            "WHERE p.run IS NOT NULL"
        )
        return {str(row["run"]): str(row["name"]) for row in rows}

    def _read(self, row: sqlite3.Row) -> StoredStudy:
        parts = self._database.rows(
            "SELECT ordinal, key, label, settings, run, error FROM study_parts WHERE study = ? ORDER BY ordinal",
            row["id"],
        )
        found = tuple(
            StoredPart(
                ordinal=part["ordinal"],
                key=part["key"],
                label=part["label"],
                settings=dict(parse_json(part["settings"])),
                run=None if part["run"] is None else self._runs.get(part["run"]),
                error=part["error"],
            )
            for part in parts
        )
        return StoredStudy(row["id"], row["name"], dict(parse_json(row["settings"])), row["created"], found)


def _insert(db: sqlite3.Connection, study: str, first: int, parts: Iterable[tuple[str, str, Any]]) -> None:
    db.executemany(
        "INSERT INTO study_parts (study, ordinal, key, label, settings) VALUES (?, ?, ?, ?, ?)",
        [
            (study, ordinal, key, label, plain_json(settings))
            for ordinal, (key, label, settings) in enumerate(parts, first)
        ],
    )
