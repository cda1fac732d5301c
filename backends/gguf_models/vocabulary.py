"""The tokenizer inside a GGUF file, as the files that transformers and mlx-lm read.

transformers builds it. What it would get wrong without a word is refused: a file that does not say by which rule its
tokenizer splits text, or says one that transformers does not know, would be read with GPT-2's.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from ..models.foreign import loading
from .container import GGUFContent

_SPLITTING = frozenset({"qwen2", "deepseek-r1-qwen", "llama-bpe", "llama3", "llama-v3", "smaug-bpe", "gpt-2", "smollm"})
"""Rules of byte-level tokenizers that are read rightly."""
_ENDS = frozenset({"<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>"})
"""Control tokens that end a reply, whether or not the file calls one of them its end: as llama.cpp has it."""
_CONTROL = 3


def end_ids(content: GGUFContent) -> list[int]:
    """Return the ids of the tokens that end a reply, the file's own first."""
    tokens, kinds = content.get("tokenizer.ggml.tokens", []), content.get("tokenizer.ggml.token_type", [])
    said = [content.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    marked = enumerate(zip(tokens, kinds, strict=False))
    named = [at for at, (token, kind) in marked if kind == _CONTROL and token in _ENDS]
    return list(dict.fromkeys([*(int(one) for one in said if one is not None), *named]))


def write(content: GGUFContent, folder: Path) -> None:
    """Write ``tokenizer.json``, its settings and the chat template, if there is one.

    Raises:
        ModelError: the file has no tokenizer, or one that cannot be read rightly.
    """
    kind, rule = content.get("tokenizer.ggml.model"), content.get("tokenizer.ggml.pre")
    if kind is None:
        raise ModelError(f"{content.path} holds no tokenizer: take a file converted by llama.cpp")
    if kind == "gpt2" and rule not in _SPLITTING:
        raise ModelError(
            f"{content.path} splits text by the rule {rule!r}, which is not known: convert the model again with a "
            "newer llama.cpp, or give its folder or hub id"
        )
    from transformers import AutoTokenizer

    with loading(f"no usable tokenizer in {content.path}", "give the model's folder or hub id"):
        tokenizer = AutoTokenizer.from_pretrained(content.path.parent, gguf_file=content.path.name)
        tokenizer.save_pretrained(folder)
