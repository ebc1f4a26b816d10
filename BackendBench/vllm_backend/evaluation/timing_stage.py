"""Times a candidate against eager: alternating blocks, fresh inputs, the judge's clock beside the claims.

- Both sides run through the same harness in processes of their own; only eager's is trusted.
- A candidate is stopped (SIGSTOP) while its inputs are written and while eager runs, so that it can neither work
  ahead nor disturb the other side.
- A call that a candidate cannot foresee, and on a GPU a sample of all others, is compared with eager's answer for the
  same inputs.
- The first call on a workload's shapes and one after the last timed block are watched (compute_watch.py): who lets
  torch compute only what looks like a benchmark is seen there.
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
from . import interval, leftovers, outputs
from .bench import FLUSH_BYTES, Bench
from .clock_check import TimedBlock, believed, tampered
from .failure import CandidateFailed, Failure
from .session import Session
from .shared_calls import Buffers, Layout, bits, read

MUCH_SLOWER = 3.0
"""A candidate this many times slower than eager gets blocks with correspondingly fewer calls."""

SAMPLED = 4096
"""Elements of each call's outputs: who leaves out a thousandth of the work is seen in 98 of 100 calls."""


@dataclass
class Lane:
    """One side of a timing: a process and its memory."""

    session: Session
    buffers: Buffers

    @property
    def on_gpu(self) -> bool:
        """Whether its memory is a GPU's."""
        return self.buffers.outputs.tensor.is_cuda

    def stop(self) -> None:
        """Each side runs only in its turn: a candidate cannot work ahead, nor finish after it has answered, and no
        threads spin while the other is timed (OpenMP's wait for work that way, for milliseconds)."""
        _signal(self.session.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it run."""
        _signal(self.session.pid, signal.SIGCONT)

    def cpu_us(self) -> float:
        """Processor time of the process so far, microseconds."""
        return (leftovers.cpu_ns(self.session.pid) or 0) / 1e3

    def outputs(self, layout: Layout) -> torch.Tensor:
        """The output bytes as they are now. A GPU may still work for a stopped process, so there they are copied;
        the copy waits its turn and is part of the wall time."""
        produced = self.buffers.outputs.tensor[: layout.output_bytes]
        if not self.on_gpu:
            return produced
        copied = produced.clone()
        torch.cuda.synchronize(copied.device)
        return copied


@dataclass
class _Exchange:
    """One reply with the outputs at its time and what it took, microseconds; a GPU's work counts as wall time."""

    reply: dict[str, Any]
    outputs: torch.Tensor
    wall: float
    cpu: float


@dataclass
class _Run:
    """One block as it came back."""

    block: TimedBlock
    reply: dict[str, Any]
    outputs: torch.Tensor


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
        self.forbidden: list[str] = []
        """Packets that the candidate may not call although they are only allocation or views."""
        self.note: Callable[[dict[str, Any]], None] = lambda reply: None
        """Gets the replies of watched calls; raises CandidateFailed where torch computed and may not."""

    async def measure(self, bench: Bench, fixed_pairs: int | None = None) -> interval.Ratio:
        """The speedup on one workload: ``fixed_pairs`` pairs, or as many as are decisive.

        Raises CandidateFailed for wrong answers, tampering and time-outs.
        """
        try:
            record = await self._record(bench, fixed_pairs)
        finally:
            self._eager.wake()  # it serves the next candidate as well
        reason = tampered(record.eager, record.candidate)
        if reason:
            raise CandidateFailed(Failure(ErrorType.CLOCK_TAMPERING, reason, bench.workload.name))
        trusted = believed(record.eager, record.candidate)
        return interval.estimate([pair for pair, kept in zip(record.pairs, trusted, strict=True) if kept])

    async def _record(self, bench: Bench, fixed_pairs: int | None) -> Record:
        await self._warm_up(bench)
        record = Record()
        count = await self._calls_in_block(bench)
        await self._pair(bench, Record(), count)  # memory for a whole block, on both sides
        deadline = time.monotonic() + min(self._limit, interval.PATIENCE_SECONDS)
        while not self._enough(record, fixed_pairs, deadline):
            await self._pair(bench, record, count)
        await self._run(self._candidate, bench, bench.fresh(self._rng)[:1], [0], watch=True)
        return record

    @staticmethod
    def _enough(record: Record, fixed_pairs: int | None, deadline: float) -> bool:
        taken = len(record.pairs)
        if taken >= interval.MIN_PAIRS and time.monotonic() > deadline:
            return True
        if fixed_pairs is not None:
            return taken >= fixed_pairs
        decided = interval.decisive(record.pairs)
        if decided and taken < interval.MIN_PAIRS:  # of so few, a disturbed one would weigh too much
            return all(believed(record.eager, record.candidate))
        return decided

    async def _warm_up(self, bench: Bench) -> None:
        """First calls on these shapes: compile, autotune; and the strict comparison of their result."""
        inputs = bench.first()
        await self._run(self._eager, bench, [inputs], [0])
        first = await self._run(
            self._candidate,
            bench,
            [inputs],
            [0],
            f"the first call on {bench.workload.name}",
            watch=True,
        )
        produced = read(first.outputs, bench.layout.items[0])
        failure = bench.failure(self._operation, produced)
        if failure is not None:
            raise CandidateFailed(Failure(failure.error_type, failure.message, bench.workload.name))

    async def repeatable(self, bench: Bench) -> bool:
        """Whether the same inputs give the same bits twice. It is said, not asked for: atomics need not."""
        item, inputs = bench.layout.items[0], bench.first()
        answers = []
        for _ in range(2):
            run = await self._run(self._candidate, bench, [inputs], [0], "a repeated call")
            answers.append([t.clone() for t in read(run.outputs, item)])
        return all(torch.equal(bits(a), bits(b)) for a, b in zip(*answers, strict=True))

    async def _calls_in_block(self, bench: Bench) -> int:
        """Calls of the candidate's block: fewer where it is much slower than eager."""
        sets = bench.fresh(self._rng)
        eager = await self._run(self._eager, bench, sets[:1], [0])
        candidate = await self._run(self._candidate, bench, sets[:1], [0])
        slower = candidate.block.wall / max(eager.block.wall, 1.0)
        return bench.calls if slower < MUCH_SLOWER else max(1, round(bench.calls / slower))

    async def _pair(self, bench: Bench, record: Record, count: int) -> None:
        sets = bench.fresh(self._rng)
        everything = list(range(bench.calls))
        # By turns the one or the other begins: whoever comes second finds other caches and a core just left.
        if len(record.pairs) % 2:
            candidate = await self._run(self._candidate, bench, sets[:count], everything[:count])
            eager = await self._run(self._eager, bench, sets, everything)
        else:
            eager = await self._run(self._eager, bench, sets, everything)
            candidate = await self._run(self._candidate, bench, sets[:count], everything[:count])
        self._check(bench, sets, eager, candidate, count)
        record.pairs.append(interval.Pair(eager.block.claimed, candidate.block.claimed))
        record.eager.append(eager.block)
        record.candidate.append(candidate.block)

    def _check(
        self, bench: Bench, sets: list[list[torch.Tensor]], eager: _Run, candidate: _Run, count: int
    ) -> None:
        """One call that the candidate could not foresee, whole. On a GPU, where work may go on after the reply, also a
        secret sample of every other call: whatever is missing or late shows there."""
        chosen = self._rng.randrange(count)
        picking = torch.Generator(eager.outputs.device).manual_seed(self._rng.getrandbits(62))
        untouched: list[torch.Tensor] = []
        right: list[torch.Tensor] = []
        for slot in range(count):
            if slot != chosen and not self._candidate.on_gpu:
                continue
            item = bench.layout.items[slot]
            expected, produced = read(eager.outputs, item), read(candidate.outputs, item)
            failure = outputs.contract(candidate.reply, slot, expected)
            if failure is not None:
                raise CandidateFailed(Failure(failure.error_type, failure.message, bench.workload.name))
            if slot != chosen:
                expected, produced = _sample(expected, produced, picking)
            else:
                untouched = self._candidate.buffers.unchanged(item, sets[slot])
            right.append(outputs.roughly_equal(produced, expected))
        answers = torch.stack([*untouched, *right]).tolist()  # waits for a GPU, once
        if all(answers):
            return
        text = "a call that was timed returned a wrong answer"
        failure = Failure(ErrorType.WRONG_VALUES, text, bench.workload.name)
        if not all(answers[: len(untouched)]):
            text = "an input was changed during timing"
            failure = Failure(ErrorType.INPUT_MODIFIED, text, bench.workload.name)
        raise CandidateFailed(failure)

    async def _run(
        self,
        lane: Lane,
        bench: Bench,
        sets: list[list[torch.Tensor]],
        indices: list[int],
        stage: str = "timing",
        watch: bool = False,
    ) -> _Run:
        """One block. On a GPU the clock stops when the outputs are in the judge's hands, not when they are said to be;
        on a CPU handing them over is timed by itself, since it may take longer than the calls. ``watch``: it is run
        to see whether torch computes, not to be timed."""
        lane.session.stage, lane.session.case_names = stage, [bench.workload.name] * len(indices)
        self._fill(lane.buffers, bench.layout, sets, indices)
        later = not lane.on_gpu
        done = await self._exchange(
            lane, bench.layout, "block",
            calls=bench.layout.request(indices), flush_bytes=FLUSH_BYTES, deliver_later=later,
            watch=watch, forbidden=self.forbidden,
        )  # fmt: skip
        reply, delivery = done.reply, 0.0
        times = _times(reply, len(indices))
        if later:
            delivered = await self._exchange(lane, bench.layout, "deliver")
            reply, delivery = {**reply, **delivered.reply}, min(delivered.wall, delivered.cpu)
        leftovers.refuse_reported(reply)
        if watch:
            self.note(reply)
        return _Run(TimedBlock(times, done.wall, done.cpu, delivery), reply, done.outputs)

    async def _exchange(self, lane: Lane, layout: Layout, do: str, **payload: Any) -> _Exchange:
        """One request to a lane, which is awake only meanwhile."""
        used = lane.cpu_us()
        started = time.perf_counter_ns()
        lane.wake()
        reply = await lane.session.request(do, self._limit, **payload)
        lane.stop()
        produced = lane.outputs(layout)
        wall = (time.perf_counter_ns() - started) / 1e3
        return _Exchange(reply, produced, wall, wall if lane.on_gpu else lane.cpu_us() - used)

    @staticmethod
    def _fill(buffers: Buffers, layout: Layout, sets: list[list[torch.Tensor]], indices: list[int]) -> None:
        for index, tensors in zip(indices, sets, strict=True):
            buffers.write(layout.items[index], tensors)
        buffers.poison(layout)
        buffers.settle()


def _sample(
    expected: list[torch.Tensor], produced: list[torch.Tensor], picking: torch.Generator
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The same secret elements of both; outputs are dense where they lie."""
    pairs = []
    for one, other in zip(expected, produced, strict=True):
        picked = torch.randint(
            max(1, one.numel()), (min(SAMPLED, one.numel()),), generator=picking, device=one.device
        )
        pairs.append((one.reshape(-1)[picked], other.reshape(-1)[picked]))
    return [p[0] for p in pairs], [p[1] for p in pairs]


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
    try:
        return [float(t) for t in times]
    except OverflowError:  # JSON's integers have no bounds
        raise CandidateFailed(Failure(ErrorType.PROTOCOL_VIOLATION, "times beyond all numbers")) from None
