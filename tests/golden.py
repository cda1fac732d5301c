"""What the rules say of every labelled reply, kept beside the version that said it.

``python -m tests.golden`` writes the file anew. It refuses while the version is still the one of the file, so that
verdicts cannot change under one version: raise ``VERSION`` in ``mlxintro/grading/rules/version.py`` first, and say in
the commit what changed and why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlxintro.grading.base import Grade
from mlxintro.grading.rules.grader import RulesGrader
from mlxintro.grading.rules.version import VERSION
from mlxintro.protocol.concepts import library
from tests.rules_cases import ALL_CASES

DATA = Path(__file__).parent / "data"
FILE = DATA / "golden_grades.json"
FIELDS = ("affirms", "identifies", "named_before_affirming", "coherent", "refuses", "abstained")
_LETTERS = {True: "y", False: "n", None: "-"}


def replies() -> Iterator[tuple[str, str, str | None, tuple[str, ...]]]:
    """Name, text, concept and near names of every reply of the corpus."""
    for file in sorted(DATA.glob("replies_*.jsonl")):
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            row = json.loads(line)
            yield f"{file.stem}:{number}", row["response"], row["concept"], library().related(row["concept"])
    for number, case in enumerate(ALL_CASES, 1):
        yield f"rules_cases:{number}", case.reply, case.concept, case.related


def code(grade: Grade) -> str:
    """One letter a field: y, n, or - where it is undecided."""
    return "".join(_LETTERS[getattr(grade, name)] for name in FIELDS)


def current() -> dict[str, str]:
    """The grades as the rules give them now, by the reply's name."""
    default, strict = RulesGrader(), RulesGrader(strict=True)
    return {
        name: f"{code(default.grade(reply, concept, related))} {code(strict.grade(reply, concept, related))}"
        for name, reply, concept, related in replies()
    }


def main() -> int:
    """Write the file for a new version."""
    before: Any = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {"version": "", "grades": {}}
    grades = current()
    changed = [name for name, now in grades.items() if before["grades"].get(name, now) != now]
    if changed and before["version"] == VERSION:
        sys.stderr.write(f"{len(changed)} grades change under version {VERSION}: raise VERSION first\n")
        return 1
    FILE.write_text(
        json.dumps({"version": VERSION, "fields": FIELDS, "grades": grades}, indent=0) + "\n", encoding="utf-8"
    )
    sys.stderr.write(f"version {VERSION}: {len(grades)} replies, {len(changed)} grades changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
