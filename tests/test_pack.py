"""A store as one file: whole although it is in use, and harmless when it comes from elsewhere."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.store.importing.pack import pack, unpack
from mlxintro.store.store import Store
from tests.cli import RUN, mlxintro


@pytest.fixture
def away(tmp_path: Path) -> Path:
    home = tmp_path / "away"
    done = mlxintro(home, *RUN, "--concepts", "ocean", "--trials", "1", "--controls", "1", "--name", "far")
    assert done.code == 0
    return home


def test_what_is_packed_comes_out_whole_with_its_vectors_and_twice_changes_nothing(away: Path, tmp_path: Path) -> None:
    file, near = tmp_path / "home.zip", tmp_path / "near"
    assert mlxintro(away, "runs", "pack", str(file)).code == 0
    assert "1 runs, " in mlxintro(near, "runs", "unpack", str(file)).err
    assert "0 runs, 0 trials, 0 grades" in mlxintro(near, "runs", "unpack", str(file)).err
    assert mlxintro(near, "runs", "export", "far").out == mlxintro(away, "runs", "export", "far").out
    there, here = ({path.name: path.read_bytes() for path in (one / "vectors").iterdir()} for one in (away, near))
    with Store(away / "mlxintro.db", read_only=True) as store:
        recorded = {one.file for one in store.vectors.all()}
    assert recorded
    assert here == {name: there[name] for name in recorded}, "and none that the store does not know"


def test_a_store_in_use_is_packed_with_what_was_committed(away: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.zip"
    with (
        Store(away / "mlxintro.db") as writing,
        Store(away / "mlxintro.db", read_only=True) as reading,
        writing.database.write() as db,
    ):
        db.execute("UPDATE runs SET name = 'half way'")
        assert pack(reading, file) == (1, 1)
    with Store(tmp_path / "new.db") as store:
        unpack(store, file)
        assert [run.name for run in store.runs.all()] == ["far"]


def test_what_else_is_in_the_file_goes_nowhere(away: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.zip"
    with Store(away / "mlxintro.db", read_only=True) as store:
        pack(store, file)
    with zipfile.ZipFile(file, "a") as packed:
        for name in ("../evil", "/tmp/evil-mlxintro", "vectors/../../evil.safetensors", "experiments.json"):
            packed.writestr(name, "evil")
        packed.writestr("vectors/b2-0.safetensors", "not recorded")
    target = tmp_path / "in" / "mlxintro.db"
    with Store(target) as store:
        unpack(store, file)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*evil*")}
    assert found == set()
    assert not Path("/tmp/evil-mlxintro").exists()
    assert not (target.parent / "experiments.json").exists()
    assert not (target.parent / "vectors" / "b2-0.safetensors").exists()


def test_a_file_that_is_no_packed_store_is_refused(away: Path, tmp_path: Path) -> None:
    whole = tmp_path / "p.zip"
    with Store(away / "mlxintro.db", read_only=True) as store:
        pack(store, whole)
    data = whole.read_bytes()
    bad = {"text": b"no zip", "cut": data[: len(data) // 2], "turned": data[:200] + b"\0" * 400 + data[600:]}
    with zipfile.ZipFile(tmp_path / "empty", "w") as packed:
        packed.writestr("x", "y")
    bad["empty"] = (tmp_path / "empty").read_bytes()
    with Store(tmp_path / "new.db") as store:
        for name, content in bad.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(KnownError):
                unpack(store, tmp_path / name)
        with pytest.raises(UsageError, match="there is no file"):
            unpack(store, tmp_path / "gone")
        assert store.runs.all() == []
