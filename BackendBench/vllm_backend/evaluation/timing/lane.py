"""One side of a timing, eager or a candidate: a process, its memory, and blocks of calls that it is asked for.

A side runs only in its turn (SIGSTOP, SIGCONT): a candidate can neither work ahead while its inputs are written nor
finish after it has answered, and it does not disturb the other side.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ...state.error_type import ErrorType
from ..failure import CandidateFailed, Failure
from ..memory.shared_calls import BlockInputs, Buffers, LaidOut, read
from ..processes import leftovers
from ..processes.session import Session
from ..resources.own_cores import OwnCores
from .bench import FLUSH_BYTES, Bench
from .clock_check import TimedBlock

SHORTEST_US, LONGEST_US = 1e-3, 1e9
"""Nothing that is called takes less than a nanosecond, nor more than any limit."""
FIRST_QUEUED_US = 300.0
"""Guess of what Python takes to queue one call; 80 to 350 us were seen, in processes that had just been woken."""
REMEMBERED = 4
"""Blocks by which it is guessed, the slowest of them. With the slowest but one and a margin of 1.3 a kernel of 5 us was
timed 2 % longer than its own copy in eager's process, which is warmer."""
HOLD_MARGIN = 1.4
LEAST_HOLD_US, MOST_HOLD_US = 100.0, 5000.0
MOST_A_CALL_US = 500.0
"""What a GPU is held up for in a block, all in all, while its calls are queued (a few at a time, each with its share of
this), so that none of them waits for Python. Sixteen calls of a wrapper that takes 240 us are queued in time. No
longer for a call: a process that does not spin as it is told has that time for work that it does not claim."""

Keep = Callable[[torch.Tensor], list[torch.Tensor]]
"""What of the output memory is kept of a block. On a GPU, where work may go on for a stopped process, these must be
copies."""


def nothing(memory: torch.Tensor) -> list[torch.Tensor]:
    """To keep nothing of a block."""
    return []


@dataclass
class _Exchange:
    """One reply with what was kept of the outputs at its time and what it took, microseconds; a GPU's work counts as
    wall time."""

    reply: dict[str, Any]
    kept: list[torch.Tensor]
    wall: float
    cpu: float


@dataclass
class Run:
    """One block as it came back."""

    block: TimedBlock
    reply: dict[str, Any]
    kept: list[torch.Tensor]


