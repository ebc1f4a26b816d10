"""Holds the times that a candidate's process claims against the judge's own clock.

- Pure. The judge measures the wall time of every block from request to reply; no code of the candidate's runs
  in the process that reads this clock.
- A block's wall time is the calls, the copying of the outputs and the round trip. Eager's block, run by trusted
  code through the same harness on the same shapes, says what all but the calls costs: the *overhead*.
- On a CPU the kernel's account of the process's processor time bounds the wall time: what the process spent
  waiting for a busy core is not held against it.
- A speedup rests on the pairs whose claims the clock supports; where that is not most of them, it is tampering.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

OVERHEAD_FACTOR = 1.5
"""Copying outputs and answering varies from block to block; 1.5 covers what was seen on a busy 2-core machine."""
SLACK_US = 200.0
"""Per block: process wake-up, which the scheduler may delay on a machine with few cores."""
LEAST_SHARE = 0.8
"""Claims must reach this share of what the wall leaves for the calls."""


@dataclass(frozen=True)
class TimedBlock:
    """One block: what the process claims for its calls and what the judge saw, microseconds."""

    claimed: Sequence[float]
    wall: float
    cpu: float | None = None
    """Processor time of the whole process during the block; None where work is not done by the processor."""

    @property
    def overhead(self) -> float:
        """Wall time that is not claimed."""
        return self.wall - sum(self.claimed)

    @property
    def busy(self) -> float:
        """What of the wall time the process can have worked."""
        return self.wall if self.cpu is None else min(self.wall, self.cpu)


def believed(eager: Sequence[TimedBlock], candidate: Sequence[TimedBlock]) -> list[bool]:
    """For every pair of blocks whether the judge's clock supports the candidate's claim."""
    usual = max(0.0, statistics.median(b.overhead for b in eager))
    return [
        _least(theirs, max(usual, mine.overhead)) <= sum(theirs.claimed) <= theirs.wall
        for mine, theirs in zip(eager, candidate, strict=True)
    ]


def _least(block: TimedBlock, overhead: float) -> float:
    """The least that an honest process can claim for this block, microseconds."""
    return LEAST_SHARE * (block.busy - overhead * OVERHEAD_FACTOR - SLACK_US)


def tampered(eager: Sequence[TimedBlock], candidate: Sequence[TimedBlock]) -> str:
    """A sentence if the candidate's claims cannot be true, else ''."""
    if any(t <= 0 or t != t for block in candidate for t in block.claimed):
        return "a call was claimed to take no time at all"
    trusted = believed(eager, candidate)
    if sum(trusted) * 2 > len(trusted):
        return ""
    wall = statistics.median(b.wall for b in candidate)
    claimed = statistics.median(sum(b.claimed) for b in candidate)
    if claimed > wall:
        return f"claims {claimed:.0f} us for a block that took {wall:.0f} us"
    usual = max(0.0, statistics.median(b.overhead for b in eager))
    least = statistics.median(_least(b, usual) for b in candidate)
    return (
        f"claims {claimed:.0f} us for a block of {wall:.0f} us, of which at least {least:.0f} us were its own"
    )
