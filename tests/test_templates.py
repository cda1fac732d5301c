"""A chat template is a program from elsewhere: it ends, it writes what was said, and its day is the run's own."""

from __future__ import annotations

import datetime
import json
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.models.templates import ChatTemplate, TemplateError
from mlxintro.backends.models.tokenizer import ChatTokenizer

DAY = datetime.date(2025, 2, 3)
SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello there"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "And now?"},
]

GROWS = "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x GROW %}{% endfor %}{{ ns.x }}"
HOSTILE = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops over text": "{% set s = 'a' * 99999 %}{% for a in s %}{% for b in s %}{% endfor %}{% endfor %}",
    "doubling by ~": GROWS.replace("GROW", "~ ns.x"),
    "doubling by +": GROWS.replace("GROW", "+ ns.x"),
    "doubling a list": GROWS.replace("'ab'", "[1]").replace("GROW", "+ ns.x"),
    "a macro that calls itself twice": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "long text in a loop": "{% for i in range(9999) %}" + "x" * 20_000 + "{% endfor %}",
    "a block set in a loop": "{% set x %}{% for i in range(99999) %}" + "y" * 900 + "{% endfor %}{% endset %}",
    "multiplied text": "{{ 'a' * 1000000000 }}",
    "a power": "{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "centred": "{{ 'a' | center(1000000000) }}",
    "centred by a method": "{{ 'a'.center(1000000000) }}",
    "formatted": "{{ '%1000000000d' % 5 }}",
    "formatted by a method": "{{ '{:>1000000000}'.format(5) }}",
    "replaced": "{% set a = 'a' * 999 %}{% set b = a | replace('a', a) %}{{ b | replace('a', b) }}",
    "sliced": "{{ [1] | slice(1000000000) | list }}",
    "slow": "{% for i in range(9999) %}{{ range(99999) | sum }}{% endfor %}",
    "a wide date": "{{ strftime_now('%1000000000d') }}",
    "including": "{% include 'other' %}",
    "extending": "{% extends 'other' %}",
    "no template": "{% for %}",
    "out of the sandbox": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "into a namespace": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "refusing": "{{ raise_exception('never\nagain') }}",
}


def test_a_text_without_end_is_refused_before_it_is_made() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TemplateError):
            ChatTemplate("{{ 'a' * 300000000 }}").render({"messages": SAID}, DAY)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_template_is_one_line_within_seconds(kind: str) -> None:
    started = time.process_time()
    with pytest.raises(TemplateError) as error:
        ChatTemplate(HOSTILE[kind]).render({"messages": SAID}, DAY)
    assert "\n" not in str(error.value)
    assert str(error.value).strip()
    assert time.process_time() - started < 8


PLAIN = {
    "loop variables": "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.length }}{{ loop.nextitem.role if not loop.last }}{{ loop.cycle('a', 'b') }}"
    "{{ m.content | trim }}{% endfor %}",
    "loop controls": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m['content'] }}"
    "{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}",
    "filters": "{{ messages | map(attribute='role') | list | tojson }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ messages | tojson(indent=2) }}{{ 'é<' | tojson }}{{ [3, 1] | sort | join('-') }}",
    "macros and blocks": "{% macro say(m, end=true) -%} {{ m.role | upper }}: {{ m.content }}"
    "{{ '!' if end }} {%- endmacro %}"
    "{% set all %}{% for m in messages %}{{ say(m) }}{% endfor %}{% endset %}{{ all }}{{ all.split('!')[0] }}",
    "namespaces": "{% set ns = namespace(found=false, n=0) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + 1 %}"
    "{% if m.role == 'user' and not ns.found %}{% set ns.found = true %}{{ m.content ~ ns.n }}{% endif %}{% endfor %}",
    "dictionaries": "{% for k, v in {'a': 1, 'b': [2]}.items() %}{{ k }}={{ v }};{% endfor %}{{ dict(x=1).get('x') }}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "white space": "{%- for m in messages %}\n    {{- m.content }}\n  {%- endfor %}\n\n"
    "{% if add_generation_prompt %}\n>\n{% endif %}\n",
    "conditions": "{{ bos_token }}{% if tools is not none and tools %}T{% elif documents is defined %}D{% endif %}"
    "{{ nothing is defined }}{{ 'Be' in messages[0].content }}{{ '%s-%d' % ('a', 3) }}{{ '{}'.format(1) }}",
}