@dataclass
class Lane:
    """See the module's docstring."""

    session: Session
    buffers: Buffers
    limit: float
    """Seconds for one request."""
    forbidden: list[str] = field(default_factory=list)
    """Packets that it may not call although they are only allocation or views."""
    note: Callable[[dict[str, Any]], None] = lambda reply: None
    """Gets the replies of watched calls; raises CandidateFailed where torch computed and may not."""
    warm: set[str] = field(default_factory=set)
    """Workloads that the process has been called on: it has the memory for a block, and has loaded what it needs."""
    queued: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """What queueing one call took in the last blocks, microseconds. By its own word: both sides are held up alike."""
    own_cores: OwnCores | None = None
    """For its threads, while it has a CPU for itself."""

    @property
    def on_gpu(self) -> bool:
        """Whether its memory is a GPU's."""
        return self.buffers.outputs.tensor.is_cuda

    def stop(self) -> None:
        """Until it is its turn; no threads of it spin meanwhile (OpenMP's wait for work that way, for milliseconds)."""
        self.session.signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it run."""
        self.session.signal(signal.SIGCONT)

    def cpu_us(self) -> float:
        """Processor time of the process so far, microseconds."""
        return (leftovers.cpu_ns(self.session.pid) or 0) / 1e3

    def hold_us(self, count: int) -> float:
        """How long a GPU is to be held up for a block of ``count`` calls."""
        needed = HOLD_MARGIN * count * max(self.queued, default=FIRST_QUEUED_US)
        return min(MOST_HOLD_US, MOST_A_CALL_US * count, max(LEAST_HOLD_US, needed))

    def whole(self, item: LaidOut) -> Keep:
        """To keep all outputs of one call."""

        def keep(memory: torch.Tensor) -> list[torch.Tensor]:
            return [t.clone() if t.is_cuda else t for t in read(memory, item)]

        return keep

    async def run(
        self,
        bench: Bench,
        inputs: BlockInputs,
        count: int,
        keep: Keep = nothing,
        stage: str = "timing",
        watch: bool = False,
        untuned: int | None = None,
        hold_us: float | None = None,
    ) -> Run:
        """One block: the first ``count`` calls of the layout, on these inputs.

        On a GPU the clock stops when the outputs are in the judge's hands, not when they are said to be; on a CPU
        handing them over is timed by itself, since it may take longer than the calls. ``watch``: it is run to see
        whether torch computes, not to be timed. ``untuned``: configuration of an autotuned kernel, which is not tuned.
        ``hold_us``: how long a GPU is held up before a block that is timed; None: as long as this side needs.

        Raises CandidateFailed and InfrastructureFault as ``Session.request`` does.
        """
        self.session.stage, self.session.case_names = stage, [bench.workload.name] * count
        timed_on_gpu = self.on_gpu and not watch
        held = (hold_us or self.hold_us(count)) if timed_on_gpu else 0.0
        inputs.write(self.buffers, count)
        self.buffers.poison(bench.layout)
        self.buffers.settle()
        later = not self.on_gpu
        done = await self._exchange(
            keep, "block", calls=bench.layout.request(range(count)), flush_bytes=FLUSH_BYTES, deliver_later=later,
            watch=watch, forbidden=self.forbidden, untuned=untuned, hold_us=held,
        )  # fmt: skip
        reply, kept, delivery = done.reply, done.kept, 0.0
        with self.session.blamed():
            times = claims(reply, count, bench.workload.name)
            leftovers.refuse_reported(reply)
        if timed_on_gpu:
            self.queued.append(queued(reply) / count)
        if later:
            delivered = await self._exchange(keep, "deliver")
            reply, kept = {**reply, **delivered.reply}, delivered.kept
            delivery = min(delivered.wall, delivered.cpu)
        if watch:
            self.note(reply)
        late = timed_on_gpu and reply.get("late") is True
        return Run(TimedBlock(times, done.wall, done.cpu, delivery, held, late), reply, kept)

    async def _exchange(self, keep: Keep, do: str, **payload: Any) -> _Exchange:
        """One request to the process, which is awake only meanwhile."""
        own_cores = self.own_cores if do == "block" else None
        if own_cores is not None:
            own_cores.begin(self.session.pid)
        used = self.cpu_us()
        started = time.perf_counter_ns()
        self.wake()
        reply = await self.session.request(do, self.limit, **payload)
        self.stop()
        memory = self.buffers.outputs.tensor
        kept = keep(memory)
        if memory.is_cuda:  # what it queued is done before the copies are, and both are part of the wall time
            torch.cuda.synchronize(memory.device)
        wall = (time.perf_counter_ns() - started) / 1e3
        cpu = wall if self.on_gpu else self.cpu_us() - used
        if own_cores is not None:
            own_cores.settle(self.session.pid)
        return _Exchange(reply, kept, wall, cpu)


def queued(reply: dict[str, Any]) -> float:
    """What the process says that queueing the block took, microseconds; what is no time counts as none."""
    found = reply.get("queued_us")
    return float(found) if isinstance(found, (int, float)) and 0 <= found <= LONGEST_US else 0.0


def claims(reply: dict[str, Any], count: int, workload: str) -> list[float]:
    """The claims, microseconds. Raises CandidateFailed for what no clock says."""
    times = reply.get("times_us")
    if (
        not isinstance(times, list)
        or len(times) != count
        or not all(isinstance(t, (int, float)) for t in times)
    ):
        raise CandidateFailed(Failure(ErrorType.PROTOCOL_VIOLATION, "malformed times"))
    if not all(SHORTEST_US <= t <= LONGEST_US for t in times):
        text = "a call was claimed to take no time at all, or more than there is"
        raise CandidateFailed(Failure(ErrorType.CLOCK_TAMPERING, text, workload))
    return [float(t) for t in times]
