"""Times a candidate against eager: alternating blocks, fresh inputs, the judge's clock beside the claims.

- Both sides run through the same harness in processes of their own; only eager's is trusted.
- A call that a candidate cannot foresee, and on a GPU a sample of all others, is compared with eager's answer for the
  same inputs. What is fast but wrong here is rejected, whatever it answered before.
- First calls have been made before (rehearsal.py). Two blocks that are not timed are watched again, one at a secret
  place among the pairs and one after the last: who lets torch compute only what looks like a benchmark is seen there.
  The last is compared strictly: a kernel that tunes itself has chosen only now what it runs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...operations.operation import Operation
from ...state.error_type import ErrorType
from ..correctness import outputs
from ..failure import CandidateFailed, Failure
from ..memory.shared_calls import BlockInputs, read
from . import interval, spot_check
from .bench import Bench
from .clock_check import TimedBlock, tampered
from .lane import Keep, Lane, Run, nothing
from .record import Record
from .rehearsal import Rehearsed, needed_calls

TOO_SHORT = 2
"""A candidate's block with so many times fewer calls than its claims ask for says nothing: of a short block the judge's
clock sees less. Who claims to be slow first and fast then is asked again with more calls."""
LONGEST = 3
"""Times the limit of one request: the device is nobody's for longer than that on one workload."""
MOST_UNREAD = 8
"""Pairs whose answers are compared together, on a GPU: some 85 small operations and a wait for it are 1.1 ms, of 9 ms
that a pair takes. What is kept of a pair until then is 8 MB for each float32 output."""
MOST_TOO_SHORT = 6
"""Such pairs of one workload; an honest kernel's times do not jump about like that."""


@dataclass(frozen=True)
class _Answers:
    """What was kept of a pair of blocks."""

    untouched: list[torch.Tensor]
    """Of the candidate's inputs, bool scalars."""
    eager: list[torch.Tensor]
    candidate: list[torch.Tensor]


