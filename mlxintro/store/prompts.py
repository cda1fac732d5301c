"""Prompts: the dialogues that trials refer to, each stored once however many runs use it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlxintro.backends.errors import UsageError
from mlxintro.store.database import Database
from mlxintro.store.records import plain_json, reading

if TYPE_CHECKING:
    from mlxintro.protocol.trials import PromptRecord


class PromptTable:
    """Keeps prompts in the store, by the hash of their content."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: str, prompts: Iterable[PromptRecord]) -> None:
        """Store the dialogues a run's trials refer to."""
        with self._database.write() as db:
            for prompt in prompts:
                key = prompt.key
                db.execute("INSERT OR IGNORE INTO prompts (key, record) VALUES (?, ?)", (key, plain_json(prompt)))
                db.execute("INSERT OR IGNORE INTO run_prompts (run, prompt) VALUES (?, ?)", (run, key))

    def get(self, key: str) -> PromptRecord:
        """Read a dialogue; raises UsageError when the store does not hold it."""
        row = self._database.row("SELECT key, record FROM prompts WHERE key = ?", key)
        if row is None:
            raise UsageError(f"the store holds no prompt {key}: resume its run once to add it")
        return _prompt(row)

    def of_run(self, run: str) -> dict[str, PromptRecord]:
        """Return a run's dialogues by key."""
        rows = self._database.rows(
            "SELECT key, record FROM prompts JOIN run_prompts ON prompt = key WHERE run = ? ORDER BY key", run
        )
        return {row["key"]: _prompt(row) for row in rows}


def _prompt(row: sqlite3.Row) -> PromptRecord:
    from mlxintro.protocol.trials import PromptRecord

    with reading(f"prompt {row['key']}", "record"):
        data = json.loads(row["record"])
        return PromptRecord(
            messages=tuple(data["messages"]),
            prefill=data["prefill"],
            text=data["text"],
            tokens=tuple(data["tokens"]),
            pieces=tuple(data["pieces"]),
        )
