"""Chat templates with the structure of six families that think, in words of their own, and what is expected of each.

Only what concerns thoughts is kept: where the marks stand, which switch there is, what becomes of earlier thoughts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tiny import make_tiny


@dataclass(frozen=True)
class ThinkingFamily:
    """One family's template and how it is read, decided by hand."""

    template: str
    marks: tuple[str, ...]
    """Added tokens."""
    special: tuple[str, ...]
    """Added tokens that decoding leaves out."""
    off: str
    """What follows the question when the model is asked not to think."""
    on: str
    """What follows it when the model shall think."""
    empty: str
    """What follows it when an empty block is put in its mouth."""
    closing: str
    switch: bool
    unasked: bool


_CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\nSAID<|im_end|>\n{% endfor %}"
_HEADER = "{% if add_generation_prompt %}<|im_start|>assistant\nMORE{% endif %}"
_QWEN3 = _CHATML.replace(
    "SAID",
    "{% if m.role == 'assistant' and m.reasoning_content is string and loop.last %}"
    "{{ '<think>\\n' + m.reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + m.content.lstrip('\\n') }}"
    "{% elif m.role == 'assistant' %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}"
    "{% else %}{{ m.content }}{% endif %}",
) + _HEADER.replace(
    "MORE", "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)
_QWQ = _CHATML.replace(
    "SAID",
    "{% if m.role == 'assistant' %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}"
    "{% else %}{{ m.content }}{% endif %}",
) + _HEADER.replace("MORE", "<think>\n")
_R1 = (
    "{{ bos_token or '' }}{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}"
    "{% elif m.role == 'assistant' %}<|Assistant|>{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}<|endoftext|>{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
_SMOLLM3 = (
    "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
    "<|im_start|>system\nMode: {{ '/think' if enable_thinking else '/no_think' }}<|im_end|>\n"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.lstrip('\\n') }}<|im_end|>\n{% endfor %}"
    + _HEADER.replace("MORE", "{% if not enable_thinking %}{{ '<think>\\n\\n</think>\\n' }}{% endif %}")
)
_GLM = (
    "[gMASK]<sop>{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>"
    "{% if m.reasoning_content is string %}{{ '\\n<think>' + m.reasoning_content.strip() + '</think>' }}"
    "{% else %}{{ '\\n<think></think>' }}{% endif %}{{ '\\n' + m.content.strip() }}"
    "{% else %}<|{{ m.role }}|>\n{{ m.content }}"
    "{{ '/nothink' if m.role == 'user' and enable_thinking is defined and not enable_thinking else '' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>"
    "{{ '\\n<think></think>' if enable_thinking is defined and not enable_thinking else '' }}{% endif %}"
)
_HARMONY = (
    "<|start|>system<|message|>Reasoning: {{ reasoning_effort or 'medium' }}\n"
    "# Valid channels: analysis, commentary, final.<|end|>"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if m.thinking and loop.last and not add_generation_prompt %}"
    "<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}{{ '<|return|>' if loop.last else '<|end|>' }}"
    "{% else %}<|start|>{{ 'developer' if m.role == 'system' else m.role }}<|message|>{{ m.content }}<|end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
_THINK = ("<think>", "</think>")
_CHAT = "<|im_end|>\n<|im_start|>assistant\n"
_FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
_ANALYSIS = "<|channel|>analysis<|message|>"

THINKING_FAMILIES = {
    "qwen3": ThinkingFamily(
        _QWEN3,
        _THINK,
        (),
        f"{_CHAT}<think>\n\n</think>\n\n",
        f"{_CHAT}<think>\n",
        f"{_CHAT}<think>\n\n</think>\n\n",
        "\n</think>\n\n",
        switch=True,
        unasked=False,
    ),
    "qwq": ThinkingFamily(
        _QWQ,
        _THINK,
        (),
        f"{_CHAT}<think>\n",
        f"{_CHAT}<think>\n",
        f"{_CHAT}<think>\n\n</think>\n\n",
        "\n</think>\n\n",
        switch=False,
        unasked=True,
    ),
    "deepseek-r1": ThinkingFamily(
        _R1,
        _THINK,
        ("<|User|>", "<|Assistant|>"),
        "<|Assistant|><think>\n",
        "<|Assistant|><think>\n",
        "<|Assistant|><think>\n\n</think>\n\n",
        "\n</think>\n\n",
        switch=False,
        unasked=True,
    ),
    "smollm3": ThinkingFamily(
        _SMOLLM3,
        (),  # its marks are several tokens here
        (),
        f"{_CHAT}<think>\n\n</think>\n",
        f"{_CHAT}<think>\n",
        f"{_CHAT}<think>\n\n</think>\n",
        "\n</think>\n",
        switch=True,
        unasked=False,
    ),
    "glm": ThinkingFamily(
        _GLM,
        _THINK,
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
        "/nothink<|assistant|>\n<think></think>",
        "<|assistant|>\n<think>",
        "<|assistant|>\n<think></think>\n",
        "</think>\n",
        switch=True,
        unasked=False,
    ),
    "gpt-oss": ThinkingFamily(
        _HARMONY,
        (),
        ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"),
        "<|end|><|start|>assistant",
        f"<|end|><|start|>assistant{_ANALYSIS}",
        f"<|end|><|start|>assistant{_ANALYSIS}{_FINAL}",
        _FINAL,
        switch=False,
        unasked=True,
    ),
}


def thinking_tokenizer(tokenizer: Any, family: ThinkingFamily) -> Any:
    """Give a transformers tokenizer the template and the marks of a family; changed in place."""
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in family.marks])
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in family.special])
    tokenizer.chat_template = family.template
    return tokenizer


def make_thinking_tiny(name: str, folder: Path) -> Path:
    """Write a tiny random model that thinks like a family into a folder."""
    from transformers import AutoTokenizer

    make_tiny("qwen3" if name != "gpt-oss" else "llama", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    thinking_tokenizer(tokenizer, THINKING_FAMILIES[name]).save_pretrained(folder)
    return folder
