"""What was measured of a candidate on one workload, and whether more is worth the device's time. Pure.

- A pair counts only where the judge's clock supports it (clock_check.py), and where eager's calls were all queued in
  time: otherwise Python's time lies in eager's claims, and makes the candidate look faster than it is.
- Where the clock supports hardly any, more are taken before that counts as tampering: a process that waits for a core,
  on a machine that others use too, spoils the pairs of an honest kernel as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import interval
from .clock_check import LEAST_TRUSTED, TimedBlock, believed

MOST_LATE = 8
"""Pairs of one workload that are taken anew since eager was late; further ones count all the same."""
MOST_DOUBTED = 12
"""Pairs after which it is tampering, where there is time for so many. Of an honest kernel that is disturbed in half of
its pairs, three of twelve are undisturbed in 98 of 100 cases."""


@dataclass
class Record:
    """See the module's docstring."""

    pairs: list[interval.Pair] = field(default_factory=list)
    eager: list[TimedBlock] = field(default_factory=list)
    candidate: list[TimedBlock] = field(default_factory=list)
    late: int = 0
    """Pairs left out because eager was late."""

    def add(self, eager: TimedBlock, candidate: TimedBlock, overdue: bool = False) -> None:
        """One pair of blocks. ``overdue``: see ``enough``."""
        if eager.late and self.late < MOST_LATE and not overdue:
            self.late += 1
            return
        self.pairs.append(interval.Pair(eager.claimed, candidate.claimed))
        self.eager.append(eager)
        self.candidate.append(candidate)

    def trusted(self) -> list[interval.Pair]:
        """Pairs that the clock supports."""
        if not self.pairs:
            return []
        kept = believed(self.eager, self.candidate)
        return [pair for pair, is_kept in zip(self.pairs, kept, strict=True) if is_kept]

    def enough(self, fixed: int | None, overdue: bool) -> bool:
        """Whether no more pairs are to be taken. ``fixed``: so many are, whatever they say; ``overdue``: no time
        is left for more than a few."""
        taken, trusted = len(self.pairs), self.trusted()
        if taken >= interval.MIN_PAIRS and overdue:
            return True
        if len(trusted) < LEAST_TRUSTED and taken < MOST_DOUBTED:
            return False
        if fixed is not None:
            return taken >= fixed
        return taken >= interval.MAX_PAIRS or len(trusted) < LEAST_TRUSTED or interval.decisive(trusted)
