"""Features of sparse autoencoders as vectors: the decoder's row, where it was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlxintro.backends.errors import UsageError
from mlxintro.vectors.formats.reader import read_vector_file
from tests.wrong_vectors import rows, sae_folder


@pytest.mark.parametrize(
    ("hook", "layer", "site"),
    [
        ("blocks.2.hook_resid_post", 2, "resid_post"),
        ("blocks.2.hook_resid_pre", 1, "resid_post"),
        ("blocks.3.hook_mlp_out", 3, "mlp_out"),
        ("blocks.0.hook_attn_out", 0, "attn_out"),
    ],
)
def test_a_feature_of_an_autoencoder_is_its_decoder_row_where_it_was_trained(
    hook: str, layer: int, site: str, tmp_path: Path
) -> None:
    decoder = sae_folder(tmp_path / "sae", hook)
    found = read_vector_file(tmp_path / "sae", index=4)
    assert found.directions.layers == (layer,)
    assert found.directions.site == site
    np.testing.assert_array_equal(found.directions.direction[0], decoder[4])
    assert found.facts["feature"] == "4"


def test_newer_configurations_keep_the_hook_in_a_table_of_their_own(tmp_path: Path) -> None:
    decoder = sae_folder(tmp_path / "sae", "", metadata={"hook_name": "blocks.1.hook_resid_post"})
    config = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    del config["hook_name"]
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps(config))
    found = read_vector_file(tmp_path / "sae" / "sae_weights.safetensors", index=0)
    assert found.directions.layers == (1,)
    np.testing.assert_array_equal(found.directions.direction[0], decoder[0])


def test_gemma_scopes_archive_is_read_with_a_layer(tmp_path: Path) -> None:
    decoder = rows(6, 16, seed=5)
    np.savez_compressed(tmp_path / "params.npz", W_enc=rows(16, 6), W_dec=decoder)
    found = read_vector_file(tmp_path / "params.npz", index=5, layer=3)
    np.testing.assert_array_equal(found.directions.direction[0], decoder[5])
    with pytest.raises(UsageError, match="give --layer"):
        read_vector_file(tmp_path / "params.npz", index=5)


@pytest.mark.parametrize(
    ("hook", "index", "message"),
    [
        ("blocks.2.hook_resid_post", 6, "features 0 to 5, and no feature 6"),
        ("blocks.2.attn.hook_z", 0, "where nothing can be injected"),
        ("blocks.0.hook_resid_pre", 0, "before the first block"),
    ],
)
def test_a_feature_that_cannot_be_injected_is_refused(hook: str, index: int, message: str, tmp_path: Path) -> None:
    sae_folder(tmp_path / "sae", hook)
    with pytest.raises(UsageError, match=message):
        read_vector_file(tmp_path / "sae", index=index)


def test_a_pickled_autoencoder_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "sae_weights.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UsageError, match=r"holds sae_weights\.pt, which is never opened"):
        read_vector_file(tmp_path, index=0)
