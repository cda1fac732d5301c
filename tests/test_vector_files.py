"""Vectors come in from files of other programs and go out to them exactly; what does not fit is refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from mlxintro.backends.errors import KnownError, UsageError
from mlxintro.backends.simulated import backend as fake
from mlxintro.protocol import presets
from mlxintro.protocol.study import make_study
from mlxintro.running import launch
from mlxintro.store.store import Store
from mlxintro.vectors.cache import VectorCache
from mlxintro.vectors.extraction import extract
from mlxintro.vectors.formats import reader, untrusted
from mlxintro.vectors.formats.reader import read_vector_file
from mlxintro.vectors.formats.writer import export
from mlxintro.vectors.library import Bringing, VectorLibrary, with_references
from mlxintro.vectors.settings import recipe_for
from tests.cli import mlxintro
from tests.wrong_vectors import WRONG, file_of, npz_of, rows, sae_folder

FAKE = ("-m", "detector", "--backend", "fake")
HERE = Path(__file__).parent
BY_REPENG = HERE / "data" / "repeng_0.4.gguf"
"""Written by repeng 0.4: ControlVector("llama", {n: generator.normal(size=16) for n in (3, 2, 1)}).export_gguf."""


def drawn_by_repeng() -> dict[int, Any]:
    """The numbers of that file, drawn again."""
    generator = np.random.default_rng(11)
    return {layer: generator.normal(size=16).astype(np.float32) for layer in (3, 2, 1)}


def test_a_file_that_repeng_wrote_is_read_exactly() -> None:
    found = read_vector_file(BY_REPENG)
    assert found.directions.layers == (1, 2, 3)
    assert found.facts["controlvector.model_hint"] == "llama"
    for layer, row in drawn_by_repeng().items():
        np.testing.assert_array_equal(found.directions.direction[layer - 1], row)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "mlxintro.db") as opened:
        yield opened


def extracted(store: Store, word: str = "ocean") -> Any:
    """A vector of the simulated subject, kept and recorded as a run does."""
    with fake.load() as subject:
        recipe = recipe_for(presets.load("lindsey").extraction, word, subject.info)
        cache = VectorCache(store.path.parent / "vectors")
        vector = extract(subject, [recipe], cache)[recipe.key]
        store.vectors.add(cache.record_of(vector))
        return vector


@pytest.mark.parametrize("file_format", ["safetensors", "npz", "gguf"])
def test_what_is_written_is_read_back_exactly(file_format: str, store: Store, tmp_path: Path) -> None:
    vector = extracted(store)
    library = VectorLibrary(store)
    target = tmp_path / f"out.{file_format}"
    written = export(library.load(library.find("ocean")), target, file_format)
    back = read_vector_file(target)
    assert back.directions.layers == written
    assert 0 not in written or file_format != "gguf"
    np.testing.assert_array_equal(back.directions.direction, vector.direction[list(written)])
    assert Bringing.of(back, target, None, None).word == "ocean"


def test_our_safetensors_hold_the_recipe_and_any_reader_reads_them(store: Store, tmp_path: Path) -> None:
    from safetensors import safe_open

    vector = extracted(store)
    library = VectorLibrary(store)
    export(library.load(library.find("ocean")), tmp_path / "out.safetensors", "safetensors")
    np.testing.assert_array_equal(load_file(tmp_path / "out.safetensors")["resid_norms"], vector.resid_norms)
    with safe_open(tmp_path / "out.safetensors", "numpy") as file:
        recipe = json.loads(file.metadata()["recipe"])
    assert recipe["template"] == "Tell me about {word}"
    assert recipe["model"] == vector.recipe.model


def test_repengs_reader_reads_what_we_write(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install repeng (0.4, without its dependencies) to run this."""
    # repeng 0.4 names a type that NumPy 2 has no more.
    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    repeng = pytest.importorskip("repeng.extract")
    vector = extracted(store)
    library = VectorLibrary(store)
    written = export(library.load(library.find("ocean")), tmp_path / "out.gguf", "gguf")
    theirs = repeng.ControlVector.import_gguf(tmp_path / "out.gguf")
    assert tuple(sorted(theirs.directions)) == written
    for layer, row in theirs.directions.items():
        np.testing.assert_array_equal(row, vector.direction[layer])
    theirs.export_gguf(tmp_path / "again.gguf")
    again = read_vector_file(tmp_path / "again.gguf")
    np.testing.assert_array_equal(again.directions.direction, vector.direction[list(written)])


