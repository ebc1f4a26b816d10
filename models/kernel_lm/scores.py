"""Numbers of an evaluation. Pure.

- pass@k is the unbiased estimate: the chance that k of the n samples drawn without return hold a correct one.
- A family's figures are means over its operations, each of equal weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from typing import Any

PASS_AT = (1, 8, 64)
CORRECT = "correct"
"""Outcome of an accepted sample; every other outcome is an error class, or ``unusable``."""


@dataclass(frozen=True)
class Tally:
    """Outcomes of the samples of one operation."""

    operation: str
    family: str
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        """All of them."""
        return sum(self.outcomes.values())

    @property
    def acceptance(self) -> float:
        """Share of correct samples."""
        return self.outcomes[CORRECT] / self.samples if self.samples else 0.0


def pass_at(k: int, samples: int, correct: int) -> float | None:
    """None where there are fewer than ``k`` samples."""
    if samples < k:
        return None
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def row(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Means over operations."""
    count = len(tallies)
    found: dict[str, Any] = {
        "operations": count,
        "samples": sum(tally.samples for tally in tallies),
        "acceptance": sum(tally.acceptance for tally in tallies) / count if count else 0.0,
    }
    for k in PASS_AT:
        each = [pass_at(k, tally.samples, tally.outcomes[CORRECT]) for tally in tallies]
        known = [value for value in each if value is not None]
        found[f"pass@{k}"] = sum(known) / len(known) if known else None
    return found


def table(tallies: Iterable[Tally], held_out: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Family, ``all learned`` and ``held out`` -> figures; families without the operations held out."""
    apart = set(held_out)
    learned: dict[str, list[Tally]] = {}
    others = []
    for tally in tallies:
        if tally.operation in apart:
            others.append(tally)
        else:
            learned.setdefault(tally.family, []).append(tally)
    rows = {family: row(members) for family, members in sorted(learned.items())}
    rows["all learned"] = row([tally for members in learned.values() for tally in members])
    if others:
        rows["held out"] = row(others)
    return rows


@dataclass(frozen=True)
class Reaction:
    """One class of failures of one operation, with and without such a failure in the prompt."""

    operation: str
    error_type: str
    without: float
    """Share of this class among samples of the bare prompt: those that did not serve to choose the class."""
    with_failure: float
    samples: int


def reaction_summary(reactions: Sequence[Reaction]) -> dict[str, float]:
    """Mean shares over operations."""
    count = max(1, len(reactions))
    without = sum(one.without for one in reactions) / count
    shown = sum(one.with_failure for one in reactions) / count
    return {
        "pairs": len(reactions),
        "share_without": without,
        "share_with_failure": shown,
        "ratio": shown / without if without else 0.0,
    }


def as_text(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A table for people."""
    lines = [
        f"{title:24} {'ops':>4} {'samples':>8} {'accepted':>9} "
        + " ".join(f"{f'pass@{k}':>8}" for k in PASS_AT)
    ]
    for name, one in rows.items():
        passes = (one[f"pass@{k}"] for k in PASS_AT)
        shown = " ".join("       -" if value is None else f"{value:8.3f}" for value in passes)
        lines.append(f"{name:24} {one['operations']:4} {one['samples']:8} {one['acceptance']:9.3f} {shown}")
    return "\n".join(lines)
