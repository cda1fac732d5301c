"""Turn a command's output into the README's picture: ``mlxintro demo | python docs/picture.py docs/demo.svg``."""

from __future__ import annotations

import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console

WIDTH = 132


def main() -> None:
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(sys.stdin.read().strip("\n"), markup=False, highlight=False)
    svg = console.export_svg(title="mlxintro demo")
    # A picture must not fetch fonts from elsewhere: the reader's own fixed-width font will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    Path(sys.argv[1]).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
