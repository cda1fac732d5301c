"""Finding a concept in a reply: inflections, derived words, near names; never a match inside another word.

The left edge of a match is always a word boundary. What may follow a stem is a closed list of English endings, so
"ant" is found in "ants" but not in "want" or "anticipate", and "oceanography" counts for "ocean" because the field
is named after it. Words whose spelling fits but whose meaning does not ("training" for trains) are listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlxintro.grading.base import Span
from mlxintro.protocol.spelling import composed
from mlxintro.replies.text import word_set

_IRREGULAR = {
    "children": "child", "mice": "mouse", "geese": "goose", "feet": "foot", "teeth": "tooth", "people": "person",
    "men": "man", "women": "woman", "leaves": "leaf", "knives": "knife", "wolves": "wolf", "lives": "life",
    "shelves": "shelf", "abysses": "abyss", "youths": "youth", "phenomena": "phenomenon", "oxen": "ox",
}  # fmt: skip
# Forms no ending produces. Words that any reply may hold ("happy to help", "true", "I remember") are left out.
_EXTRA_FORMS = {
    "person": "people",
    "poetry": "poet poets poetic poem poems", "peace": "peaceful peacefully", "death": "dead die dies died dying",
    "truth": "truths truthful", "anger": "angry angrily", "hunger": "hungry", "love": "loving lovingly", "ice": "icy",
    "sun": "sunny sunlight sunshine", "fog": "foggy", "mud": "muddy", "sand": "sandy", "warmth": "warm",
    "milk": "milky",
    "laughter": "laugh laughs laughing laughed", "youth": "young youthful", "memory": "memorable",
    "sadness": "sad sadder sadly", "justice": "injustice", "happiness": "happy happily happier", "frost": "frosty",
    "dust": "dusty dusting",
}  # fmt: skip
# Right spelling, wrong meaning.
_FALSE_FRIENDS = {
    "train": "training trained trainer trainers", "corn": "corner corners", "iron": "irony ironic ironically",
    "sand": "sandal sandals sanding", "bear": "bearing bearings", "mist": "mister", "mast": "master mastery",
    "flow": "flower flowers", "numb": "number numbers", "cloth": "clothing", "time": "timing timer", "fin": "fined",
    "phone": "phonetic phonetics", "rest": "restless", "desert": "deserted deserter", "tow": "tower", "mine": "mining",
    "spell": "spelled spelling", "see": "seed seeing", "need": "needless", "hard": "hardly", "bare": "barely",
    "press": "pressing", "point": "pointing pointless", "house": "housing", "end": "ending", "chance": "chant chants",
    "reality": "real really", "nature": "natural naturally", "presence": "present presently", "ear": "early",
    "humanity": "human humans",
    "difference": "different differently", "importance": "important importantly", "evidence": "evident evidently",
    "instance": "instant instantly", "personality": "personal personally", "likeness": "like likely",
}  # fmt: skip
# Phrases in which the word says nothing about the concept.
_IDIOMS = {
    "happiness": r"happy (?:to|with|for)\b",
    "love": r"love to\b",
    "ocean": r"oceans? of\b",
    "sea": r"seas? of\b",
}

# Words that replies use about the experiment itself. They name a concept only where something says "about" them.
_AMBIGUOUS = word_set(
    "thought thoughts thinking mind minds time moment moments information knowledge memory research concept pattern "
    "idea trial experience experiences experiment detection injection awareness sense feeling question word "
    "language model "
    "intelligence "
    "patterns words ideas concepts trials questions feelings experiments models"
)
_ABOUT = re.compile(
    r"(?:\b(?:about|of|concerning|regarding|involving|around|toward|towards|concept|word|theme|topic|namely"
    r"|called)|[\":'*]|"
    r"\b(?:related|relates|relating|pertaining|linked|connected) to|\bto do with)[\s\"'*]*(?:the|a|an|this"
    r"|word|concept|idea|of|"
    r"nature|passage|passing)?[\s\"'*]*(?:of )?[\"'*]*$"
)
_NOT_IT = re.compile(
    r"\b(?:not|n't|no|never|nothing|neither|nor|without|rather than|instead of|unlike|unrelated to)\b"
    r"(?:\s+(?:necessarily|really|actually|just|specifically|about|of|on|to|do|with|related|in|any|the|an?|even|be|"
    r"anything|something|like|concerning|regarding))*[\s\"'*]*$|(?:\w+n't)\b[^,]{0,30}\b(?:about|of"
    r"|related to|to do with)\b[\s\"'*]*"
    r"(?:the|an?)?\s*$"
)
# "Unlike my usual calm", "different from the silence I normally have": what the thought is set against.
_SET_AGAINST = re.compile(
    r"\b(?:unlike|as opposed to|in contrast to|different (?:from|than)|compared (?:to|with)|than|instead of)"
    r"\s+(?:\w+\s+){0,2}[\"'*]*$|\b(?:my|the) (?:usual|normal|typical|ordinary|customary)\s+(?:\w+\s+)?[\"'*]*$"
)
_NOT_ONLY = re.compile(r"\bnot (?:only|just|merely|simply)\b")


@dataclass(frozen=True, slots=True)
class Mention:
    """Marks one naming of the concept that is not negated."""

    span: Span
    word: str


def find_mentions(folded: str, concept: str, related: Sequence[str] = (), *, offset: int = 0) -> list[Mention]:
    """Return every naming of the concept or of a near name in folded text, in order, leaving out negated ones.

    Args:
        folded: Text after ``text.fold``.
        concept: The concept as listed, in any case and number.
        related: Near names that count as well.
        offset: Added to every span.
    """
    found: dict[Span, Mention] = {}
    for term in (concept, *related):
        pattern = _pattern(term)
        if pattern is None:
            continue
        ambiguous = term.strip().lower() in _AMBIGUOUS
        for match in pattern.finditer(folded):
            before = folded[max(0, match.start() - 60) : match.start()]
            clause = re.split(r"[.!?;\n]", before)[-1]
            if ambiguous and not _ABOUT.search(clause):
                continue
            if _NOT_IT.search(_NOT_ONLY.sub(" ", clause)) or _SET_AGAINST.search(clause):
                continue
            span = (offset + match.start(), offset + match.end())
            found[span] = Mention(span, match.group())
    return [found[span] for span in sorted(found)]


class Names:
    """Says which of many concepts a text names: the same as ``find_mentions`` for each, in a hundredth of the time."""

    def __init__(self, concepts: Mapping[str, Sequence[str]]) -> None:
        """``concepts``: near names by concept."""
        self._concepts = concepts
        self._suspects: dict[str, tuple[str, ...]] = {}

    def within(self, folded: str) -> frozenset[str]:
        """Return the concepts that folded text names, negated namings left out."""
        tokens = set(_WORD.findall(folded))
        tokens.update(part for word in tuple(tokens) if "'" in word for part in word.split("'"))
        # This is asked of hundreds of thousands of replies, in which nearly every word is known and names nothing.
        suspects = {
            concept
            for token in tokens
            for concept in (self._suspects[token] if token in self._suspects else self._suspected(token))
        }
        return frozenset(one for one in suspects if find_mentions(folded, one, self._concepts[one]))

    def _suspected(self, token: str) -> tuple[str, ...]:
        """Concepts that this one word, or a phrase that ends with it, could name."""
        found = self._suspects[token] = tuple(
            concept
            for concept, related in self._concepts.items()
            if any(_last_word(term).fullmatch(token) for term in (concept, *related))
        )
        return found


_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


@lru_cache(maxsize=8192)
def _last_word(term: str) -> re.Pattern[str]:
    parts = _WORD.findall(composed(term).lower())
    return re.compile(_word_pattern(parts[-1]) if parts else r"(?!)")


@lru_cache(maxsize=8192)
def _pattern(term: str) -> re.Pattern[str] | None:
    parts = _WORD.findall(composed(term).lower())
    if not parts:
        return None
    last = _word_pattern(parts[-1])
    head = "".join(re.escape(part) + r"[\s\-']*" for part in parts[:-1])
    whole = head + last
    # A person is often named by the family name alone; common phrases ("hot air balloon") are written in lower case.
    is_name = len(parts) > 1 and len(parts[-1]) >= 4 and all(word[:1].isupper() for word in term.split())
    body = f"(?:{whole}|{last})" if is_name else whole
    return re.compile(rf"(?<![^\W_]){body}(?![^\W_])")


def _word_pattern(word: str) -> str:
    base = _singular(word)
    stems = _stems(base)
    options = [re.escape(word), *(f"{re.escape(stem)}(?:{endings})" for stem, endings in stems.items())]
    options += [re.escape(extra) for extra in (*_EXTRA_FORMS.get(base, "").split(), *_plurals(base))]
    avoid = "|".join(map(re.escape, _FALSE_FRIENDS.get(base, "").split()))
    guard = rf"(?!(?:{avoid})(?![^\W_]))" if avoid else ""
    guard += f"(?!{_IDIOMS[base]})" if base in _IDIOMS else ""
    return rf"{guard}(?:{'|'.join(options)})(?:'s)?"


def _plurals(noun: str) -> tuple[str, ...]:
    """Plurals of a noun by a word list, e.g. cities, wives, crises; none for a word that is not in it.

    Verbs are left out: "bore" is no naming of a bear, nor "wound" of the wind.
    """
    import lemminflect

    return tuple(lemminflect.getAllInflections(noun, upos="NOUN").get("NNS", ()))


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if (
        re.search(r"(?:[sxz]|ch|sh)es$", word)
        and len(word) > 4
        and not word.endswith(("ases", "oses", "uses", "nses", "ches"))
    ):
        return word[:-2]
    if re.search(r"[aeiou]ches$|tches$|rches$", word):
        return word[:-2]
    if len(word) > 4 and word.endswith("oes"):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "ness", "ous")):
        return word[:-1]
    return word


_NOUN = "|s|es|y|ly|ness|ful|fully|fulness|less|lessly|like|ish|some"
_VERB = "|ed|ing|ings"
_LONG = "|er|ers|or|ors|ic|ical|ically|al|ally|ous|ously|ist|ists|istic|ian|ians|ism|esque|ography|ographic|ographer"
_ION = "e|es|ed|ing|ings|ion|ions|ional|or|ors|ory|ive|ives|ively"
# (ending of the concept, what remains of it, what may follow), longest first.
_DERIVATIONS: tuple[tuple[str, str, str], ...] = (
    ("ation", "at", _ION), ("ition", "it", _ION), ("sion", "s", "e|es|ed|ing|ion|ions|ive|ively"),
    ("tion", "t", "|s|ed|ing|ion|ions|or|ors|ory|ive|ively|e|es"),
    ("iness", "", "y|ily|ier|iness"), ("ness", "", "|ly|ness|er|est"), ("iety", "", "ious|iously|iety|ieties"),
    ("ence", "en", "t|ts|tly|ce|ces|ced|cing|cer"), ("ance", "an", "t|ts|tly|ce|ces|ced|cing|cer"),
    ("ency", "en", "t|tly|cy|cies"), ("ancy", "an", "t|tly|cy|cies"), ("acy", "a", "t|te|tely|cy|cies"),
    ("ecy", "e", "t|ts|tive|tly|cy"),
    ("osity", "", "ous|ously|osity"), ("ity", "", "|e|ity|ities|ly|ely"), ("te", "t", _ION),
    ("ment", "", "|s|ed|ing|e|es|ment|ments"),
    ("ing", "", "|s|e|es|ed|ing|ings|er|ers"), ("ied", "", "y|ies|ied|ying"), ("ed", "", "|e|s|es|ed|ing"),
    ("ism", "", "|s|ist|ists|ism|ic|istic"), ("y", "", "y|ies|ied|ying|ious|iously|ic|ical|ized|ize|izing|ily"),
    ("ano", "an", "o|oes|os|ic"), ("ce", "", "ce|ces|cing|ced|t|tly|tial"),
    ("e", "", "e|es|ed|ing|ings|y|ic|al|er|ers|eless|eful|ely|elike|ey"),
)  # fmt: skip


def _stems(base: str) -> dict[str, str]:
    """Map each stem of a word to the endings that may follow it, as a regex alternation."""
    endings = _NOUN
    if len(base) >= 4:
        endings += _VERB
    if len(base) >= 5:
        endings += _LONG
    stems = {base: endings}
    if len(base) >= 3 and re.search(r"[^aeiou][aeiou][bdgmnpt]$", base):
        stems[base + base[-1]] = "ed|ing|er|ers|est"
    for ending, keep, follow in _DERIVATIONS:
        stem = base[: len(base) - len(ending)] + keep
        # Four letters must remain (three in front of a final e), so that "justice" does not match "just".
        if base.endswith(ending) and (len(stem) >= 4 or (ending == "e" and len(stem) >= 3)) and stem not in stems:
            stems[stem] = follow
            if ending in ("ing", "ed") and re.search(r"([bdgmnprt])\1$", stem):
                stems[stem[:-1]] = "|s"
            break
    return stems
