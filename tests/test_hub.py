"""Downloads against a hub on loopback, each in a process of its own, as a user would start it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlxintro.backends.adapters import peft_folder
from mlxintro.backends.errors import KnownError
from mlxintro.backends.training import AdapterShape
from tests.cli import StartedProcess, code_started
from tests.hub_server import COMMIT, Hub, Repository, serve, sha256
from tests.matrix import in_slow_tests

ROOT = Path(__file__).parents[1]
REPOSITORY = "acme/tiny-llama"
SHARD = "model-00001-of-00002.safetensors"

FETCH = f"""
from mlxintro.backends.models import hub
seen = []
folder = hub.fetch({REPOSITORY!r}, progress=lambda done, total, file: seen.append((done, total, file)))
report(folder=str(folder), seen=seen)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as published: two shards, and copies in other formats that nobody needs."""
    folder = tmp_path_factory.mktemp("repository")
    noise = np.random.default_rng(0)
    for number, tensor, size in ((1, "a", 31_000_000), (2, "b", 500_000)):
        count = size - 8 - 120
        header = {tensor: {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}
        content = (120).to_bytes(8, "little") + json.dumps(header).ljust(120).encode() + noise.bytes(count)
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(content)
    index = {"weight_map": {"a": SHARD, "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {}}))
    (folder / "pytorch_model.bin").write_bytes(noise.bytes(20_000))
    (folder / "consolidated.safetensors").write_bytes(noise.bytes(20_000))
    (folder / "model.Q4_K_M.gguf").write_bytes(noise.bytes(20_000))
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}")
    return folder


@pytest.fixture
def hub(files: Path) -> Iterator[Hub]:
    with serve({REPOSITORY: Repository(files)}) as hub:
        yield hub


def environment(hub: Hub, home: Path, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return kept | own | extra


def start(code: str, hub: Hub, home: Path, **extra: str) -> StartedProcess:
    """Start a process with code that calls ``report(...)``; a known error is reported as its type and message."""
    return code_started(program(code), environment(hub, home, **extra))


def program(code: str) -> str:
    return f"""
import json
from mlxintro.backends.errors import KnownError
def report(**values):
    print(json.dumps(values))
try:
{textwrap.indent(code, "    ")}
except KnownError as error:
    report(error=type(error).__name__, message=str(error))
"""


def run(code: str, hub: Hub, home: Path, **extra: str) -> dict[str, Any]:
    """Run code to its end."""
    process = start(code, hub, home, **extra)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return dict(json.loads(out.splitlines()[-1]))


def message(code: str, hub: Hub, home: Path, **extra: str) -> str:
    """The one line a user gets."""
    result = run(code, hub, home, **extra)
    assert "error" in result, result
    assert "\n" not in result["message"]
    return str(result["message"])


def test_a_model_arrives_whole_and_without_copies_in_other_formats(hub: Hub, files: Path, tmp_path: Path) -> None:
    result = run(FETCH, hub, tmp_path)
    folder = Path(result["folder"])
    assert folder.name == COMMIT
    arrived = {path.name: sha256(path) for path in folder.iterdir()}
    wanted = [
        SHARD,
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
    ]
    assert arrived == {name: sha256(files / name) for name in wanted}


def test_progress_grows_to_the_size_of_what_is_wanted(hub: Hub, files: Path, tmp_path: Path) -> None:
    seen = run(FETCH, hub, tmp_path)["seen"]
    total = sum(path.stat().st_size for path in files.glob("model*.safetensors"))
    total += sum(
        (files / name).stat().st_size for name in ("config.json", "tokenizer.json", "model.safetensors.index.json")
    )
    done = [step[0] for step in seen]
    assert {step[1] for step in seen} == {total}
    assert done == sorted(done)
    assert done[-1] == total
    assert len(done) >= 4


@pytest.mark.parametrize("how", [signal.SIGKILL, in_slow_tests(signal.SIGINT)])
def test_a_stopped_download_continues_where_it_stopped(
    hub: Hub, files: Path, tmp_path: Path, how: signal.Signals
) -> None:
    hub.pause = 0.1
    process = start(FETCH, hub, tmp_path)
    deadline = time.monotonic() + 30
    while not partial_bytes(tmp_path):
        assert time.monotonic() < deadline, "nothing arrived"
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate(timeout=15)
    arrived = partial_bytes(tmp_path)
    hub.pause = 0
    while not hub.ranges(SHARD):
        assert time.monotonic() < deadline, "the server did not notice"
        time.sleep(0.02)
    hub.log.clear()
    folder = Path(run(FETCH, hub, tmp_path)["folder"])
    assert hub.ranges(SHARD) == [f"bytes={arrived}-"]
    assert hub.bytes_sent(SHARD) == 31_000_000 - arrived
    assert sha256(folder / SHARD) == sha256(files / SHARD)


def partial_bytes(home: Path) -> int:
    """Bytes of the large shard that an unfinished download has on disk."""
    return max((path.stat().st_size for path in home.rglob("*.incomplete")), default=0)


def test_a_broken_connection_is_taken_up_again_in_the_same_run(hub: Hub, files: Path, tmp_path: Path) -> None:
    hub.cut_after[SHARD] = [21_000_000]
    folder = Path(run(FETCH, hub, tmp_path)["folder"])
    first, second = hub.ranges(SHARD)
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 21_000_000
    assert sha256(folder / SHARD) == sha256(files / SHARD)


def test_a_file_that_arrives_damaged_is_refused_and_fetched_anew(hub: Hub, files: Path, tmp_path: Path) -> None:
    hub.damaged.add(SHARD)
    assert "damaged" in message(FETCH, hub, tmp_path)
    assert partial_bytes(tmp_path) == 0
    hub.damaged.clear()
    folder = Path(run(FETCH, hub, tmp_path)["folder"])
    assert sha256(folder / SHARD) == sha256(files / SHARD)


def test_a_model_on_disk_never_touches_the_network(hub: Hub, tmp_path: Path) -> None:
    folder = run(FETCH, hub, tmp_path)["folder"]
    hub.requests.clear()
    resolve = f"""