class TimingStage:
    """Times one candidate on one workload after another. The caller holds the device alone."""

    def __init__(
        self,
        eager: Sequence[Lane],
        candidate: Lane,
        operation: Operation,
        rng: random.Random,
        limit: float,
    ) -> None:
        """``eager``: its processes, which take turns."""
        self._eager = eager
        self._candidate = candidate
        self._candidate.queued.clear()  # of a rehearsal, while others kept the cores busy
        self._operation = operation
        self._rng = rng
        self._limit = limit
        self._end = 0.0
        self._unread: list[_Answers] = []

    async def measure(
        self, bench: Bench, rehearsed: Rehearsed, fixed_pairs: int | None = None
    ) -> interval.Ratio:
        """The speedup on one workload: ``fixed_pairs`` pairs, or as many as are decisive.

        Raises CandidateFailed for wrong answers, tampering and time-outs.
        """
        try:
            record = await self._record(bench, rehearsed, fixed_pairs)
        finally:
            self._candidate.limit = self._limit
            for lane in self._eager:
                lane.wake()  # it serves the next candidate as well
        reason = tampered(record.eager, record.candidate)
        if reason:
            raise _tampering(reason, bench)
        found, on = interval.estimate(record.trusted()), bench.device.type
        return interval.widened(found, interval.PROCESS_US[on], interval.PROCESS_SHARE[on])

    async def _record(self, bench: Bench, rehearsed: Rehearsed, fixed_pairs: int | None) -> Record:
        record, too_short, self._unread = Record(), 0, []
        self._end = time.monotonic() + LONGEST * self._limit
        count = await self._begin(bench, rehearsed, fixed_pairs)
        watched = self._rng.randint(1, fixed_pairs or interval.CLEAR_PAIRS)
        deadline = time.monotonic() + min(self._limit, interval.PATIENCE_SECONDS)

        def overdue() -> bool:
            return time.monotonic() > deadline

        while not record.enough(fixed_pairs, overdue=overdue()):
            eager, candidate = await self._pair(bench, count, len(record.pairs) + record.late)
            count = _needed(candidate, eager, bench.calls)
            if long_enough(candidate, eager, bench.calls):
                record.add(eager, candidate, overdue())
            elif (too_short := too_short + 1) > MOST_TOO_SHORT:
                raise _tampering("its times change many times over from block to block", bench)
            if watched == len(record.pairs):
                await self._watch(bench, count)
                watched = 0
        self._read_answers(bench)
        # Of gigabytes only where it is needed: eager's answer to them is asked for anew.
        await self._watch(bench, count, strictly=bench.calls > 1 or rehearsed.tunes)
        return record

    async def _watch(self, bench: Bench, count: int, strictly: bool = False) -> None:
        """A block that is not timed. ``strictly``: a secret one of its calls is compared as a first call is."""
        if not strictly:
            fresh = bench.fresh(self._rng, count)
            await self._called(self._candidate, bench, fresh, count, nothing, watch=True)
            return
        block = bench.last(self._rng, count)
        keep = self._candidate.whole(bench.layout.items[block.call])
        run = await self._called(self._candidate, bench, block.inputs, count, keep, watch=True)
        failure = bench.failure(self._operation, block, run.kept)
        if failure is not None:
            raise CandidateFailed(Failure(failure.error_type, failure.message, bench.workload.name))

    async def _called(
        self,
        lane: Lane,
        bench: Bench,
        inputs: BlockInputs,
        count: int,
        keep: Keep,
        watch: bool = False,
        hold_us: float | None = None,
    ) -> Run:
        """A block; a candidate's for as long as is left."""
        if lane is self._candidate:
            lane.limit = max(0.1, min(self._limit, self._end - time.monotonic()))
        return await lane.run(bench, inputs, count, keep, watch=watch, hold_us=hold_us)

    async def _begin(self, bench: Bench, rehearsed: Rehearsed, fixed_pairs: int | None) -> int:
        """What is not timed before the first pair. Returns the calls of the candidate's first block."""
        # A figure that is reported of a winner begins with a pair that does not count; so does everything on a CPU,
        # where caches and cores were somebody else's until now, and what tunes itself in its first call.
        device = self._candidate.buffers.outputs.tensor.device
        spot_check.reserve(bench.layout, bench.calls, device, MOST_UNREAD)
        paired = rehearsed.tunes or fixed_pairs is not None or not self._candidate.on_gpu
        for lane in self._eager[1 if paired else 0 :]:
            if paired or bench.workload.name not in lane.warm:
                fresh = bench.fresh(self._rng, bench.calls)
                await self._called(lane, bench, fresh, bench.calls, nothing)
        for lane in self._eager:
            lane.warm.add(bench.workload.name)
        if not paired:
            return rehearsed.calls
        eager, candidate = await self._pair(bench, rehearsed.calls, 0)
        return _needed(candidate, eager, bench.calls)

    async def _pair(self, bench: Bench, count: int, number: int) -> tuple[TimedBlock, TimedBlock]:
        """Eager's block and the candidate's, of ``count`` calls. Raises CandidateFailed for a wrong answer."""
        # Of two pairs in a row, in which the one and the other begins, eager's are one process's.
        mine = self._eager[number // 2 % len(self._eager)]
        inputs = bench.fresh(self._rng, bench.calls)
        device = mine.buffers.outputs.tensor.device
        spots = spot_check.draw(bench.layout, count, device, self._rng)
        blocks = [
            (mine, bench.calls, spots.keep(bench.calls)),
            (self._candidate, count, spots.keep(count)),
        ]
        # The same for both, so that the judge's clock sees the same beside the calls.
        hold = max(lane.hold_us(calls) for lane, calls, _ in blocks)
        # By turns the one or the other begins: whoever comes second finds other caches and a core just left.
        runs = [
            await self._called(lane, bench, inputs, calls, keep, hold_us=hold)
            for lane, calls, keep in (reversed(blocks) if number % 2 else blocks)
        ]
        eager, candidate = reversed(runs) if number % 2 else runs
        promised = read(mine.buffers.outputs.tensor, bench.layout.items[spots.chosen])
        self._check(bench, inputs, spots, promised, eager, candidate)
        return eager.block, candidate.block

    def _check(
        self,
        bench: Bench,
        inputs: BlockInputs,
        spots: spot_check.Spots,
        promised: Sequence[torch.Tensor],
        eager: Run,
        candidate: Run,
    ) -> None:
        for slot in range(len(candidate.block.claimed)) if self._candidate.on_gpu else [spots.chosen]:
            failure = outputs.contract(candidate.reply, slot, promised)
            if failure is not None:
                raise CandidateFailed(Failure(failure.error_type, failure.message, bench.workload.name))
        untouched = inputs.unchanged(self._candidate.buffers, spots.chosen)
        self._unread.append(_Answers(untouched, eager.kept, candidate.kept))
        # On a CPU these are no copies.
        if len(self._unread) >= MOST_UNREAD or not self._candidate.on_gpu:
            self._read_answers(bench)

    def _read_answers(self, bench: Bench) -> None:
        """Raises CandidateFailed where one since the last time is wrong."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        right = spot_check.agree([(one.eager, one.candidate) for one in unread])
        untouched = [same for one in unread for same in one.untouched]
        answers = torch.stack([*untouched, right]).tolist()  # waits for a GPU, once
        if all(answers):
            return
        text = "a call that was timed returned a wrong answer"
        failure = Failure(ErrorType.WRONG_VALUES, text, bench.workload.name)
        if not all(answers[:-1]):
            text = "an input was changed during timing"
            failure = Failure(ErrorType.INPUT_MODIFIED, text, bench.workload.name)
        raise CandidateFailed(failure)


def long_enough(candidate: TimedBlock, eager: TimedBlock, calls: int) -> bool:
    """Whether the candidate's block had about as many calls as its own claims ask for; ``calls``: of a full block."""
    return len(candidate.claimed) * TOO_SHORT >= _needed(candidate, eager, calls)


def _needed(candidate: TimedBlock, eager: TimedBlock, calls: int) -> int:
    mine, theirs = eager.total / len(eager.claimed), candidate.total / len(candidate.claimed)
    return needed_calls(calls, theirs / max(mine, 1e-3))


def _tampering(reason: str, bench: Bench) -> CandidateFailed:
    return CandidateFailed(Failure(ErrorType.CLOCK_TAMPERING, reason, bench.workload.name))
