"""Print the versions of everything that is installed, as constraints for pip: ``make lock``."""

from __future__ import annotations

import re
from importlib.metadata import distributions

HEADER = """\
# Versions the project is tested with, dependencies of dependencies included. `make` installs these; pyproject.toml
# states the ranges. Written by `make lock`. Local labels such as "+cpu" are left out: on a machine with CUDA the same
# version of PyTorch is its CUDA build."""
LEFT_OUT = {"mlxintro", "pip", "setuptools", "wheel"}


def main() -> None:
    """Write one line per distribution, sorted by its normalised name."""
    versions = {re.sub(r"[-_.]+", "-", one.name).lower(): one.version.split("+")[0] for one in distributions()}
    print(HEADER)
    for name in sorted(versions.keys() - LEFT_OUT):
        print(f"{name}=={versions[name]}")


if __name__ == "__main__":
    main()