from mlxintro.backends.models import sources as models
source = models.resolve({REPOSITORY!r}, "torch")
report(folder=str(source.folder), revision=source.revision, bytes=source.weight_bytes)
"""
    result = run(resolve, hub, tmp_path)
    assert result == {"folder": folder, "revision": COMMIT, "bytes": 31_500_000}
    assert hub.requests == []
    # Nor when asked for by revision, nor when the network is declared absent.
    assert run(resolve.replace(REPOSITORY, f"{REPOSITORY}@main"), hub, tmp_path, HF_HUB_OFFLINE="1") == result
    assert hub.requests == []


def test_an_unfinished_model_is_listed_as_such(hub: Hub, tmp_path: Path) -> None:
    listing = """
from mlxintro.backends.models import sources as models
report(found=[[m.name, m.complete, m.weight_bytes] for m in models.installed() if m.name != "smollm2"])
"""
    assert run(listing, hub, tmp_path)["found"] == []
    run(f"from mlxintro.backends.models import hub\nhub.config({REPOSITORY!r})\nreport()", hub, tmp_path)
    assert run(listing, hub, tmp_path)["found"] == [[REPOSITORY, False, 0]]
    run(FETCH, hub, tmp_path)
    assert run(listing, hub, tmp_path)["found"] == [[REPOSITORY, True, 31_500_000]]


def test_a_gated_repository_says_where_to_accept_its_licence(hub: Hub, tmp_path: Path) -> None:
    hub.repositories[REPOSITORY].gated = True
    for code in (
        FETCH,
        f"from mlxintro.backends.models import sources as models\nmodels.resolve({REPOSITORY!r}, 'torch')",
    ):
        text = message(code, hub, tmp_path)
        assert f"{hub.endpoint}/{REPOSITORY}" in text
        assert "hf auth login" in text


def test_errors_name_the_way_out(hub: Hub, tmp_path: Path) -> None:
    code = """
from mlxintro.backends.models import hub
from mlxintro.backends.errors import KnownError
said = {}
for name in ("acme/missing", "acme/tiny-llama@v9", "not a hub id"):
    try:
        hub.fetch(*hub.split(name))
    except KnownError as error:
        said[name] = str(error)
