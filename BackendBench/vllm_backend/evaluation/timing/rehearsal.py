"""A candidate's first calls on the workloads, before it has the device alone.

- What a first call does takes longer than a block: code is loaded, memory is allocated, and both wait for a driver that
  is busy with other candidates. None of it is timed, so the device is shared meanwhile.
- The first call is compared strictly and watched: who lets torch compute only what looks like a benchmark is seen.
- An autotuned kernel runs one of its configurations; it tunes when it has the device alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from ...operations.operation import Operation
from ..failure import CandidateFailed, Failure
from ..memory.shared_calls import bits
from .bench import Bench
from .lane import Lane, Run

MUCH_SLOWER = 3.0
"""A candidate's block is made no longer than about this many of eager's, by having fewer calls."""
PROBED = 2
"""Calls by which it is guessed how many a block should have; of a device that others use as well, the faster one."""


@dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal says about the timing of one workload. All of it is the candidate's word: it decides how the
    timing begins."""

    calls: int
    """Of the candidate in the first block."""
    tunes: bool
    """Whether an autotuned kernel was called, whose first timed call will tune."""


async def rehearse(
    lane: Lane, bench: Bench, operation: Operation, rng: random.Random, turn: int
) -> Rehearsed:
    """First calls of a candidate on one workload; ``turn``: the configuration that an autotuned kernel runs.

    Raises CandidateFailed.
    """
    first = await _first_call(lane, bench, operation, turn)
    count = 1
    if bench.calls > 1:
        probe = await _again(lane, bench, rng, PROBED, turn)
        count = needed_calls(bench.calls, min(probe.block.claimed) / max(bench.eager_us, 1.0))
    if count > PROBED:
        await _again(lane, bench, rng, count, turn)
    return Rehearsed(count, bool(first.reply.get("tunes")))


async def _again(lane: Lane, bench: Bench, rng: random.Random, count: int, turn: int) -> Run:
    """A block that is not timed, which takes the memory that it needs."""
    return await lane.run(bench, bench.fresh(rng, count), count, stage="a block of calls", untuned=turn)


async def _first_call(lane: Lane, bench: Bench, operation: Operation, turn: int) -> Run:
    block = bench.first()
    first = await lane.run(
        bench, block.inputs, 1, lane.whole(bench.layout.items[0]),
        f"the first call on {bench.workload.name}", watch=True, untuned=turn,
    )  # fmt: skip
    failure = bench.failure(operation, block, first.kept)
    first.kept.clear()  # gigabytes, perhaps
    if failure is not None:
        raise CandidateFailed(Failure(failure.error_type, failure.message, bench.workload.name))
    return first


async def repeatable(lane: Lane, bench: Bench, rng: random.Random) -> bool:
    """Whether the same inputs give the same bits twice. It is said, not asked for: atomics need not."""
    item, inputs = bench.layout.items[0], bench.fresh(rng, 1)
    answers = []
    for _ in range(2):
        run = await lane.run(bench, inputs, 1, lane.whole(item), "a repeated call")
        answers.append([t.clone() for t in run.kept])
    return all(torch.equal(bits(a), bits(b)) for a, b in zip(*answers, strict=True))


def needed_calls(calls: int, slower: float) -> int:
    """Calls of the block of a candidate that is ``slower`` times slower than eager, whose block has ``calls``."""
    return max(1, min(calls, round(calls * MUCH_SLOWER / max(slower, MUCH_SLOWER))))
