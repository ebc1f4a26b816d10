"""Numbers as people and Linux list them: ``0-3,6``."""

from __future__ import annotations


def parsed(text: str) -> list[int]:
    """All of them, in the order given. Raises ValueError."""
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part!r} is neither a number nor a range")
        found += range(int(first), int(last if dash else first) + 1)
    return found
