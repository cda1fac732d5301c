"""The folder of a training: its plan, its progress, its last state, and the best adapter so far.

``training.json`` the plan; ``progress.jsonl`` one line per step; ``checkpoint.safetensors`` everything the next step
depends on; ``adapter_config.json`` and ``adapter_model.safetensors`` the adapter, in peft's layout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mlxintro.backends.adapters import peft_folder
from mlxintro.backends.base import Float32
from mlxintro.backends.errors import UsageError
from mlxintro.training.plan import TrainingPlan

PLAN = "training.json"
PROGRESS = "progress.jsonl"
STATE = "checkpoint.safetensors"


class TrainingFolder:
    """Keeps the files of one training. Each is written whole or not at all, so that no kill loses a checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def plan(self) -> TrainingPlan | None:
        """Return the plan that was begun here, if any.

        Raises:
            UsageError: there is one, but it cannot be read; or the folder holds something else.
        """
        file = self.path / PLAN
        if not file.exists():
            self._must_be_empty()
            return None
        try:
            return TrainingPlan.model_validate_json(file.read_text("utf-8"))
        except (OSError, ValidationError) as error:
            raise UsageError(f"{file} is not the plan of a training: choose another folder with -o") from error

    def begin(self, plan: TrainingPlan) -> None:
        """Record the plan.

        Raises:
            UsageError: the folder holds something else.
        """
        self._must_be_empty()
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(PLAN, plan.model_dump_json(indent=2) + "\n")

    def load(self) -> tuple[dict[str, Float32], dict[str, Any]] | None:
        """Return the state and bookkeeping of the last checkpoint, ``None`` before the first.

        Raises:
            UsageError: it is damaged.
        """
        file = self.path / STATE
        if not file.exists():
            return None
        try:
            with safe_open(file, "numpy") as opened:
                state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
                return state, json.loads(opened.metadata()["training"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file} is damaged: remove {self.path} and train again") from error

    def save(self, state: Mapping[str, Float32], bookkeeping: Mapping[str, Any]) -> None:
        """Write a checkpoint in the place of the one before."""
        partial = self.path / f"{STATE}.part"
        save_file(dict(state), partial, metadata={"training": json.dumps(bookkeeping)})
        os.replace(partial, self.path / STATE)

    def note(self, line: Mapping[str, Any]) -> None:
        """Add a line to the progress."""
        with (self.path / PROGRESS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop lines of steps that will be taken again."""
        file = self.path / PROGRESS
        if not file.exists():
            return
        kept = []
        for line in file.read_text("utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):  # a line that a kill cut short
                continue
        self._write(PROGRESS, "".join(f"{line}\n" for line in kept))

    def write_adapter(self, matrices: Mapping[str, tuple[Float32, Float32]], plan: TrainingPlan, base: str) -> None:
        """Write the adapter in the place of the one before."""
        peft_folder.write(self.path, matrices, plan.shape, base)

    def _must_be_empty(self) -> None:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(f"{self.path} is not empty: choose another folder with -o")

    def _write(self, name: str, text: str) -> None:
        partial = self.path / f"{name}.part"
        partial.write_text(text, "utf-8")
        os.replace(partial, self.path / name)
