"""`run --dry-run` in a process of its own: what a study comes to, without waiting for it here."""

from __future__ import annotations

import subprocess
import threading

from .processes import Processes, make_room

LIMIT_SECONDS = 300
_KNOWN = ("concepts:", "layers:", "strengths:", "sampling:")
"""Lines that say what stands in the form."""


class DryRun:
    """One at a time: a new question ends the process that works on the last one."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, arguments: list[str]) -> str | None:
        """What the command says; ``None`` when another question came in between. Waits, so call it in a thread."""
        with self._lock:
            self.stop()
            process = self._process = subprocess.Popen(
                self._processes.command("run", *arguments, "--dry-run"),
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
        said = out if process.returncode == 0 else err
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith(_KNOWN)]
        return "\n".join(lines if process.returncode == 0 else lines[-1:])

    def stop(self) -> None:
        """End the process that is at work, if there is one."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
