"""Make the README's picture of the terminal app: ``python docs/app_picture.py docs/app.svg``.

It shows a finished run of the simulated subject in a store of its own, so nobody's data and no model are needed.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mlxintro.paths import DataHome
from mlxintro.tui.app import IntroApp

SIZE = (120, 30)
STUDY = ("injected-thoughts", "--backend", "fake", "--layers", "2,3,4,5,6", "--trials", "4", "--name", "first-look")


async def picture(home: Path) -> str:
    app = IntroApp(DataHome(home / "mlxintro.db", home / "cache"))
    async with app.run_test(size=SIZE) as pilot:
        run = app.ask(lambda store: store.runs.all()[0])
        app.open_run(run.id, run.name)
        await pilot.pause(3.0)
        return app.export_screenshot(title="mlxintro")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        command = [sys.executable, "-m", "mlxintro", "--db", str(home / "mlxintro.db"), "run", *STUDY]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        svg = asyncio.run(picture(home))
    # A picture must not fetch fonts from elsewhere: the reader's own fixed-width font will do.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    Path(sys.argv[1]).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
