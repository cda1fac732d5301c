"""Good input of every kind, changed at random, and what has to come of it: a result, or a refusal of one line."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mlxintro import data as packaged
from mlxintro.backends.errors import KnownError
from mlxintro.backends.models import side_files
from mlxintro.backends.models.templates import ChatTemplate, TemplateError
from mlxintro.cli.main import main as main_of_cli
from mlxintro.grading.files import BadLine, grade_lines
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.protocol import presets, study_file
from mlxintro.store import Store
from mlxintro.vectors import cache
from mlxintro.vectors.formats.reader import read_vector_file

ODD = (
    *(
        "",
        " ",
        "\0",
        "\x1b[2J",
        "\u202e",
        "\ud800",
        "e\u0301",
        "[/INST]",
        "..",
        "/",
        "-",
        "--",
        "=",
        "%",
        "{",
        "}",
        '"',
        "'",
    ),
    *(
        "\n",
        "nan",
        "inf",
        "-1",
        "0",
        "1e999",
        "9" * 40,
        "true",
        "null",
        "[]",
        "{}",
        "[[[[",
        "#",
        "\\",
        "x" * 3000,
        "'" * 500,
    ),
)
WORDS = (
    *("--layers", "--strengths", "--trials", "--controls", "--concepts", "--seed", "--temperature", "--max-tokens"),
    *(
        "--preset",
        "--window",
        "--unit",
        "--batch-size",
        "--any-word",
        "--json",
        "--set",
        "--limit",
        "--contains",
        "--model",
    ),
    *(
        "ocean",
        "set:lindsey-50",
        "category:nature",
        "first",
        "0.5",
        "2,4",
        "even:4",
        "1:3",
        "lindsey",
        "resid",
        "detector",
    ),
)
COMMANDS = (
    *(
        ("runs", "list"),
        ("runs", "show", "first"),
        ("runs", "export", "first"),
        ("stats", "first"),
        ("presets", "show", "macar"),
    ),
    *(
        ("concepts", "list", "ocean"),
        ("compare", "first", "first"),
        ("models", "list"),
        ("grade", "agreement", "first"),
    ),
    *(
        (
            ("run", "injected-thoughts", "--backend", "fake", "--dry-run"),
            ("run", "latent", "--backend", "fake", "--dry-run"),
        )
    ),
)


class FoundError(Exception):
    """An input came to something else than a result or one line."""


def changed(text: str, dice: random.Random) -> str:
    """Cut out, double, swap or replace a few pieces of a text."""
    for _ in range(dice.randint(1, 3)):
        at, until = sorted((dice.randrange(len(text) + 1), dice.randrange(len(text) + 1)))
        until = min(until, at + dice.choice((0, 1, 5, 40)))
        text = (
            text[:at] + dice.choice((dice.choice(ODD), "", text[at:until] * 2, text[until : until + 30])) + text[until:]
        )
    return text


def one_line(error: BaseException) -> None:
    """Check that a refusal is a line."""
    text = str(error)
    if not text.strip() or "\n" in text.strip():
        raise FoundError(f"{type(error).__name__} is not one line: {text[:300]!r}")


def flags(dice: random.Random, folder: Path) -> None:
    arguments = [*dice.choice(COMMANDS)]
    for _ in range(dice.randint(1, 4)):
        arguments.insert(dice.randint(2, len(arguments)), dice.choice((*ODD, *WORDS, *WORDS)))
    if arguments[0] == "run":
        arguments.append("--dry-run")
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    sys.argv = ["mlxintro", "--db", str(folder / "flags.db"), *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main_of_cli()
        except SystemExit as error:
            code = error.code
    err.flush()
    said = err.buffer.getvalue().decode()
    if code not in (0, 1, 2) or said.rpartition("mlxintro: ")[2].count("\n") > (1 if code else 9):
        raise FoundError(f"exit code {code}, {arguments}: {said[-300:]!r}")


def studies(dice: random.Random, folder: Path) -> None:
    text = packaged.text(f"studies/{dice.choice(packaged.names('studies'))}.toml")
    try:
        study_file.parse(changed(text, dice), "study.toml", folder)
    except KnownError as error:
        one_line(error)


def preset_files(dice: random.Random, folder: Path) -> None:
    path = folder / "preset.toml"
    path.write_text(changed(presets.text(dice.choice(presets.names())), dice), "utf-8", "replace")
    try:
        presets.read_file(path)
    except KnownError as error:
        one_line(error)


def replies(dice: random.Random, folder: Path) -> None:
    said = "Yes, I notice an injected thought. It is about the ocean; I am not sure, but there is nothing else."
    parts = [changed(said, dice) if dice.random() < 0.5 else dice.choice(ODD) * dice.randint(1, 300) for _ in range(3)]
    line = json.dumps(
        {"response": dice.choice(("", " ")).join(parts), "concept": dice.choice(("ocean", "e\u0301", "..", None))}
    )
    if dice.random() < 0.5:
        line = changed(line, dice)
    for one in grade_lines(line.encode("utf-8", "surrogatepass").split(b"\n"), RulesGrader()):
        if isinstance(one, BadLine):
            one_line(ValueError(one.problem))


def odd_value(dice: random.Random) -> Any:
    """Draw a value that no setting expects."""
    return dice.choice((None, True, -1, 0, 10**12, 1.5, float("nan"), [], [1], {}, {"a": [[[]]]}, *ODD))


def configs(dice: random.Random, folder: Path) -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 512,
        "eos_token_id": [1, 2],
        "rope_parameters": {"rope_type": "default"},
        "torch_dtype": "bfloat16",
    }
    for name in side_files._OBJECTS:
        found = dict(config)
        for _ in range(dice.randint(0, 2)):
            found[dice.choice(sorted(found))] = odd_value(dice)
        text = json.dumps(found)
        (folder / name).write_text(changed(text, dice) if dice.random() < 0.3 else text, "utf-8", "replace")
    try:
        side_files.check(folder)
        side_files.check_config(side_files.read_config(folder), folder / "config.json")
        side_files.end_tokens(folder)
    except KnownError as error:
        one_line(error)


TEMPLATE = (
    "{{- bos_token }}{% set ns = namespace(n=0) %}{% for message in messages %}{% if message['role'] == 'system' %}"
    "<|im_start|>system\n{{ message['content'] | trim }}<|im_end|>{% else %}{% set ns.n = ns.n + 1 %}<|im_start|>"
    "{{ message['role'] }}\n{{ message['content'] }}{{ strftime_now('%d %b %Y') }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PIECES = (
    *(
        "{% for i in range(99999) %}",
        "{% endfor %}",
        "{{ ns.x * 9999 }}",
        "{% set ns.x = ns.x ~ ns.x %}",
        "{{ 'a' * 10**9 }}",
    ),
    *(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ messages | tojson }}",
        "{% include 'x' %}",
        "{{ ''.__class__ }}",
    ),
)


def templates(dice: random.Random, folder: Path) -> None:
    text = changed(TEMPLATE, dice)
    for _ in range(dice.randint(0, 3)):
        at = dice.randrange(len(text))
        text = text[:at] + dice.choice(PIECES) + text[at:]
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    values = {"messages": said, "bos_token": "<s>", "add_generation_prompt": True}
    try:
        ChatTemplate(text).render(values, datetime.date(2025, 2, 3))
    except TemplateError as error:
        one_line(error)


TABLES = ("runs", "prompts", "run_prompts", "trials", "grades", "labels", "vectors")


def stores(dice: random.Random, folder: Path) -> None:
    """Change cells or bytes of a store; import it, and open it as the store itself."""
    other, own = folder / "other.db", folder / "own.db"
    for path in folder.glob("o*.db*"):
        path.unlink()
    other.write_bytes((folder / "flags.db").read_bytes())
    if dice.random() < 0.5:
        with closing(sqlite3.connect(other)) as db:
            for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")
            table = dice.choice(TABLES)
            column = dice.choice([row[1] for row in db.execute(f"PRAGMA table_info({table})")])
            value = dice.choice((odd_value(dice), b"\x00\xff", "[" * 3000, "9999-12-31"))
            with suppress(sqlite3.Error, UnicodeEncodeError, OverflowError):
                value = json.dumps(value) if isinstance(value, list | dict) else value
                db.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
            db.commit()
    else:
        data = bytearray(other.read_bytes())
        for _ in range(dice.choice((1, 8, 64))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        other.write_bytes(bytes(data[: dice.choice((len(data), len(data), dice.randrange(len(data))))]))
    with Store(own) as store:
        with reported():
            store.import_from(other)
        for run in store.runs.all():
            list(store.trials.of_run(run.id))
            store.runs.delete(run.id)
        if store.runs.all():
            raise FoundError("an imported run cannot be deleted")
    with reported(), Store(other, read_only=True) as store:
        for run in store.runs.all():
            with reported():
                list(store.trials.of_run(run.id))


@contextmanager
def reported() -> Iterator[None]:
    try:
        yield
    except KnownError as error:
        one_line(error)


def vectors(dice: random.Random, folder: Path) -> None:
    good = folder / "good.safetensors"
    if not good.exists():
        cache.write(good, "b2:0", {"direction": np.ones((2, 3), np.float32)}, {"made": "now"})
        np.savez(folder / "good.npz", layer_1=np.ones(3, np.float32), layer_2=np.ones(3, np.float32))
    source = dice.choice((good, folder / "good.npz"))
    data = bytearray(source.read_bytes())
    for _ in range(dice.randint(1, 4)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    data = data[: dice.choice((len(data), len(data), dice.randrange(len(data))))]
    if source is good:
        with suppress(cache.DamagedError):
            cache.parse(bytes(data), "b2:0")
            raise FoundError("a changed vector was used")
    path = folder / f"changed{source.suffix}"
    path.write_bytes(bytes(data))
    with reported():
        read_vector_file(path, layer=1)


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "flags": flags,
    "studies": studies,
    "presets": preset_files,
    "replies": replies,
    "configs": configs,
    "templates": templates,
    "stores": stores,
    "vectors": vectors,
}
"""Each draws one input and tries it, in a folder that holds a small store."""
