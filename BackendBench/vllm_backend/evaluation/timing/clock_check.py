"""Holds the times that a candidate's process claims against the judge's own clock.

- Pure. The judge measures the wall time of every block from request to reply; no code of the candidate's runs
  in the process that reads this clock.
- A block's wall time is the calls, the round trip and on a GPU the copying of the outputs. Eager's block, run by
  trusted code through the same harness on the same shapes, says what all but the calls costs: the *overhead*.
- On a CPU the outputs are handed over in a second step that must cost no more than eager's: whoever computes there
  has not computed when it was timed.
- On a busy machine a process also waits for a core. What the kernel counts as its processor time, stretched as
  eager's was, bounds the time that it can have worked.
- A speedup rests on the pairs whose claims the clock supports; where there are hardly any, it is tampering.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

OVERHEAD_FACTOR = 1.5
"""Answering and copying outputs varies from block to block; 1.5 covers what was seen on a busy 2-core machine."""
GPU_OVERHEAD_FACTOR = 1.15
"""Of a GPU's block most of the overhead is the GPU's own fixed work (cold L2, copies), which hardly varies."""
SLACK_US = 200.0
"""Per block: process wake-up, which the scheduler may delay on a machine with few cores."""
LEAST_SHARE = 0.8
"""Claims must reach this share of what the wall leaves for the calls."""
DELIVERY_FACTOR = 2.0
"""Handing over the outputs of a block against eager's: strided ones and cold pages cost more, computing them costs more
still. A block of fewer calls takes three times eager's time by its own claims: what it may hide here is small."""
LEAST_TRUSTED = 3
"""Pairs that the clock must support. A busy machine may spoil many; the speedup rests on the others alone, so nobody
gains by lying in some."""


@dataclass(frozen=True)
class TimedBlock:
    """One block: what the process claims for its calls and what the judge saw, microseconds."""

    claimed: Sequence[float]
    wall: float
    cpu: float = 0.0
    """Processor time of the whole process during the block; the wall time where a GPU works."""
    delivery: float = 0.0
    """What handing over the outputs took where that is a step of its own: the lesser of wall and processor time."""
    held: float = 0.0
    """For how long the judge had a GPU held up before the calls."""
    late: bool = False
    """Whether a GPU began with calls before those queued with them were, by the process's own word, which counts of
    eager."""

    @property
    def on_gpu(self) -> bool:
        """Whether the work was a GPU's."""
        return self.cpu == self.wall

    @property
    def total(self) -> float:
        """Claimed for all calls."""
        return sum(self.claimed)

    @property
    def overhead(self) -> float:
        """Wall time that is neither claimed nor asked for."""
        return self.wall - self.total - self.held


def believed(eager: Sequence[TimedBlock], candidate: Sequence[TimedBlock]) -> list[bool]:
    """For every pair of blocks whether the judge's clock supports the candidate's claim.

    Measured by what eager's blocks *usually* cost: were it the same pair's, the few pairs in which eager was disturbed
    would let a lie pass, and the speedup would rest on them.
    """
    usual = max(0.0, statistics.median(b.overhead for b in eager))
    delivery = statistics.median(b.delivery for b in eager)
    return [
        _least(mine, theirs, usual) <= theirs.total <= theirs.wall
        and theirs.delivery <= DELIVERY_FACTOR * delivery + SLACK_US
        for mine, theirs in zip(eager, candidate, strict=True)
    ]


def _least(mine: TimedBlock, theirs: TimedBlock, overhead: float) -> float:
    """The least that an honest process can claim for its block, microseconds."""
    stretch = max(1.0, mine.total / mine.cpu) if mine.cpu else 1.0
    worked = (min(theirs.wall, theirs.cpu * stretch) if theirs.cpu else theirs.wall) - theirs.held
    factor = GPU_OVERHEAD_FACTOR if theirs.on_gpu else OVERHEAD_FACTOR
    return LEAST_SHARE * (worked - overhead * factor - SLACK_US)


def tampered(eager: Sequence[TimedBlock], candidate: Sequence[TimedBlock]) -> str:
    """A sentence if the candidate's claims cannot be true, else ''."""
    if any(t <= 0 or t != t for block in candidate for t in block.claimed):
        return "a call was claimed to take no time at all"
    trusted = believed(eager, candidate)
    if sum(trusted) >= LEAST_TRUSTED:
        return ""
    wall = statistics.median(b.wall for b in candidate)
    claimed = statistics.median(b.total for b in candidate)
    if claimed > wall:
        return f"claims {claimed:.0f} us for a block that took {wall:.0f} us"
    usual = max(0.0, statistics.median(b.overhead for b in eager))
    least = statistics.median(_least(e, c, usual) for e, c in zip(eager, candidate, strict=True))
    if claimed >= least:
        mine, theirs = (statistics.median(b.delivery for b in side) for side in (eager, candidate))
        return (
            f"handing over its outputs takes {theirs:.0f} us, eager's {mine:.0f} us: work that was not timed"
        )
    return (
        f"claims {claimed:.0f} us for a block of {wall:.0f} us, of which at least {least:.0f} us were its own"
    )