report(**said)
"""
    said = run(code, hub, tmp_path)
    assert "no model acme/missing" in said["acme/missing"]
    assert "no revision 'v9'" in said["acme/tiny-llama@v9"]
    assert "owner/name" in said["not a hub id"]


def test_offline_and_a_dead_hub_point_to_other_models(hub: Hub, tmp_path: Path) -> None:
    text = message(FETCH, hub, tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in text
    assert f"mlxintro models fetch {REPOSITORY}" in text
    assert "smollm2" in text
    # Port 9 of loopback: nobody listens there.
    text = message(FETCH, hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in text
    assert "smollm2" in text


def test_a_hub_out_of_order_is_told_apart_from_a_missing_model(hub: Hub, tmp_path: Path) -> None:
    hub.status = 503
    assert "503" in message(FETCH, hub, tmp_path)


def test_a_full_disk_is_named_and_keeps_what_arrived(hub: Hub, files: Path, tmp_path: Path) -> None:
    # The largest file a process may write stands for the end of the disk.
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (12_000_000, 12_000_000))" + FETCH
    assert "disk is full" in message(limited, hub, tmp_path)
    kept = partial_bytes(tmp_path)
    assert kept > 0
    hub.log.clear()
    folder = Path(run(FETCH, hub, tmp_path)["folder"])
    assert hub.ranges(SHARD) == [f"bytes={kept}-"]
    assert sha256(folder / SHARD) == sha256(files / SHARD)


def test_a_repository_of_another_format_is_refused(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "gguf"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.Q4_K_M.gguf").write_bytes(b"GGUF")
    hub.repositories[REPOSITORY] = Repository(folder)
    assert "no model*.safetensors" in message(FETCH, hub, tmp_path / "home")


@pytest.mark.parametrize(
    ("backend", "advice"),
    [
        ("mlx", "pip install -U mlx-lm"),
        pytest.param("torch", "pip install -U transformers", marks=pytest.mark.slow),
    ],
)
def test_an_unknown_architecture_is_refused_before_its_weights_are_fetched(
    hub: Hub, files: Path, tmp_path: Path, backend: str, advice: str
) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    for path in files.glob("model*"):
        (folder / path.name).symlink_to(path)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(json.dumps({"model_type": "abacus9"}))
    hub.repositories[REPOSITORY] = Repository(folder)
    text = message(
        f"from mlxintro.backends.models import sources as models\nmodels.resolve({REPOSITORY!r}, {backend!r})",
        hub,
        tmp_path / "home",
    )
    assert "abacus9" in text
    assert advice in text
    assert hub.ranges(SHARD) == []


def test_the_librarys_own_lines_about_failed_attempts_are_kept_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import huggingface_hub

    from mlxintro.backends.models import hub

    log = logging.getLogger("huggingface_hub.utils._http")

    def failing(*_: object, **__: object) -> str:
        log.warning("Retrying in 8s")
        raise OSError("refused")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", failing)
    with pytest.raises(KnownError):
        hub.config("o/n")
    assert caplog.records == []
    log.warning("what others do with the library is theirs")
    assert len(caplog.records) == 1


ADAPTER = "acme/notices"


@pytest.fixture
def adapter(tmp_path: Path, tiny: Callable[[str], Path]) -> Path:
    """An adapter of the tiny model as published, with a pickled twin that nobody may open."""
    folder = tmp_path / "published"
    rng = np.random.default_rng(0)
    name = "model.layers.1.mlp.down_proj"
    config = json.loads((tiny("llama") / "config.json").read_text())
    wide, narrow = config["intermediate_size"], config["hidden_size"]
    down, up = rng.standard_normal((2, wide)).astype("f4"), rng.standard_normal((narrow, 2)).astype("f4")
    peft_folder.write(folder, {name: (down, up)}, AdapterShape(rank=2, first_layer=1), "tiny")
    (folder / "adapter_model.bin").write_bytes(rng.bytes(20_000))
    (folder / "README.md").write_text("An adapter.")
    return folder


@pytest.mark.slow
def test_an_adapter_comes_from_the_hub_speaks_in_a_run_and_stands_in_its_identity(
    adapter: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    command = ("run", "injected-thoughts", "--backend", "torch", "-m", str(tiny("llama")), "--concepts", "ocean")
    small = ("--controls", "none", "--strengths", "1", "--max-tokens", "3", "--json")
    home = tmp_path / "home"
    home.mkdir()
    with serve({ADAPTER: Repository(adapter)}) as hub:
        settings = environment(hub, tmp_path / "hub")
        settings["MLXINTRO_HOME"] = str(home)

        def run_command(*more: str) -> subprocess.CompletedProcess[str]:
            whole = [sys.executable, "-m", "mlxintro", *command, *small, *more]
            return subprocess.run(whole, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120)

        done = run_command("--adapter", ADAPTER, "--name", "adapted")
        assert done.returncode == 0, done.stderr
        asked = {one.file for one in hub.log if one.method == "GET"}
        assert asked == {"adapter_config.json", "adapter_model.safetensors"}
        again = len(hub.requests)
        plain = run_command("--name", "plain")
        assert plain.returncode == 0, plain.stderr
        hub.status = 500  # what is here needs no network
        second = run_command("--adapter", ADAPTER, "--name", "second")
        assert second.returncode == 0, second.stderr
        assert len(hub.requests) == again
        missing = run_command("--adapter", "acme/absent", "--name", "none")
        assert missing.returncode != 0
        assert len(missing.stderr.strip().splitlines()) <= 3
        assert "Traceback" not in missing.stderr
    with sqlite3.connect(home / "mlxintro.db") as store:
        replies = dict(store.execute("select r.name, t.response from trials t join runs r on r.id = t.run").fetchall())
        models = {name: json.loads(model) for name, model in store.execute("select name, model from runs")}
    assert ADAPTER in str(models["adapted"])
    assert ADAPTER not in str(models["plain"])
    assert replies["adapted"] == replies["second"] != replies["plain"]
