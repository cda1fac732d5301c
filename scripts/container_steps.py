"""Carry the steps of the Dockerfile out in a bare system without Docker: a folder that ``debootstrap`` has filled.

    debootstrap --variant=minbase noble /srv/bare            # or bookworm: any system with apt
    python scripts/container_steps.py /srv/bare [--arg TORCH_INDEX=...] [--bind /opt/wheels] -- demo

``RUN`` runs by ``chroot`` with nothing of this machine's environment but what ``ENV``, ``ARG`` and ``--env`` give it,
``COPY`` copies, and at last the image's command runs with the words behind ``--``. ``FROM`` is what the folder holds.
Needs root and Linux.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Step:
    """One instruction."""

    kind: str
    """In capitals, as ``RUN``."""
    text: str
    """What stands behind it, lines that go on joined."""


def steps(dockerfile: str) -> Iterator[Step]:
    """Read the instructions of a Dockerfile in their order.

    Raises:
        ValueError: a line that is none.
    """
    lines = (line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        kind, _, text = line.strip().partition(" ")
        if not re.fullmatch(r"[A-Z]+", kind) or not text.strip():
            raise ValueError(f"{line!r} is no instruction")
        yield Step(kind, re.sub(r"\s+", " ", text.strip()) if kind != "RUN" else text.strip())


@dataclass
class Container:
    """A bare system that takes instructions."""

    folder: Path
    given: Mapping[str, str]
    """Build arguments that go before the Dockerfile's defaults."""
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"})
    place: str = "/"
    entry: list[str] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """Carry one instruction out.

        Raises:
            subprocess.CalledProcessError: a command failed.
            ValueError: an instruction that this does not know.
        """
        match step.kind:
            case "RUN":
                self.run(["/bin/sh", "-ec", step.text])
            case "COPY":
                *sources, target = step.text.split()
                for source in sources:
                    self._copy(ROOT / source, target, alone=len(sources) == 1)
            case "WORKDIR":
                self.place = step.text
                (self.folder / self.place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "ARG":
                name, _, usual = step.text.partition("=")
                self.environment[name] = self.given.get(name, usual)
            case "ENV":
                for pair in step.text.split():
                    name, _, value = pair.partition("=")
                    self.environment[name] = value.replace("$PATH", self.environment["PATH"])
            case "ENTRYPOINT":
                self.entry = re.findall(r'"([^"]*)"', step.text)
            case "VOLUME":
                for path in re.findall(r'"([^"]*)"', step.text):
                    (self.folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "FROM" | "CMD":
                pass
            case _:
                raise ValueError(f"{step.kind} is not known here: add it to scripts/container_steps.py")

    def run(self, command: list[str]) -> None:
        """Run a command inside, from the work folder, with the container's environment alone."""
        inside = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', self.place, *command]
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        subprocess.run(["chroot", str(self.folder), "/usr/bin/env", "-i", *settings, *inside], check=True)

    def _copy(self, source: Path, target: str, *, alone: bool) -> None:
        there = self.folder / (target if target.startswith("/") else f"{self.place}/{target}").lstrip("/")
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, there, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy2(source, there / source.name if not alone or there.is_dir() else there)


def main() -> int:
    """Carry the Dockerfile out, and run the image's command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a bare system")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE", help="a build argument")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="for commands of the build")
    parser.add_argument(
        "--bind", action="append", default=[], type=Path, help="a folder of this machine to have inside"
    )
    own, _, words = " ".join(sys.argv[1:]).partition(" -- ")
    chosen = parser.parse_args(own.split())
    given = dict(pair.split("=", 1) for pair in chosen.arg)
    container = Container(chosen.folder.resolve(), given)
    container.environment |= dict(pair.split("=", 1) for pair in chosen.env)
    mounted = []
    try:
        for path in (Path("/proc"), Path("/dev"), Path("/etc/resolv.conf"), *chosen.bind):
            there = container.folder / str(path).lstrip("/")
            there.mkdir(parents=True, exist_ok=True) if path.is_dir() else there.touch()
            subprocess.run(["mount", "--bind", str(path), str(there)], check=True)
            mounted.append(there)
            # Else what is unmounted here later would be unmounted on this machine, too.
            subprocess.run(["mount", "--make-private", str(there)], check=True)
        for step in steps((ROOT / "Dockerfile").read_text("utf-8")):
            print(f"-- {step.kind} {step.text}", flush=True)
            container.take(step)
        print(f"-- {' '.join([*container.entry, words])}", flush=True)
        container.run([*container.entry, *(words.split() or ["--help"])])
    except subprocess.CalledProcessError as error:
        print(f"failed with {error.returncode}", file=sys.stderr)
        return 1
    finally:
        for there in reversed(mounted):
            subprocess.run(["umount", str(there)], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
