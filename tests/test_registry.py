"""Opening models: lazily, one large one at a time, and with a line for whatever is missing."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from mlxintro.backends import registry
from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.backends.machine import footprint, lock
from mlxintro.backends.models import aliases
from tests.cli import StartedProcess, code_started
from tests.hub_server import COMMIT, Repository, serve

ROOT = Path(__file__).parents[1]
HUGE = 8 * 2**30


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_importing_the_registry_loads_no_framework() -> None:
    code = """
import sys, mlxintro.backends.registry
heavy = ("torch", "mlx", "mlx_lm", "transformers", "huggingface_hub", "numpy", "gguf", "safetensors")
print([name for name in heavy if name in sys.modules])
"""
    assert python(code).stdout.strip() == "[]"


def test_choosing_a_backend_loads_no_framework() -> None:
    code = """
import sys
from mlxintro.backends import registry
print(registry.choose(), registry.default_model("fake"), registry.require(registry.choose()))
print([name for name in ("torch", "mlx", "mlx.core", "transformers") if name in sys.modules])
"""
    assert python(code).stdout.splitlines()[-1] == "[]"


def test_names_choose_their_backend_and_devices_theirs() -> None:
    assert [registry.choose(name) for name in ("mlx", "torch", "fake")] == ["mlx", "torch", "fake"]
    assert [registry.choose("auto", device) for device in ("cuda", "cuda:1", "mps", "gpu")] == [
        "torch",
        "torch",
        "torch",
        "mlx",
    ]
    with pytest.raises(UsageError, match="choose auto, mlx, torch, fake"):
        registry.choose("jax")


def test_auto_is_mlx_on_apple_silicon_and_torch_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert registry.choose() == "mlx"
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert registry.choose() == "torch"
    monkeypatch.setattr(sys, "platform", "linux")
    assert registry.choose() == "torch"


def test_the_default_model_suits_the_backend() -> None:
    assert registry.default_model("mlx") == "mlx-community/Qwen2.5-7B-Instruct-4bit"
    assert registry.default_model("torch") == "Qwen/Qwen2.5-14B-Instruct"
    assert registry.default_model("auto") in aliases.DEFAULTS.values()


@pytest.mark.parametrize(
    ("backend", "missing", "command"), [("mlx", "mlx_lm", "mlx-lm"), ("torch", "transformers", "torch transformers")]
)
def test_a_missing_library_is_a_line_with_its_install_command(
    tmp_path: Path, backend: str, missing: str, command: str
) -> None:
    packages = Path(np.__file__).parents[1]
    for entry in packages.iterdir():
        if entry.name != missing:
            (tmp_path / entry.name).symlink_to(entry)
    code = f"""
from mlxintro.backends import registry
from mlxintro.backends.errors import PrerequisiteError
try:
    registry.open_backend("smollm2", {backend!r})
except PrerequisiteError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"needs {missing}: pip install" in done.stdout, done.stderr
    assert command in done.stdout


def test_a_misspelt_model_is_refused_before_any_framework_loads() -> None:
    code = """
import sys
from mlxintro.backends import registry
from mlxintro.backends.errors import UsageError
try:
    registry.open_backend("qwen2.5-7", "torch")
except UsageError as error:
    print(error, "torch" in sys.modules)
"""
    said = python(code).stdout
    assert "qwen2.5-7b" in said
    assert said.strip().endswith("False")


def test_the_fake_backend_opens_without_files_or_lock() -> None:
    with registry.open_backend("null", "fake", batch_size=3) as backend:
        assert backend.info.backend == "fake"


@pytest.mark.parametrize("name", ["torch", "mlx"])
def test_a_local_model_opens_on_either_backend(tiny: Callable[[str], Path], name: str) -> None:
    if name == "mlx":
        pytest.importorskip("mlx.core")
    with registry.open_backend(str(tiny("qwen2")), name, device="cpu", batch_size=2) as backend:
        assert backend.info.backend == name
        assert backend.info.architecture == "qwen2"
        assert backend.info.revision.startswith("sha256:")


