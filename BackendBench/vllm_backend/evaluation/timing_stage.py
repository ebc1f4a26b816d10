"""Times a candidate against eager: alternating blocks, fresh inputs, the judge's clock beside the claims.

- Both sides run through the same harness in processes of their own; only eager's is trusted.
- A candidate is stopped (SIGSTOP) while its inputs are written and while eager runs, so that it can neither work
  ahead nor disturb the other side.
- One secretly chosen call of every block is compared with eager's answer for the same inputs.
- What is fast but wrong here is rejected, whatever it answered before.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ..operations.operation import Operation
from ..state.error_type import ErrorType
from . import interval, outputs
from .bench import FLUSH_BYTES, Bench
from .clock_check import TimedBlock, tampered
from .failure import CandidateFailed, Failure
from .session import Session
from .shared_calls import Buffers, Layout

MUCH_SLOWER = 3.0
"""A candidate this many times slower than eager gets blocks with correspondingly fewer calls."""


@dataclass
class Lane:
    """One side of a timing: a process and its memory."""

    session: Session
    buffers: Buffers


@dataclass
class Record:
    """What was measured on one workload."""

    pairs: list[interval.Pair] = field(default_factory=list)
    eager: list[TimedBlock] = field(default_factory=list)
    candidate: list[TimedBlock] = field(default_factory=list)


class TimingStage:
    """Times one candidate on one workload after another. The caller holds the device alone."""

    def __init__(
        self, eager: Lane, candidate: Lane, operation: Operation, rng: random.Random, limit: float
    ) -> None:
        self._eager = eager
        self._candidate = candidate
        self._operation = operation
        self._rng = rng
        self._limit = limit

    async def measure(self, bench: Bench, fixed_pairs: int | None = None) -> interval.Ratio:
        """The speedup on one workload: ``fixed_pairs`` pairs, or as many as are decisive.

        Raises CandidateFailed for wrong answers, tampering and time-outs.
        """
        await self._warm_up(bench)
        record = Record()
        count = await self._calls_in_block(bench)
        deadline = time.monotonic() + self._limit
        while not self._enough(record, fixed_pairs, deadline):
            await self._pair(bench, record, count)
        reason = tampered(record.eager, record.candidate)
        if reason:
            raise CandidateFailed(Failure(ErrorType.CLOCK_TAMPERING, reason, bench.workload.name))
        return interval.estimate(record.pairs)

    @staticmethod
    def _enough(record: Record, fixed_pairs: int | None, deadline: float) -> bool:
        taken = len(record.pairs)
        if taken >= interval.MIN_PAIRS and time.monotonic() > deadline:
            return True
        return interval.decisive(record.pairs) if fixed_pairs is None else taken >= fixed_pairs

    async def _warm_up(self, bench: Bench) -> None:
        """First calls on these shapes: compile, autotune; and the strict comparison of their result."""
        await self._run(self._eager, bench, [bench.bases[0]], [0], "block")
        block, _ = await self._run(self._candidate, bench, [bench.bases[0]], [0], "block", stage="compile")
        del block
        produced = self._candidate.buffers.read(bench.layout.items[0])
        failure = outputs.compare(self._operation, produced, bench.expected, bench.precise)
        if failure is not None:
            raise CandidateFailed(Failure(failure.error_type, failure.message, bench.workload.name))

    async def _calls_in_block(self, bench: Bench) -> int:
        """Calls of the candidate's block: fewer where it is much slower than eager."""
        sets = bench.fresh(self._rng)
        eager, _ = await self._run(self._eager, bench, sets[:1], [0], "block")
        candidate, _ = await self._run(self._candidate, bench, sets[:1], [0], "block")
        slower = candidate.wall / max(eager.wall, 1.0)
        return bench.calls if slower < MUCH_SLOWER else max(1, round(bench.calls / slower))

    async def _pair(self, bench: Bench, record: Record, count: int) -> None:
        sets = bench.fresh(self._rng)
        everything = list(range(bench.calls))
        eager, _ = await self._run(self._eager, bench, sets, everything, "block")
        candidate, reply = await self._run(self._candidate, bench, sets[:count], everything[:count], "block")
        self._check(bench, sets, self._rng.randrange(count), reply)
        record.pairs.append(interval.Pair(eager.claimed, candidate.claimed))
        record.eager.append(eager)
        record.candidate.append(candidate)

    def _check(self, bench: Bench, sets: list[list[torch.Tensor]], slot: int, reply: dict[str, Any]) -> None:
        """One call that the candidate could not know would be looked at."""
        item = bench.layout.items[slot]
        failure = outputs.contract(reply, slot, self._eager.buffers.read(item))
        if failure is None and not self._candidate.buffers.untouched(item, sets[slot]):
            failure = Failure(ErrorType.INPUT_MODIFIED, "an input was changed during timing")
        if failure is None:
            failure = outputs.roughly_equal(
                self._candidate.buffers.read(item), self._eager.buffers.read(item)
            )
        if failure is not None:
            raise CandidateFailed(Failure(failure.error_type, failure.message, bench.workload.name))

    async def _run(
        self, lane: Lane, bench: Bench, sets: list[list[torch.Tensor]], indices: list[int], do: str,
        stage: str = "timing",
    ) -> tuple[TimedBlock, dict[str, Any]]:  # fmt: skip
        trusted = lane is self._eager
        lane.session.stage = "timing" if stage == "timing" else f"the first call on {bench.workload.name}"
        with paused(lane.session) if not trusted else contextlib.nullcontext(lambda: None) as wake:
            self._fill(lane.buffers, bench.layout, sets, indices)
            started = time.perf_counter_ns()
            wake()
            reply = await lane.session.request(
                do, self._limit, calls=bench.layout.request(indices), flush_bytes=FLUSH_BYTES
            )
            wall = (time.perf_counter_ns() - started) / 1e3
        return TimedBlock(_times(reply, len(indices)), wall), reply

    @staticmethod
    def _fill(buffers: Buffers, layout: Layout, sets: list[list[torch.Tensor]], indices: list[int]) -> None:
        for index, tensors in zip(indices, sets, strict=True):
            buffers.write(layout.items[index], tensors)
        buffers.poison(layout)
        if buffers.inputs.tensor.is_cuda:
            torch.cuda.synchronize(buffers.inputs.tensor.device)


@contextlib.contextmanager
def paused(session: Session) -> Any:
    """The process does not run until the yielded function is called (or the context is left)."""
    awake = False

    def wake() -> None:
        nonlocal awake
        awake = True
        _signal(session.pid, signal.SIGCONT)

    _signal(session.pid, signal.SIGSTOP)
    try:
        yield wake
    finally:
        if not awake:
            wake()


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _times(reply: dict[str, Any], count: int) -> list[float]:
    times = reply.get("times_us")
    if (
        not isinstance(times, list)
        or len(times) != count
        or not all(isinstance(t, (int, float)) for t in times)
    ):
        raise CandidateFailed(Failure(ErrorType.PROTOCOL_VIOLATION, "malformed times"))
    return [float(t) for t in times]


Clock = Callable[[], float]
