"""Names of what is projected out, and of the arms of ``ablation``."""

from __future__ import annotations

CONCEPT, REFUSAL = "concept", "refusal"
_PREFIX, _RANDOM = "without:", "random-for:"


def arm_of(direction: str) -> str:
    """Return the arm in which a direction is projected out."""
    return f"{_PREFIX}{direction}"


def random_arm(direction: str) -> str:
    """Return the arm in which a random direction is projected out in its place."""
    return f"{_RANDOM}{direction}"


def directions_in(arms: set[str]) -> list[str]:
    """Return the directions that were projected out in these arms, in order."""
    return sorted(arm.removeprefix(_PREFIX) for arm in arms if arm.startswith(_PREFIX))
