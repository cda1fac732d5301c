"""``python -m mlxintro.lab.process STORE``: a lab that is ordered about over stdin and answers on stdout.

Vectors are kept beside the store, and must be what it recorded.
``mlxintro.lab.messages`` says what the lines are. It ends when stdin does; its log is stderr. One thread reads orders,
so that a newer one is seen while the model works; the main thread owns the model.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.lab.lab import Lab, Superseded
from mlxintro.lab.messages import (
    READOUT,
    Ask,
    Cancel,
    Error,
    LabEvent,
    Load,
    Loading,
    Order,
    Ready,
    Stopped,
    read_order,
)
from mlxintro.paths import vectors_beside
from mlxintro.store.vectors import recorded_content
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.steering import DEFAULT_LAYER

NICE = 5
"""The app that shows the replies goes first where processors are few."""


class Orders:
    """Says what is to be done next: the latest model, then the latest question about it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._load: Load | None = None
        self._ask: Ask | None = None
        self._current: Ask | None = None
        self._closed = False

    def put(self, order: Order) -> None:
        with self._changed:
            match order:
                case Load():
                    self._load, self._ask, self._current = order, None, None
                case Ask():
                    self._ask = order
                case Cancel():
                    self._ask = self._current = None
            self._changed.notify()

    def close(self) -> None:
        """Take no more orders, and want none any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def closed(self) -> bool:
        return self._closed

    def next(self) -> Load | Ask | None:
        """Wait for something to do; ``None`` when it is over."""
        with self._changed:
            self._current = None
            self._changed.wait_for(lambda: self._closed or self._load or self._ask)
            if self._closed:
                return None
            if self._load is not None:
                load, self._load = self._load, None
                return load
            self._current, self._ask = self._ask, None
            return self._current

    def stands(self, ask: Ask) -> bool:
        """Tell whether an order is still the latest."""
        with self._changed:
            return not self._closed and self._current is ask and self._ask is None

    def needed(self, ask: Ask) -> bool:
        """Tell whether the vector of an order is wanted: by itself, or by the one that replaces it."""
        with self._changed:
            return not self._closed and self._current is ask and (self._ask is None or self._ask.concept == ask.concept)


class Process:
    """Reads orders from one stream and answers on another."""

    def __init__(self, store: Path, lines: IO[bytes], out: IO[str]) -> None:
        self._cache = VectorCache(vectors_beside(store), recorded=recorded_content(store))
        self._lines = lines
        self._out = out
        self._speaking = threading.Lock()
        self._orders = Orders()
        self._lab: Lab | None = None

    def run(self) -> None:
        """Work until the orders end."""
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            while (order := self._orders.next()) is not None:
                number = order.number if isinstance(order, Ask) else None
                try:
                    self._load(order) if isinstance(order, Load) else self._answer(order)
                except Superseded:
                    if number is not None:
                        self._tell(Stopped(number=number))
                except KnownError as error:
                    self._tell(Error(number=number, text=str(error), known=True))
                except BrokenPipeError:
                    return
                except Exception as error:
                    traceback.print_exc()
                    text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                    self._tell(Error(number=number, text=text, known=False))
        finally:
            self._close()

    def _listen(self) -> None:
        for line in self._lines:
            try:
                self._orders.put(read_order(line))
            except UsageError as error:
                self._tell(Error(number=None, text=str(error), known=True))
        self._orders.close()

    def _load(self, order: Load) -> None:
        from mlxintro.backends.registry import open_backend

        self._close()
        self._tell(Loading(model=order.model))

        def progress(done: int, total: int, file: str) -> None:
            if self._orders.closed:
                raise Superseded
            self._tell(Loading(model=order.model, done=done, total=total))

        # Two rows at once, whatever the memory would hold.
        backend = open_backend(order.model, order.backend, batch_size=2, adapter=order.adapter, progress=progress)
        self._lab = Lab(backend, self._cache, tell=self._tell, stands=self._orders.stands, needed=self._orders.needed)
        info = backend.info
        self._tell(
            Ready(
                model=order.model,
                backend=info.backend,
                device=info.device,
                layers=info.layers,
                layer=info.layer(DEFAULT_LAYER),
                readout=info.layer(READOUT),
            )
        )

    def _answer(self, ask: Ask) -> None:
        if self._lab is None:
            raise UsageError("no model is loaded: load one first")
        self._lab.answer(ask)

    def _close(self) -> None:
        if self._lab is not None:
            self._lab.backend.close()
            self._lab = None

    def _tell(self, event: LabEvent) -> None:
        with self._speaking:
            self._out.write(event.model_dump_json() + "\n")
            self._out.flush()


def main(store: str) -> None:
    """Serve on this process's own stdin and stdout."""
    with suppress(OSError, AttributeError):
        os.nice(NICE)
    # What libraries print goes to the log, not between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        Process(Path(store), sys.stdin.buffer, out).run()


if __name__ == "__main__":
    main(sys.argv[1])
