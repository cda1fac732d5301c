"""What the documents say about the house is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_layers import tree_of

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("product code")
ROOMS = sorted(
    path.name
    for path in (ROOT / "mlxintro").iterdir()
    if path.is_dir() and not path.is_symlink() and (path / "__init__.py").exists()
)


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_stands_in_the_readme_and_in_the_architecture(room: str) -> None:
    assert f" {room}/ " in (ROOT / "README.md").read_text("utf-8")
    assert f"| `{room}/` |" in (ROOT / "docs" / "architecture.md").read_text("utf-8")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"`((?:mlxintro|backends|tui|tests|docs|benchmarks)/[\w./-]+\.\w+)`", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists() and not re.search("some.name", name)] == []


@pytest.mark.parametrize(
    ("place", "holds"),
    [
        ("mlxintro/protocol/windows.py", "def resolve("),
        ("mlxintro/replies/mentions.py", "def find_mentions("),
        ("mlxintro/ladder/verdict.py", '"yes-bias": "Answers move towards yes'),
        ("tui/screens/runs.py", 'id="runs.pause"'),
        ("mlxintro/store/searching/filters.py", "def condition("),
    ],
)
def test_what_newcomers_ask_for_stands_where_the_page_says(place: str, holds: str) -> None:
    assert f"`{place}`" in (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert holds in (ROOT / place).read_text("utf-8")


def test_no_folder_of_the_product_is_crowded() -> None:
    for root in ("mlxintro", "backends", "tui"):
        for folder in [ROOT / root, *(path for path in (ROOT / root).rglob("*") if path.is_dir())]:
            if folder.resolve().is_relative_to(ROOT / root):
                modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
                assert len(modules) <= 15, folder


def test_docstrings_begin_with_a_sentence() -> None:
    fragment = re.compile(r'"""(?:Of|The same|One that|As of)\b')
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("mlxintro", "backends", "tui", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if fragment.search(line)
    ]
    assert wrong == []


# What a function's docstring may begin with is checked by what it must not: a noun with nothing done to it.
NOUNS = re.compile(
    r"(?:The|A|An|One|Every|All|Each|Two|Both|Another|Some|Any|What|How|Where|Which|Who|Whose|Whether|Bytes|Columns|Cosines?"
    r"|Counts|Ids|Keys|Lines|Log-probabilit(?:y|ies)|Log-odds|Names|Parameters|Positions?|Probability|Replies|Rows|Seconds"
    r"|Shares|Spans|Tokens|Trials|Vectors|Words)\b"
)
SENTENCES = re.compile(
    r"(?:The (?:trial question moves|subject's own answer beats)|A (?:rung|reply)) ",
)


def test_what_a_function_does_is_told_by_a_verb() -> None:
    """Public functions and methods that return something; what a command prints as its help belongs to them."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {said.splitlines()[0]}"
        for root in ("mlxintro", "backends", "tui")
        for path in (ROOT / root).rglob("*.py")
        if path.resolve().is_relative_to(ROOT / root)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        if (said := ast.get_docstring(node)) and NOUNS.match(said) and not SENTENCES.match(said)
    ]
    assert wrong == []


# A class's docstring begins with a verb ("Holds", "Reads"), or is a whole sentence, as errors and messages have it.
PLURALS = r"(?:Bytes|Files|Keys|Positions|Prompts|Rows|Settings|Texts|Tokens|Trials|Values|Vectors|Words)\b"
OF_A_CLASS = re.compile(
    rf"(?!{PLURALS})[A-Z]\w*s\b(?! of\b)|.* (?:is|are|was|were|has|can|cannot|might|did|stands|found|failed|asked)\b"
)
# A field's names the thing first: what stands before it would be read as a condition.
BEFORE_A_THING = re.compile(
    r"(?:``None``|(?:As|At|Below|By|For|From|If|In|Left|Of|One-sided,|Over|Per|Stable|That|Those|Under|Until|With|Without)\b)"
)


def test_what_a_class_is_for_is_told_by_a_verb_and_a_field_by_its_noun() -> None:
    wrong = []
    for root in ("mlxintro", "backends", "tui"):
        for path in (ROOT / root).rglob("*.py"):
            if not path.resolve().is_relative_to(ROOT / root):
                continue
            for made in ast.walk(tree_of(path)):
                if not isinstance(made, ast.ClassDef):
                    continue
                said = (ast.get_docstring(made) or "").partition("\n")[0]
                if said and not OF_A_CLASS.match(said):
                    wrong.append(f"{path.name}:{made.lineno} {made.name}: {said}")
                for field, after in zip(made.body, made.body[1:], strict=False):
                    if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                        text = ast.literal_eval(after.value) if isinstance(after.value, ast.Constant) else ""
                        if BEFORE_A_THING.match(str(text)):
                            wrong.append(f"{path.name}:{after.lineno} {ast.unparse(field.target)}: {text}")
    assert wrong == []


def test_every_cache_of_vectors_compares_them_with_what_the_store_recorded() -> None:
    made = [
        (f"{path.name}:{node.lineno}", len(node.args) == 3 or any(one.arg == "recorded" for one in node.keywords))
        for root in ("mlxintro", "tui")
        for path in (ROOT / root).rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "VectorCache"
    ]
    assert made
    # Imported vectors lie under the hash of their own content.
    assert [place for place, compared in made if not compared and not place.startswith("library.py")] == []


def test_files_and_functions_stay_readable() -> None:
    for root in ("mlxintro", "backends", "tui"):
        for path in (ROOT / root).rglob("*.py"):
            if not path.resolve().is_relative_to(ROOT / root):
                continue
            source = path.read_text("utf-8")
            assert source.count("\n") <= 400, path
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or 0) - node.lineno + 1
                    assert length <= 60, f"{path}:{node.lineno} {node.name} has {length} lines"


def test_every_deliberate_fault_has_its_place() -> None:
    """What ``python -m tests.faults`` would replace stands there once, and the tests it names exist."""
    from tests.faults import FAULTS

    for fault in FAULTS:
        assert (ROOT / fault.file).read_text("utf-8").count(fault.right) == 1, fault.name
        for word in fault.tests.split():
            assert not word.startswith("tests/") or (ROOT / word).exists(), fault.name