@pytest.mark.parametrize("kind", PLAIN)
def test_a_template_writes_what_transformers_writes_with_it(kind: str, tiny: Callable[[str], Path]) -> None:
    from transformers import AutoTokenizer

    reference: Any = AutoTokenizer.from_pretrained(tiny("llama"))
    reference.chat_template = PLAIN[kind]
    expected = reference.apply_chat_template(SAID, tokenize=False, add_generation_prompt=True)
    values = {**reference.special_tokens_map, "tools": None, "documents": None, "add_generation_prompt": True}
    template = ChatTemplate(PLAIN[kind])
    for _ in range(2):
        assert template.render({**values, "messages": SAID}, DAY) == expected


def test_the_date_is_the_one_that_is_given() -> None:
    template = ChatTemplate("{{ strftime_now('%d %b %Y, %H:%M') }}")
    assert template.dated
    assert template.render({}, DAY) == "03 Feb 2025, 00:00"
    assert not ChatTemplate("{{ messages }}").dated


@pytest.fixture
def with_template(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[[str], ChatTokenizer]:
    def load(template: str) -> ChatTokenizer:
        folder = shutil.copytree(tiny("llama"), tmp_path / "model", dirs_exist_ok=True)
        (folder / "chat_template.jinja").write_text(template)
        return ChatTokenizer.load(folder)

    return load


TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ CONTENT }}<|im_end|>{% endfor %}"
PARTS = TURNS.replace(
    "{{ CONTENT }}", "{% for c in m.content %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}"
)


def test_a_template_that_wants_parts_is_given_parts(with_template: Callable[[str], ChatTokenizer]) -> None:
    assert "Hello there" in with_template(PARTS).render(SAID[1:2]).text


@pytest.mark.parametrize(
    "content",
    ["'nothing'", "m.content[:3]", "m.content | upper", "'ocean'", "m.text"],
    ids=["constant", "cut", "changed", "other", "missing"],
)
def test_a_template_that_leaves_out_what_is_said_is_refused(
    with_template: Callable[[str], ChatTokenizer], content: str
) -> None:
    tokenizer = with_template(TURNS.replace("CONTENT", content))
    for said in ("Tell me about ocean", "ocean"):
        with pytest.raises(UsageError, match="leaves out what the user says"):
            tokenizer.render([{"role": "user", "content": said}])


def test_a_turn_whose_words_stand_in_another_is_still_missed(with_template: Callable[[str], ChatTokenizer]) -> None:
    last = with_template("<|im_start|>{{ messages[-1].content }}")
    with pytest.raises(UsageError, match="leaves out"):
        last.render([{"role": "user", "content": "bread"}, SAID[2], {"role": "user", "content": "Hi. bread again"}])


def test_thoughts_that_a_template_takes_out_of_earlier_turns_are_not_missed(
    with_template: Callable[[str], ChatTokenizer],
) -> None:
    tokenizer = with_template(TURNS.replace("CONTENT", "m.content.split('</think>')[-1]"))
    said = [SAID[1], {"role": "assistant", "content": "<think>why</think>Because."}, SAID[3]]
    assert "why" not in tokenizer.render(said).text


def test_the_day_belongs_to_what_identifies_the_prompts(with_template: Callable[[str], ChatTokenizer]) -> None:
    dated = with_template("{{ strftime_now('%d %b %Y') }}" + TURNS.replace("CONTENT", "m.content"))
    today = dated.template_hash
    dated.set_date(DAY)
    assert "03 Feb 2025" in dated.render(SAID).text
    assert dated.template_hash != today
    undated = with_template(TURNS.replace("CONTENT", "m.content"))
    before = undated.template_hash
    undated.set_date(DAY)
    assert undated.template_hash == before


def test_a_template_that_is_no_text_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("llama"), tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": 5}))
    with pytest.raises((ModelError, UsageError)) as error:
        ChatTokenizer.load(folder).render(SAID)
    assert "\n" not in str(error.value)