def test_gguf_tensors_carry_llama_cpps_names_and_none_for_layer_0(store: Store, tmp_path: Path) -> None:
    from gguf import GGUFReader

    extracted(store)
    library = VectorLibrary(store)
    export(library.load(library.find("ocean")), tmp_path / "out.gguf", "gguf")
    reader = GGUFReader(tmp_path / "out.gguf")
    assert reader.fields["general.architecture"].contents() == "controlvector"
    assert reader.fields["controlvector.layer_count"].contents() == len(reader.tensors)
    assert [tensor.name for tensor in reader.tensors] == [f"direction.{n + 1}" for n in range(len(reader.tensors))]


# Sparse autoencoders


# Everything from outside is untrusted


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_holds_no_usable_vector_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    make, message = WRONG[kind]
    with pytest.raises(UsageError, match=message) as caught:
        read_vector_file(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(UsageError, match="no regular file"):
        read_vector_file(tmp_path / "a.npz")


@pytest.mark.parametrize("largest", [2**24, pytest.param(untrusted.LARGEST, marks=pytest.mark.slow)])
def test_an_archive_that_unpacks_to_more_than_any_vector_is_not_unpacked(
    tmp_path: Path, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LARGEST", largest)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 1024)})
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("direction.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.getvalue())
        for _ in range(largest // 2**20 + 1):
            member.write(bytes(2**20))
    with pytest.raises(UsageError, match="unpacks to more than any vector"):
        read_vector_file(tmp_path / "a.npz")


def test_a_gguf_whose_lengths_lie_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """gguf's own reader would walk a list of 2**60 numbers."""
    key = b"general.x"
    lie = struct.pack("<4sIQQ", b"GGUF", 3, 1, 1) + struct.pack("<Q", len(key)) + key
    for body in (struct.pack("<IIQ", 9, 0, 2**60), struct.pack("<IIQ", 9, 8, 2**40), struct.pack("<IQ", 8, 2**62)):
        with pytest.raises(UsageError):
            read_vector_file(file_of(tmp_path / "a.gguf", lie + body + bytes(64)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=6), keep=st.integers(0, 512)
)
def test_a_damaged_gguf_gives_a_vector_or_one_line(cuts: list[tuple[int, int]], keep: int, tmp_path: Path) -> None:
    data = bytearray(BY_REPENG.read_bytes())
    for at, value in cuts:
        data[at] = value
    path = file_of(tmp_path / "a.gguf", bytes(data[:keep] if keep > 30 else data))
    with suppress(UsageError):
        assert np.isfinite(read_vector_file(path).directions.direction).all()


def test_our_own_file_with_a_bit_turned_is_damaged(store: Store, tmp_path: Path) -> None:
    extracted(store)
    library = VectorLibrary(store)
    export(library.load(library.find("ocean")), tmp_path / "out.safetensors", "safetensors")
    data = bytearray((tmp_path / "out.safetensors").read_bytes())
    data[-3] ^= 1
    with pytest.raises(UsageError, match="checksum does not match"):
        read_vector_file(file_of(tmp_path / "out.safetensors", bytes(data)))


# An imported vector is a concept like any other


def bring(store: Store, direction: Any, name: str, word: str = "ocean", **changes: Any) -> None:
    path = store.path.parent / "mine.npz"
    npz_of(path, direction=direction, **changes)
    VectorLibrary(store).bring_in([Bringing.of(read_vector_file(path), path, name, word)])


@pytest.mark.parametrize("experiment", ["injected-thoughts", "localization"])
def test_a_study_injects_exactly_the_imported_numbers(experiment: str, store: Store) -> None:
    with fake.load() as subject:
        direction = rows(subject.info.layers, subject.info.width)
        bring(store, direction, "mine")
        study = make_study(
            experiment=experiment, model="fake", concepts=("vector:mine",), layers=(3,), strengths=(2.0,), unit="raw",
            controls="none", max_tokens=1,
        )  # fmt: skip
        checked = launch.check(with_references(study, store.path))
        planned = launch.plan(checked, subject)
        session = launch.prepare(store, subject, planned)
        (key,) = planned.recipes
        spec = next(iter(spec for spec in planned if spec.injections))
        assert spec.concept == "ocean"
        assert spec.injections[0].vector == key
        added, dose = session.vectors[key].scaled(3, 2.0, "raw")
        np.testing.assert_array_equal(added, 2 * direction[3])
        # The norm of the stream is the model's own, as for vectors that are extracted.
        recipe = recipe_for(checked.preset.extraction, "ocean", subject.info)
        np.testing.assert_array_equal(
            session.vectors[key].resid_norms, extract(subject, [recipe])[recipe.key].resid_norms
        )
        assert dose.resid == pytest.approx(
            np.linalg.norm(2 * direction[3]) / session.vectors[key].resid_norms[3], rel=1e-5
        )


def test_vectors_in_the_type_that_models_compute_in_are_read(tmp_path: Path) -> None:
    """bfloat16, which NumPy does not have: as PyTorch rounds to it and widens it again."""
    import torch
    from safetensors.torch import save_file as save_torch

    given = torch.from_numpy(rows(5, 16)).to(torch.bfloat16)
    save_torch({"layer_2": given[0], "layer_4": given[1]}, tmp_path / "half.safetensors")
    found = read_vector_file(tmp_path / "half.safetensors")
    assert found.directions.layers == (2, 4)
    np.testing.assert_array_equal(found.directions.direction, given[:2].float().numpy())
    sae_folder(tmp_path / "sae")
    weights = tmp_path / "sae" / "sae_weights.safetensors"
    for kind in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        # The decoder is not the first tensor of the file.
        save_torch({"W_dec": given.to(kind), "W_enc": given.T.to(torch.float64).contiguous()}, weights)
        for index in (0, 3, 4):
            row = read_vector_file(tmp_path / "sae", index=index).directions.direction
            np.testing.assert_array_equal(row, given[index : index + 1].float().numpy())


def test_a_vector_that_does_not_fit_is_refused_before_anything_runs(store: Store) -> None:
    with fake.load() as subject:
        info = subject.info
        bring(store, rows(info.layers, info.width + 1), "wide")
        bring(store, rows(info.layers + 1, info.width), "deep")
        bring(store, rows(2, info.width), "two", layers=np.array([1, 2]))
        bring(store, rows(3, info.width), "gap", layers=np.array([1, 2, 4]))
        bring(store, rows(1, info.width), "one", layers=np.array([2]))
        for name, message in (
            ("wide", f"width {info.width + 1}, and the model {info.width}"),
            ("deep", f"reaches layer {info.layers}"),
            ("two", "no direction at layer 3: it has layers 1 to 2, so give --layers 1-2"),
            ("gap", "no direction at layer 3: it has layers 1-2, 4, so give --layers 1-2,4"),
            ("one", "no direction at layer 3: it has only layer 2, so give --layers 2"),
            ("none", "no imported vector called 'none'"),
        ):
            study = make_study(model="fake", concepts=(f"vector:{name}",), layers=(3,), controls="none")
            with pytest.raises(UsageError, match=message):
                launch.plan(launch.check(with_references(study, store.path)), subject)


def test_two_vectors_for_one_concept_in_one_study_are_refused(store: Store) -> None:
    bring(store, rows(), "one")
    study = with_references(make_study(model="fake", concepts=("ocean", "vector:one")), store.path)
    with pytest.raises(UsageError, match="two different vectors"):
        launch.check(study)


def test_a_name_is_not_taken_from_another_vector_unless_asked(store: Store) -> None:
    bring(store, rows(seed=1), "mine")
    bring(store, rows(seed=1), "mine")
    with pytest.raises(UsageError, match="already another vector called 'mine'"):
        bring(store, rows(seed=2), "mine")
    before = VectorLibrary(store).reference("mine")
    path = store.path.parent / "mine.npz"
    VectorLibrary(store).bring_in([Bringing.of(read_vector_file(path), path, "mine", "ocean")], replace=True)
    after = VectorLibrary(store).reference("mine")
    assert before is not None
    assert after is not None
    assert before.content != after.content


def test_a_file_exchanged_beside_the_store_is_not_used(store: Store) -> None:
    bring(store, rows(seed=1), "mine")
    bring(store, rows(seed=2), "other")
    library = VectorLibrary(store)
    one, two = library.find("mine"), library.find("other")
    folder = store.path.parent / "vectors"
    (folder / one.file).write_bytes((folder / two.file).read_bytes())
    with pytest.raises(KnownError, match="extract or import it again"):
        library.load(one)


def test_imported_vectors_come_along_when_a_store_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Store(tmp_path / "a" / "mlxintro.db") as theirs:
        bring(theirs, rows(seed=1), "mine")
        bring(theirs, rows(seed=2), "broken")
        record = VectorLibrary(theirs).find("broken")
        file = tmp_path / "a" / "vectors" / record.file
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with Store(tmp_path / "b" / "mlxintro.db") as ours:
        imported = ours.import_from(tmp_path / "a" / "mlxintro.db")
        library = VectorLibrary(ours)
        np.testing.assert_array_equal(library.load(library.find("mine")).directions.direction, rows(seed=1))
        assert any(record.file in problem for problem in imported.vector_problems)
        assert not (tmp_path / "b" / "vectors" / record.file).exists()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "-x", "", "x" * 99, "a\0b"])
def test_a_name_that_could_not_be_typed_is_refused(name: str, tmp_path: Path) -> None:
    path = npz_of(tmp_path / "mine.npz", direction=rows())
    file = read_vector_file(path)
    if name:
        with pytest.raises(UsageError, match="no name"):
            Bringing.of(file, path, name, "ocean")
    with pytest.raises(UsageError):
        Bringing.of(replace(file, facts={"word": name.lstrip("-x") or "\x1b"}), path, "fine", None)


# Commands


def test_the_commands_bring_in_show_list_and_write_a_vector(tmp_path: Path) -> None:
    with fake.load() as subject:
        source = npz_of(tmp_path / "sea.npz", direction=rows(subject.info.layers, subject.info.width))
    brought = mlxintro(tmp_path, "vectors", "import", str(source), "--concept", "ocean", *FAKE)
    assert brought.code == 0, brought.err
    assert "residual" in brought.out
    assert "sea" in mlxintro(tmp_path, "vectors", "list").out
    shown = mlxintro(tmp_path, "vectors", "show", "sea", "--json").lines[0]
    assert shown["source"] == "sea.npz"
    assert shown["concept"] == "ocean"
    out = mlxintro(tmp_path, "vectors", "export", "sea", "-o", str(tmp_path / "sea.gguf"))
    assert out.code == 0, out.err
    assert read_vector_file(tmp_path / "sea.gguf").facts["mlxintro.word"] == "ocean"
    used = mlxintro(tmp_path, "extract", "vector:sea", *FAKE, "--json")
    assert used.code == 0, used.err
    assert used.lines[0]["method"] == "imported"


def test_extract_lets_the_list_know_and_export_finds_it(tmp_path: Path) -> None:
    made = mlxintro(tmp_path, "extract", "bread", *FAKE, "--recipe", "pca", "--json")
    assert made.code == 0, made.err
    listed = mlxintro(tmp_path, "vectors", "list", "--json").lines
    assert [one["hash"] for one in listed] == [made.lines[0]["recipe"]]
    out = mlxintro(tmp_path, "vectors", "export", listed[0]["hash"][:9], "-o", str(tmp_path / "bread.npz"))
    assert out.code == 0, out.err
    assert mlxintro(tmp_path, "vectors", "export", "bread", "-o", str(tmp_path / "bread.what")).code == 2
