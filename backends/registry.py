"""Opens a model by name: chooses the library, checks that it and the memory are there, and takes the machine's lock.

Importing this loads no framework. A library is looked for before it is imported, so that a missing one is a line with
the command that installs it.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from .adapters import sources as adapters
from .entry_points import load_outside, outside_names
from .errors import PrerequisiteError, UsageError
from .machine import footprint, lock, memory, nvidia
from .models import aliases, sources

if TYPE_CHECKING:
    from .base import Backend
    from .models.hub import DownloadProgress
    from .values import DialogueFormat

BACKENDS = ("auto", "mlx", "torch", "fake")
GROUP: Literal["mlxintro.backends"] = "mlxintro.backends"
"""Entry points of other packages: a function ``load(model, *, device, dtype, quantize, batch_size) -> Backend``."""

_MODULES: Mapping[sources.Framework, str] = {"mlx": ".mlxlm.backend", "torch": ".pytorch.backend"}
_DEVICES = ".pytorch.devices"
_LIBRARIES: Mapping[sources.Framework, tuple[str, ...]] = {"mlx": ("mlx", "mlx_lm"), "torch": ("torch", "transformers")}


def choose(backend: str = "auto", device: str | None = None) -> str:
    """Return the backend a name stands for.

    ``auto`` is MLX on Apple Silicon and torch (CUDA, else CPU) everywhere else.

    Raises:
        UsageError: there is no such backend.
    """
    if backend not in BACKENDS:
        outside = outside_names(GROUP)
        if backend in outside:
            return backend
        raise UsageError(f"no backend called {backend!r}: choose {', '.join((*BACKENDS, *outside))}", setting="backend")
    if backend != "auto":
        return backend
    if device is not None and device != "cpu":
        return "mlx" if device == "gpu" else "torch"
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return "mlx" if _missing("mlx") is None and (apple or _missing("torch") is not None) else "torch"


def default_model(backend: str = "auto") -> str:
    """Return the model that is used when none is named.

    Raises:
        UsageError: there is no such backend.
    """
    name = choose(backend)
    if name not in (*aliases.DEFAULTS, "fake"):
        raise UsageError(f"the backend {name!r} has no usual model: name one with -m", setting="model")
    return "detector" if name == "fake" else aliases.DEFAULTS[cast(sources.Framework, name)]


def require(backend: sources.Framework) -> None:
    """See that a backend's libraries are installed, without importing them.

    Raises:
        PrerequisiteError: with the command that installs them.
    """
    missing = _missing(backend)
    if missing is None:
        return
    packages = "torch transformers"
    if backend == "mlx":
        packages = "mlx-lm" if sys.platform == "darwin" else "'mlx[cpu]' mlx-lm"
    raise PrerequisiteError(f"--backend {backend} needs {missing}: pip install {packages}")


def open_backend(
    model: str,
    backend: str = "auto",
    *,
    device: str | None = None,
    dtype: str | None = None,
    quantize: str | None = None,
    kv_bits: int | None = None,
    batch_size: int | None = None,
    adapter: str | None = None,
    dialogue: DialogueFormat | None = None,
    progress: DownloadProgress | None = None,
) -> Backend:
    """Load a model, downloading it if need be.

    Args:
        model: see ``models.resolve``; for ``fake``, a simulated subject.
        backend: one of ``BACKENDS``, or one that another package adds.
        device: ``gpu`` or ``cpu`` for mlx; ``cuda``, ``cuda:N``, ``mps`` or ``cpu`` for torch; the best when ``None``.
        dtype: ``float32``, ``bfloat16`` or ``float16``; the backend's choice when ``None``.
        quantize: e.g. ``4bit``, while loading.
        kv_bits: 4 or 8 to keep keys and values quantised, on mlx only.
        batch_size: most rows decoded together; what memory allows for typical trials when ``None``, see
            ``footprint``.
        adapter: low-rank adapter that the model speaks with; see ``adapters.sources.resolve``.
        dialogue: ``chat`` or ``plain`` to hold the format fixed over models; the template where there is one when
            ``None``.
        progress: hears of a download.

    Raises:
        UsageError: no such model, backend, device or setting.
        PrerequisiteError: a library or device is missing.
        ModelError: the model cannot be found, fetched, loaded or fitted into memory.
        BusyError: another process has a large model in memory.
    """
    name = choose(backend, device)
    if kv_bits is not None and name != "mlx":
        raise UsageError(
            f"keys and values are quantised by MLX only, not by {name}: leave out --kv-bits", setting="kv_bits"
        )
    if adapter is not None and name not in ("mlx", "torch"):
        raise UsageError(f"the backend {name} takes no adapter: leave out --adapter, or choose mlx or torch")
    if dialogue is not None and name not in ("mlx", "torch"):
        raise UsageError(f"the backend {name} has one format of dialogues: leave out --dialogue", setting="dialogue")
    if name == "fake":
        from .simulated import backend as fake

        return fake.load(model, device=device, dtype=dtype, quantize=quantize, batch_size=batch_size)
    if name not in ("mlx", "torch"):
        opened_outside: Backend = load_outside(GROUP, name)(
            model, device=device, dtype=dtype, quantize=quantize, batch_size=batch_size
        )
        return opened_outside
    return _open_with(
        cast(sources.Framework, name), model, device, dtype, quantize, kv_bits, batch_size, adapter, dialogue, progress
    )


def _open_with(
    name: sources.Framework,
    model: str,
    device: str | None,
    dtype: str | None,
    quantize: str | None,
    kv_bits: int | None,
    batch_size: int | None,
    adapter: str | None,
    dialogue: DialogueFormat | None,
    progress: DownloadProgress | None,
) -> Backend:
    """Load a model with MLX or PyTorch; see ``open_backend``."""
    sources.locate(model, name)
    require(name)
    found = None if adapter is None else adapters.resolve(adapter)
    place = place_of(name, device)
    run_dtype = dtype or ("float32" if name == "torch" and place == "cpu" else None)

    def judge(weight_bytes: int, config: Mapping[str, Any], available: int, where: str) -> None:
        fit = memory.fits(weight_bytes, config, free=available, dtype=run_dtype, quantize=quantize, backend=name)
        memory.check_fits(model, fit, backend=name, device=where)

    total = memory.room(place).total
    source = sources.resolve(
        model, name, dtype=dtype, progress=progress, judge=lambda size, config: judge(size, config, total, place)
    )
    if place == "cuda":
        needed = memory.needed(source.weight_bytes, source.config, dtype=run_dtype, quantize=quantize, backend=name)
        place = device = _library(_DEVICES, name).card_for(place, needed)
    with ExitStack() as locks:
        for scope in _scopes(place):
            held = lock.hold(model, source.weight_bytes, scope=scope)
            if held is not None:
                locks.callback(held.release)
        free = memory.room(place).free
        judge(source.weight_bytes, source.config, free, place)
        shape = footprint.Shape.of(
            source.config, source.weight_bytes, dtype=run_dtype, quantize=quantize, kv_bits=kv_bits, backend=name
        )
        if shape is not None and place.startswith("cuda:"):
            shape = replace(shape, recorded=True)
        rows = batch_size or footprint.rows_that_fit(shape, free - (shape.weights if shape else 0))
        module = _library(_MODULES[name], name)
        more = {name: value for name, value in (("kv_bits", kv_bits), ("adapter", found)) if value is not None}
        source = replace(source, dialogue=dialogue)
        opened: Backend = module.load(source, device=device, dtype=dtype, quantize=quantize, batch_size=rows, **more)
        opened.shape, opened.batch_size_given = shape, batch_size is not None
        if not place.startswith("cuda"):
            _release_on_close(opened, locks.pop_all())
    return opened


def _release_on_close(backend: Backend, locks: ExitStack) -> None:
    close = backend.close

    def close_and_release() -> None:
        try:
            close()
        finally:
            locks.close()

    # On the instance: the lock is this module's business, and no backend needs to know of it.
    backend.close = close_and_release  # type: ignore[method-assign]


def _missing(backend: sources.Framework) -> str | None:
    return next((library for library in _LIBRARIES[backend] if importlib.util.find_spec(library) is None), None)


def _library(module: str, backend: sources.Framework) -> Any:
    """One of the modules that import a framework."""
    try:
        return importlib.import_module(module, __package__)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise PrerequisiteError(
            f"--backend {backend} is installed but does not load ({reason}): reinstall it"
        ) from error


def place_of(backend: sources.Framework, device: str | None) -> str:
    """Name the device that a model will live on.

    Raises:
        PrerequisiteError: MLX would leave the NVIDIA GPU of this machine aside.
    """
    if backend == "torch":
        return str(_library(_DEVICES, backend).pick_device(device))
    if sys.platform == "darwin" or device == "cpu":
        return device or "gpu"
    if device == "gpu" or nvidia.driver() is not None:
        raise PrerequisiteError(
            "MLX computes on Apple GPUs and on CPUs here, not on NVIDIA GPUs: use --backend torch, "
            "or --device cpu to run MLX on the CPU",
            setting="device",
        )
    return "cpu"


def _scopes(place: str) -> list[str]:
    """Whose memory it is: every CUDA device has its own, everything else shares the machine's."""
    if not place.startswith("cuda"):
        return ["memory"]
    import torch

    index = place.partition(":")[2]
    cards = [int(index)] if index else range(torch.cuda.device_count())
    # The identity of the devices, since CUDA_VISIBLE_DEVICES renumbers them; in one order for everybody.
    return sorted(f"cuda-{torch.cuda.get_device_properties(card).uuid}" for card in cards)
