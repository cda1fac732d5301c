"""Every command and file that README and docs show can be read by the program: names, options, keys and values."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections import Counter
from itertools import product
from pathlib import Path

import click
import pytest

from mlxintro.cli.main import cli
from mlxintro.protocol import presets, study_file
from mlxintro.protocol.words.own_concepts import read_concept_files

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
_SHELL = {"|", ">", ">>", "&&", ";", "||", "2>", "<"}


def commands(page: str) -> list[str]:
    """Lines of shell blocks that call the program, also within tmux, a unit of systemd or a container."""
    text = (ROOT / page).read_text("utf-8")
    found = []
    for block in re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            called = re.search(
                r"(?:^|[\s'=/]|docker run .* )mlxintro (?=[a-z-])(.*)", line.split("  #")[0].split(" # ")[0]
            )
            if called and not re.match(r"\s*(#|git |gcloud |docker build|pip |Description=)", line):
                found.append(called[1].rstrip("' "))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [*found, *(one for told in re.findall(r"`mlxintro ([a-z][^`]*)`", prose) for one in spelled_out(told))]


def spelled_out(told: str) -> list[str]:
    """A command in a sentence: what is in brackets is given, and each of ``list|show`` is a command of its own."""
    words = told.translate(str.maketrans("", "", "[]")).split(" ")
    choices = [word.split("|") if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", word) else [word] for word in words]
    return [" ".join(chosen) for chosen in product(*choices)]


def read(line: str) -> None:
    """Parse one command line down to its last option.

    Raises:
        click.UsageError: there is no such command, option or value.
    """
    words = shlex.split(line)
    end = next((at for at, word in enumerate(words) if word in _SHELL), len(words))
    command: click.Command = cli
    context = cli.make_context("mlxintro", words[:end])
    while isinstance(command, click.Group):
        name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        command = inner
        context = inner.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES)
def test_every_shown_command_is_one_that_the_program_reads(page: str) -> None:
    wrong = []
    for line in commands(page):
        try:
            read(line)
        except click.MissingParameter:
            # A sentence may name a command without its arguments, but none with half of its options.
            if " -" in line:
                wrong.append(f"{line}: something is missing")
        except (click.ClickException, ValueError) as error:
            wrong.append(f"{line}: {error}")
    assert wrong == []


def test_the_pages_show_enough_commands_for_this_to_mean_something() -> None:
    counts = {page: len(commands(page)) for page in PAGES}
    assert counts["README.md"] > 30
    assert counts["docs/cloud.md"] >= 10
    with pytest.raises(click.UsageError):
        read("run injected-thoughts --no-such-option")


def test_every_shown_file_is_one_that_the_program_reads(tmp_path: Path) -> None:
    read_as = Counter[str]()
    for page in PAGES:
        for text in re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE):
            data, path = tomllib.loads(text), tmp_path / "shown.toml"
            path.write_text(text, "utf-8")
            if "sets" in data:
                read_concept_files([path])
                read_as["concepts"] += 1
            elif "based_on" in data:
                presets.validated(presets.read_file(path), "shown")
                read_as["preset"] += 1
            else:
                study_file.read(str(path))
                read_as["study"] += 1
    assert read_as["study"] >= 3
    assert read_as["concepts"] == read_as["preset"] == 1
