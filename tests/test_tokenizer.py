"""Tokenizers are built here with the ``tokenizers`` library: byte-level BPE, Metaspace Unigram, and BPE with bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mlxintro.backends.errors import ModelError, UsageError
from mlxintro.backends.models.tokenizer import ChatTokenizer

CORPUS = [
    "The answer is yes. The answer is no. Tell me about the ocean, the mountains and the bread.",
    "Human: Do you detect an injected thought?\n\nAssistant: I do not detect an injected thought.",
    "你好 世界 naïve café 😀",
]
TRICKY = "Hi  there,\n\n 你好 😀👨‍👩‍👧 cafe\u0301 e\u0301x  end "
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "[{{ m['role'] }}]{{ m['content'] | trim }}{% endfor %}[model]"
)
USER = [{"role": "user", "content": "Tell me about bread."}]


def byte_level(template: str | None = CHATML, *, nfc: bool = False, bos: bool = True, end: str = "</s>") -> Any:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if nfc:
        core.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return wrap(core, template, bos=bos, end=end)


def metaspace(template: str | None = CHATML) -> Any:
    """Like T5's and ALBERT's: Unigram over text whose spaces are written as a low line."""
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    letters = sorted({c for c in "".join(CORPUS) + TRICKY if not c.isspace()} | {"▁", "\n"})
    trainer = trainers.UnigramTrainer(
        vocab_size=220, initial_alphabet=letters, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    core.train_from_iterator(CORPUS, trainer)
    return wrap(core, template)


def with_bytes(template: str | None = CHATML) -> Any:
    """Like Llama 2's and Mistral's: a space put before the text, and bytes for what the vocabulary lacks."""
    spaced = ["▁" + text.replace(" ", "▁") for text in CORPUS[:2]]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[^▁\n]+|\n|▁"), "isolated")
    trained.train_from_iterator(spaced, trainers.BpeTrainer(vocab_size=150, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    vocabulary = {"<unk>": 0} | {f"<0x{b:02X}>": b + 1 for b in range(256)}
    for piece in learnt["vocab"]:
        if piece != "\n":
            vocabulary.setdefault(piece, len(vocabulary))
    merges = [tuple(pair) for pair in learnt["merges"]]
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrap(core, template)


def wrap(core: Tokenizer, template: str | None, *, bos: bool = True, end: str = "</s>") -> Any:
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    begin = core.token_to_id("<s>")
    core.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            *([processors.TemplateProcessing("<s> $A", None, [("<s>", begin)])] if bos else []),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token=end)
    tokenizer.chat_template = template
    return tokenizer


BYTE_LEVEL = ChatTokenizer(byte_level())
FAMILIES = {"byte-level": BYTE_LEVEL, "metaspace": ChatTokenizer(metaspace()), "bytes": ChatTokenizer(with_bytes())}
every_family = pytest.mark.parametrize("tokenizer", FAMILIES.values(), ids=FAMILIES)


def uncovered(text: str, offsets: tuple[tuple[int, int], ...]) -> str:
    covered = {i for a, b in offsets for i in range(a, b)}
    return "".join(c for i, c in enumerate(text) if i not in covered)


@pytest.mark.parametrize("family", ["byte-level", "bytes"])
def test_offsets_cover_every_character(family: str) -> None:
    rendered = FAMILIES[family].render([{"role": "user", "content": TRICKY}], "Sure, 😀")
    assert uncovered(rendered.text, rendered.offsets) == ""
    assert len(rendered.offsets) == len(rendered.tokens)
    starts = [start for start, _ in rendered.offsets]
    assert starts == sorted(starts)


def test_each_offset_holds_its_piece_leading_space_included() -> None:
    rendered = BYTE_LEVEL.render(USER)
    pieces = BYTE_LEVEL.pieces(rendered.tokens)
    assert [rendered.text[a:b] for a, b in rendered.offsets] == pieces
    assert any(piece.startswith(" ") and len(piece) > 1 for piece in pieces)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab .\n你好😀é\u0301\u200d'1"), max_size=30))
def test_byte_level_offsets_follow_from_counting_bytes(text: str) -> None:
    rendered = BYTE_LEVEL.encode(text)
    owner = [i for i, char in enumerate(text) for _ in char.encode()]
    at = 0
    for piece, (start, stop) in zip(BYTE_LEVEL.pieces(rendered.tokens), rendered.offsets, strict=True):
        size = len(piece.encode()) - 3 * piece.count("\\x")  # the texts above hold no backslash of their own
        assert (start, stop) == (owner[at], owner[at + size - 1] + 1)
        at += size
    assert at == len(owner)


def test_offsets_refer_to_the_text_as_given_when_the_tokenizer_normalises_it() -> None:
    tokenizer = ChatTokenizer(byte_level(nfc=True))
    rendered = tokenizer.encode("cafe\u0301 x")
    pieces = [rendered.text[a:b] for a, b in rendered.offsets]
    assert "".join(dict.fromkeys(pieces)) == rendered.text
    assert "e\u0301" in pieces
    assert tokenizer.decode(rendered.tokens) == "café x"


@every_family
def test_chat_tokens_are_those_of_the_library_with_one_bos(tokenizer: ChatTokenizer) -> None:
    library = tokenizer._tokenizer
    expected = library.apply_chat_template(USER, add_generation_prompt=True, tokenize=True)["input_ids"]
    rendered = tokenizer.render(USER)
    assert list(rendered.tokens) == expected
    assert rendered.tokens.count(library.bos_token_id) == 1


@every_family
def test_a_prefill_is_the_end_of_the_text(tokenizer: ChatTokenizer) -> None:
    assert tokenizer.render(USER, "The answer is").text == tokenizer.render(USER).text + "The answer is"


@every_family
def test_decoding_in_two_parts_gives_the_whole(tokenizer: ChatTokenizer) -> None:
    text = "The answer is yes. Tell me about the ocean"
    tokens = tokenizer.encode(text).tokens
    assert tokenizer.decode(tokens) == text
    for k in range(len(tokens) + 1):
        assert tokenizer.decode(tokens[:k]) + tokenizer.decode(tokens[k:]) == text


@pytest.mark.parametrize("family", ["byte-level", "bytes"])
def test_any_text_comes_back(family: str) -> None:
    tokenizer = FAMILIES[family]
    for text in (TRICKY, " yes", "yes", "  ", "\n\nHi", "😀", "\n"):
        assert tokenizer.decode(tokenizer.encode(text).tokens) == text


@pytest.mark.parametrize("family", ["byte-level", "bytes", "metaspace"])
def test_a_continuation_has_the_tokens_it_has_within_the_text(family: str) -> None:
    tokenizer = FAMILIES[family]
    for before, after in [("The answer is", " yes"), ("The answer is", " no"), ("the ocean", " and the bread")]:
        joint = tokenizer._tokenizer(before + after, add_special_tokens=False)["input_ids"]
        tokens = tokenizer.encode(after).tokens
        assert list(tokens) == joint[-len(tokens) :]
        rest = joint[: -len(tokens)]
        assert rest == tokenizer._tokenizer(before, add_special_tokens=False)["input_ids"]


def test_special_tokens_are_invisible_in_text_and_named_in_pieces() -> None:
    rendered = BYTE_LEVEL.render(USER)
    assert "<|im_start|>" not in BYTE_LEVEL.decode(rendered.tokens)
    assert BYTE_LEVEL.pieces(rendered.tokens)[:2] == ["<s>", "<|im_start|>"]


def test_pieces_show_unfinished_bytes() -> None:
    tokenizer = FAMILIES["bytes"]
    pieces = tokenizer.pieces(tokenizer.encode(" 😀").tokens)
    assert "".join(pieces) == " \\xf0\\x9f\\x98\\x80"
    assert tokenizer.pieces([10**6]) == ["<1000000>"]


def test_an_empty_system_message_changes_nothing() -> None:
    assert BYTE_LEVEL.render([{"role": "system", "content": " "}, *USER]) == BYTE_LEVEL.render(USER)


@pytest.mark.parametrize(
    "template",
    [NO_SYSTEM, "{% for m in messages if m['role'] != 'system' %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"],
)
def test_without_a_system_role_its_text_opens_the_first_user_turn(template: str) -> None:
    tokenizer = ChatTokenizer(byte_level(template))
    rendered = tokenizer.render([{"role": "system", "content": "Be brief."}, *USER])
    assert "[user]Be brief.\n\nTell me about bread." in rendered.text


def test_a_refused_order_of_roles_is_a_usage_error_in_one_line() -> None:
    tokenizer = ChatTokenizer(byte_level(NO_SYSTEM))
    with pytest.raises(UsageError, match="must alternate") as caught:
        tokenizer.render([*USER, *USER])
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no role 'tool'"):
        tokenizer.render([{"role": "tool", "content": "x"}])


def test_models_that_can_think_are_asked_not_to() -> None:
    template = CHATML + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    assert ChatTokenizer(byte_level(template)).render(USER).text.endswith("<think></think>")


def test_a_base_model_gets_a_plain_dialogue_and_stops_before_the_next_speaker() -> None:
    tokenizer = ChatTokenizer(byte_level(None))
    dialogue = [*USER, {"role": "assistant", "content": "Ok."}, {"role": "user", "content": "Go."}]
    rendered = tokenizer.render(dialogue)
    assert rendered.text == "<s>Human: Tell me about bread.\n\nAssistant: Ok.\n\nHuman: Go.\n\nAssistant:"
    assert rendered.tokens.count(tokenizer._tokenizer.bos_token_id) == 1
    assert tokenizer.render(USER, "Yes").text.endswith("Assistant: Yes")
    assert not tokenizer.chat_template
    assert tokenizer.stop_strings == ("\n\nHuman:",)
    assert BYTE_LEVEL.stop_strings == ()


def test_a_base_model_whose_tokenizer_adds_no_bos_gets_none() -> None:
    assert ChatTokenizer(byte_level(None, bos=False)).render(USER).text.startswith("Human:")


def test_end_tokens_come_from_the_files_the_tokenizer_and_known_turn_ends(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 7}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [8, 9]}))
    loaded = ChatTokenizer.load(tmp_path)
    names = [tokenizer.convert_tokens_to_ids(name) for name in ("</s>", "<|im_end|>")]
    assert loaded.end_tokens == {7, 8, 9, *names}
    assert loaded.render(USER) == ChatTokenizer(tokenizer).render(USER)


def test_the_hash_tells_templates_and_vocabularies_apart_and_nothing_else(tmp_path: Path) -> None:
    hashes = {}
    for name, made in {"a": byte_level(), "b": byte_level(), "c": byte_level(NO_SYSTEM), "d": metaspace()}.items():
        made.save_pretrained(tmp_path / name)
        (tmp_path / name / "config.json").write_text('{"model_type": "llama"}')
        hashes[name] = ChatTokenizer.load(tmp_path / name).template_hash
    assert hashes["a"] == hashes["b"]
    assert len(set(hashes.values())) == 3


def test_a_folder_without_tokenizer_is_a_known_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError) as caught:
        ChatTokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_wrapped_tokenizer_is_left_as_it_is() -> None:
    library = byte_level()
    before = library.backend_tokenizer.to_str()
    ChatTokenizer(library).render(USER)
    assert library.backend_tokenizer.to_str() == before


def test_a_format_that_is_held_fixed_is_that_of_a_base_model_or_needs_a_template() -> None:
    base, chat = ChatTokenizer(byte_level(None)), byte_level()
    plain = ChatTokenizer(chat, dialogue="plain")
    assert plain.render(USER).text.removeprefix(plain._bos) == base.render(USER).text.removeprefix(base._bos)
    assert (plain.chat_template, plain.stop_strings) == (False, base.stop_strings)
    assert plain.template_hash != ChatTokenizer(chat).template_hash
    assert ChatTokenizer(chat, dialogue="chat").render(USER) == ChatTokenizer(chat).render(USER)
    with pytest.raises(UsageError, match="choose --dialogue plain"):
        ChatTokenizer(byte_level(None), dialogue="chat")
