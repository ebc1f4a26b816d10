"""Holds the times that a candidate's process claims against the judge's own clock.

- Pure. The judge measures the wall time of every block from request to reply; no code of the candidate's runs
  in the process that reads this clock.
- A block's wall time is the calls, the copying of the outputs and the round trip. Eager's block, run by trusted
  code through the same harness on the same shapes, says what all but the calls costs: the *overhead*.
- A candidate may claim less than the wall leaves it only within a tolerance; below it, it is lying.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

OVERHEAD_FACTOR = 1.5
"""Copying outputs and answering varies from block to block; 1.5 covers what was seen on a busy 2-core machine."""
SLACK_US = 300.0
"""Per block: process wake-up, which the scheduler may delay on a machine with few cores."""
LEAST_SHARE = 0.8
"""Claims must reach this share of what the wall leaves for the calls."""


@dataclass(frozen=True)
class TimedBlock:
    """One block: what the process claims for its calls and what the judge saw, microseconds."""

    claimed: Sequence[float]
    wall: float

    @property
    def overhead(self) -> float:
        """Wall time that is not claimed."""
        return self.wall - sum(self.claimed)


def tampered(eager: Sequence[TimedBlock], candidate: Sequence[TimedBlock]) -> str:
    """A sentence if the candidate's claims cannot be true, else ''."""
    if any(t <= 0 or t != t for block in candidate for t in block.claimed):
        return "a call was claimed to take no time at all"
    allowance = max(0.0, statistics.median(b.overhead for b in eager)) * OVERHEAD_FACTOR + SLACK_US
    wall = statistics.median(b.wall for b in candidate)
    claimed = statistics.median(sum(b.claimed) for b in candidate)
    if claimed > wall:
        return f"claims {claimed:.0f} us for a block that took {wall:.0f} us"
    least = LEAST_SHARE * (wall - allowance)
    if claimed < least:
        return f"claims {claimed:.0f} us for a block of {wall:.0f} us, of which at least {least:.0f} us were its own"
    return ""
