"""`run --dry-run` in a process of its own: what a study comes to, without waiting for it here."""

from __future__ import annotations

import json
import subprocess
import threading

from mlxintro.rendering.estimate_text import estimate_lines

from .processes import Processes, make_room
from .study_form import in_form_words

LIMIT_SECONDS = 300


class DryRun:
    """Estimates one study at a time: a new question ends the process that works on the last one."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, arguments: list[str]) -> str | None:
        """Return what the command says; ``None`` when another question came in between.

        Waits, so call it in a thread.
        """
        with self._lock:
            self.stop()
            process = self._process = subprocess.Popen(
                self._processes.command("run", *arguments, "--dry-run", "--json"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        make_room(process.pid)
        try:
            out, err = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"no answer within {LIMIT_SECONDS} s: start it, or try a smaller model"
        if process.returncode < 0:
            return None
        if process.returncode != 0:
            said = [line for line in err.splitlines() if line.strip()]
            return f"✗ {in_form_words(said[-1].removeprefix('mlxintro: '))}" if said else "✗ the estimate failed"
        record = json.loads(out)
        return "\n".join([f"{record['trials']} trials", *estimate_lines(record)])

    def stop(self) -> None:
        """End the process that is at work, if there is one."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