@pytest.mark.slow
def test_a_model_from_a_hub_opens(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    code = """
import json
from mlxintro.backends import registry
from mlxintro.backends.base import Prompt, Request, Sampling
steps = []
with registry.open_backend("acme/tiny", "torch", device="cpu", progress=lambda *step: steps.append(step)) as backend:
    done = list(backend.generate([Request(Prompt((5, 6, 7)), Sampling(max_tokens=4))]))
    print(json.dumps([backend.info.revision, len(done), steps[-1][0] == steps[-1][1]]))
"""
    with serve({"acme/tiny": Repository(tiny("qwen2"))}) as hub:
        done = python(code, HF_ENDPOINT=hub.endpoint, HF_HOME=str(tmp_path), NO_PROXY="127.0.0.1", HF_HUB_OFFLINE="0")
    assert json.loads(done.stdout.splitlines()[-1]) == [COMMIT, 1, True], done.stderr


def test_a_model_larger_than_the_machine_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    """The hub's own figures decide: sizes are announced, nothing is sent."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "dtype": "bfloat16"}))
    (folder / "model.safetensors").write_bytes(bytes(20_000))
    code = """
from mlxintro.backends import registry
from mlxintro.backends.errors import ModelError
try:
    registry.open_backend("acme/huge", "torch", device="cpu")
except ModelError as error:
    print(error)
"""
    with serve({"acme/huge": Repository(folder)}) as hub:
        hub.announced["model.safetensors"] = 10**14
        settings = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
            "HF_HUB_OFFLINE": "0",
        }
        said, err = code_started(code, {**os.environ, "HF_HUB_OFFLINE": "0", **settings}).communicate(timeout=60)
        assert "acme/huge does not fit on cpu: it needs about 210000" in said, err
        assert hub.ranges("model.safetensors") == []


HOLD = """
import sys, time
from pathlib import Path
from mlxintro.backends.machine import lock
held = lock.hold("qwen2.5-32b", 8 * 2**30, folder=Path(folder))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[StartedProcess]:
    """Another process with a large model."""
    process = code_started(f"folder = {str(tmp_path)!r}\n{HOLD}")
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "held"
    yield process
    process.kill()
    process.communicate()


def test_a_second_large_model_is_refused_with_who_holds_the_first(tmp_path: Path, holder: StartedProcess) -> None:
    with pytest.raises(KnownError, match=rf"process {holder.pid} has qwen2.5-32b in memory.*kill {holder.pid}"):
        lock.hold("qwen2.5-7b", HUGE, folder=tmp_path)


def test_small_models_do_not_wait(tmp_path: Path, holder: StartedProcess) -> None:
    assert lock.hold("smollm2", 538_090_408, folder=tmp_path) is None


def test_other_memory_has_a_lock_of_its_own(tmp_path: Path, holder: StartedProcess) -> None:
    held = lock.hold("qwen2.5-7b", HUGE, scope="cuda-0", folder=tmp_path)
    assert held is not None
    with held, pytest.raises(KnownError, match=r"is loading .* onto the same GPU"):
        lock.hold("qwen2.5-14b", HUGE, scope="cuda-0", folder=tmp_path)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_holds_nothing(tmp_path: Path, holder: StartedProcess, how: signal.Signals) -> None:
    os.kill(holder.pid, how)
    holder.wait()
    held = lock.hold("qwen2.5-7b", HUGE, folder=tmp_path)
    assert held is not None
    held.release()


def test_two_models_in_one_process_conflict_until_the_first_is_closed(tmp_path: Path) -> None:
    first = lock.hold("qwen2.5-7b", HUGE, folder=tmp_path)
    assert first is not None
    with pytest.raises(KnownError, match=r"this process already has qwen2.5-7b.*close it before opening qwen2.5-14b"):
        lock.hold("qwen2.5-14b", HUGE, folder=tmp_path)
    first.release()
    first.release()
    second = lock.hold("qwen2.5-14b", HUGE, folder=tmp_path)
    assert second is not None
    second.release()


def test_a_stale_note_is_not_believed(tmp_path: Path, holder: StartedProcess) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(dead.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "memory.json").write_text(json.dumps({"pid": dead.pid, "model": "gone"}))
    with pytest.raises(KnownError, match="another process has a large model"):
        lock.hold("qwen2.5-7b", HUGE, folder=tmp_path)


def test_closing_a_backend_releases_the_lock_and_failing_to_load_does_too(
    tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a tiny model counts as large, in a lock folder of this test's own.
    monkeypatch.setattr(lock, "LARGE", 1)
    monkeypatch.setattr(lock, "lock_folder", lambda: tmp_path)
    folder = str(tiny("llama"))
    first = registry.open_backend(folder, "torch", device="cpu")
    with pytest.raises(KnownError, match="this process already has"):
        registry.open_backend(folder, "torch", device="cpu")
    first.close()
    first.close()
    with pytest.raises(KnownError):
        registry.open_backend(folder, "torch", device="cpu", quantize="4bit")
    with registry.open_backend(folder, "torch", device="cpu"):
        pass


def test_a_library_that_breaks_while_importing_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so.99: cannot open\\nshared object')")
    code = """
from mlxintro.backends import registry
from mlxintro.backends.errors import PrerequisiteError
try:
    registry.open_backend("smollm2", "torch")
except PrerequisiteError as error:
    print(error)
"""
    done = python(code, PYTHONPATH=str(tmp_path))
    assert "libcudart.so.99: cannot open shared object" in done.stdout, done.stderr
    assert "reinstall" in done.stdout


QWEN = {
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "num_attention_heads": 28,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "dtype": "bfloat16",
}


def test_rows_of_a_batch_follow_from_free_memory_and_the_trials() -> None:
    shape = footprint.Shape.of(QWEN, 15_200_000_000)
    assert shape is not None
    # 28 layers, keys and values, 4 heads of 128, 16 bits: 57,344 bytes a position.
    assert shape.cached == 28 * 2 * 4 * 128 * 2
    trial = {"prompt_tokens": 400, "new_tokens": 112, "shared_prefix": 370}
    row = 512 * shape.cached
    for rows in (1, 2, 8, 64):
        # Between half as many rows of keys and values alone, and three times as many with everything else.
        assert footprint.rows_that_fit(shape, rows * row, **trial) <= rows
        assert footprint.rows_that_fit(shape, 3 * rows * row, **trial) >= rows
    assert footprint.rows_that_fit(shape, 10**12, **trial) == footprint.MOST_ROWS
    assert footprint.rows_that_fit(shape, 0, **trial) == 1
    short = footprint.rows_that_fit(shape, 10**9, prompt_tokens=50, new_tokens=10)
    assert short > footprint.rows_that_fit(shape, 10**9, prompt_tokens=3000, new_tokens=1000)


@pytest.mark.parametrize("free", [10**8, 10**9, 5 * 10**9, 2 * 10**10])
def test_the_number_of_rows_is_a_power_of_two(free: int) -> None:
    rows = footprint.rows_that_fit(footprint.Shape.of(QWEN, 15_200_000_000), free)
    assert rows.bit_count() == 1
