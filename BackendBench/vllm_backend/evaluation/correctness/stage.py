"""A candidate's way from its source to the last correctness case.

- Loading and compiling take a place among the compilers, running the cases shares the device.
- What the first cases need may be compiled before the process has a context (candidate/absent_gpu.py).
- The first cases fail most wrong kernels, before the rest is compiled; the workloads are compiled last.
- Whoever passes all of them is called many times more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import torch

from ...operations.operation import Operation
from ...state.task import Target
from ..failure import CandidateFailed, Failure, from_timeout
from ..processes import leftovers
from ..resources.compiler_places import CompilerPlaces, Taken
from ..resources.device_lock import DeviceLock, Process
from ..resources.quiet import is_quiet
from ..settings import JudgeSettings
from ..trial import Examination
from . import case_plan, outputs
from .case_plan import Chunk
from .compiled_kernels import handed_over
from .compiling import CompilingStage
from .progress import Progress
from .steps import CONFIRMED_CHUNKS, Step, calls_to_compile, steps, turns

MOST_CONFIGURATIONS = 1 << 16
"""More than any autotuned kernel has."""
P = ParamSpec("P")
T = TypeVar("T")
GPU_THREADS = 6
"""That wait for a GPU, or ask much of it. Each call of torch lets go of the interpreter's lock and takes it again: with
twenty of them a call waits for nineteen others."""
FIRST_CASES_SECONDS = 0.4
ALONE_SECONDS = 1.3
STUCK_SECONDS = 2.0
"""On a GPU the first cases take milliseconds once they are compiled. Who hangs there keeps everybody else from timing
and makes their checks ten times as long. So who takes this long is waited for once more when everybody else has left.
Who keeps the GPU busy for BUSY_SECONDS then, and when he is killed it is quiet, hangs. Who does not may wait for the
driver, which makes and ends others' contexts, or may never answer: he has the longest limit. It holds only where
compiling ahead went well."""
LOOK_SECONDS = 0.02
BUSY_SECONDS = 0.6
BUSY_LOOKS = round(BUSY_SECONDS / LOOK_SECONDS)
"""So long apart a GPU is looked at, and so often in a row, before it counts as busy: for BUSY_SECONDS. So who
needs no more of a GPU of his own is never taken for one who hangs, whoever else is there."""
QUIET_LOOKS = 3
"""Once in so many looks it is found quiet where it is: a look may be disturbed."""


@dataclass(frozen=True)
class Floor:
    """What the candidates of one judge share: its device and its cores."""

    lock: DeviceLock
    compilers: CompilerPlaces
    target: Target

    @asynccontextmanager
    async def compiling(self, one: Examination) -> AsyncIterator[Taken | None]:
        """A core to compile on, or more. On a CPU compiling disturbs a timing like any other work; beside a GPU it does
        not."""
        place: AbstractAsyncContextManager[Taken | None] = (
            self.compilers.taken() if self.target == "cuda" else self.lock.shared(one.session)
        )
        async with one.trial.waiting(one.prefix, place) as taken, one.work("compile"):
            yield taken

    @asynccontextmanager
    async def device(self, process: Process, alone: bool) -> AsyncIterator[None]:
        """The device, beside others or, for a candidate that failed for what may have been another's doing, alone."""
        if self.target == "cpu" or not alone:
            async with self.lock.shared_by(process):
                yield
            return
        async with self.lock.exclusive_by(process):
            await self.lock.alone()
            yield


class CorrectnessStage:
    """See the module's docstring. One for all candidates of a judge."""

    def __init__(
        self, settings: JudgeSettings, device: torch.device, floor: Floor, rng: random.Random
    ) -> None:
        self._settings, self._device, self._floor, self._rng = settings, device, floor, rng
        self._compiling = CompilingStage(settings.compile_seconds, floor.compiling)
        self._waiters = ThreadPoolExecutor(GPU_THREADS)

    async def begin(
        self, one: Examination, gpu: Mapping[str, int] | None = None, spent: float = 0.0
    ) -> Progress | None:
        """Load it. ``gpu``: its figures, where the process has no context yet; then what the first step needs is
        compiled as well, and None says that it could not be, for a reason that a context may mend: the process is not
        to be used any more. ``spent``: seconds of compiling in such a process. Raises CandidateFailed."""
        if not one.prefix:
            one.trial.total = one.prepared.plan.total
        async with self._floor.compiling(one):
            if not await self._load(one, bare=gpu is not None):
                return None
        left = Progress(
            one.session.own_time + self._settings.correctness_seconds,
            max(0.1, self._settings.compile_seconds - spent),
            self._rng.randrange(MOST_CONFIGURATIONS),
        )  # fmt: skip
        left.steps = steps(
            one.prepared.plan.chunks,
            one.prepared.benches[: self._settings.most_workloads],
            confirming=bool(one.prefix),
        )
        if one.task.dsl == "triton":
            left.calls = list(calls_to_compile(left.steps, left.turn))
        if gpu is not None:
            await self._compiling.compile(one, 0, left, gpu)
            refuse_what_it_returns(left)
        return left if left.compiled else None

    async def run(self, one: Examination, left: Progress) -> None:
        """All that is left, with a context. Raises CandidateFailed."""
        for number, step in enumerate(left.steps):
            await self._compiling.compile(one, number, left)
            if step.chunks or step.enduring:
                await self._run(one, step, left)

    async def _load(self, one: Examination, bare: bool) -> bool:
        """Whether it is to be used; ``bare``: its process has no context. A confirmation has what was compiled before:
        its cases have other values, so nothing else that came with it is of use there."""
        session, limit, operation = one.session, self._settings.compile_seconds, one.prepared.operation
        session.stage = "loading the module"
        code = one.task.code + operation.adapter
        with handed_over(one.trial.kernels) as descriptors:
            reply = await session.request(
                "load", limit, descriptors=descriptors, code=code, function=operation.function, bare=bare
            )
        return not reply.get("anew")

    async def _run(self, one: Examination, step: Step, left: Progress) -> None:
        """The cases of a step."""
        waited = time.monotonic()
        async with (
            self._floor.device(one.session, alone=one.trial.again and not left.passed),
            one.work("correctness"),
        ):
            waited = time.monotonic() - waited
            left.deadline += waited
            one.trial.book(one.prefix + "wait", waited)
            if left.passed == 0:
                await self._map(one)
            for chunk in step.chunks:
                trials = min(chunk.trials, CONFIRMED_CHUNKS) if one.prefix else chunk.trials
                for _ in range(trials):
                    drawn = await self._drawn(one.prepared.operation, chunk)
                    await self._check(one, drawn, left)
                    left.passed += len(chunk.cases)
            if step.enduring and one.prepared.plan.endurance is not None:
                await self._endure(one, one.prepared.plan.endurance, left)

    async def _map(self, one: Examination) -> None:
        """Give the candidate its memory: scrubbing and mapping it would disturb a timing."""
        one.session.stage = "mapping its memory"
        await self._aside(one.buffers.scrub)
        await one.session.attach(one.buffers, self._settings.timing_seconds)

    async def _drawn(self, operation: Operation, chunk: Chunk) -> Chunk:
        """The chunk with its tensors: those of a huge case are made now, under a secret seed."""
        if not chunk.huge:
            return chunk
        seed = self._rng.getrandbits(31)
        return await asyncio.to_thread(case_plan.fresh, operation, chunk, self._device, seed, self._rng)

    async def _check(self, one: Examination, chunk: Chunk, left: Progress) -> None:
        one.session.stage = "the correctness cases"
        limit = max(0.1, left.deadline - one.session.own_time)
        quick = self._settings.target == "cuda" and left.compiled
        one.trial.hurried = one.prepared.plan.chunks[0] is chunk and quick
        # Among others that use a GPU each wait takes as long as their turns. The first calls fail most; where a later
        # one does, the second examination says which.
        settled = left.passed == 0 or one.trial.again
        one.trial.unplaced = not settled
        asked = self._called(one, chunk, limit, turns(chunk, left.turn), settled)
        reply = await (self._first_reply(one, asked) if one.trial.hurried else asked)
        one.trial.hurried = one.trial.unplaced = False
        one.trial.note_library_calls(reply, self._settings.allow_library_calls)
        leftovers.refuse_reported(reply)
        wrong = await self._aside(self._wrong, one, chunk, reply)
        right = len(chunk.cases) if wrong is None else wrong[0]
        one.trial.passed = max(one.trial.passed, left.passed + right)
        if wrong is not None:
            raise CandidateFailed(wrong[1])
        await asyncio.sleep(0)  # let the other candidates' replies in
        one.session.case_names = ()

    async def _first_reply(
        self, one: Examination, asked: Coroutine[Any, Any, dict[str, object]]
    ) -> dict[str, object]:
        """The reply to the first cases, see FIRST_CASES_SECONDS. Raises CandidateFailed."""
        started, stage, reply = time.monotonic(), one.session.stage, asyncio.ensure_future(asked)
        try:
            await asyncio.wait({reply}, timeout=FIRST_CASES_SECONDS)
            killed = not reply.done() and await self._kill_what_hangs(one, reply)
            if not killed:
                await asyncio.wait({reply}, timeout=STUCK_SECONDS)
                if reply.done():
                    return reply.result()
            raise CandidateFailed(from_timeout(stage, round(time.monotonic() - started, 1)))
        finally:
            reply.cancel()

    async def _kill_what_hangs(self, one: Examination, reply: asyncio.Future[Any]) -> bool:
        """Whether it was killed, since it seems to keep the GPU busy. Its time-out is believed where it surely did."""
        async with self._floor.lock.sole(reply) as sole:
            # An engine on the same GPU keeps it busy as well.
            if not sole or self._settings.gpu_gate or not await self._keeps_busy(reply):
                return False
            reply.cancel()  # nobody may read the channel when it is closed: another process may get its number
            await asyncio.wait({reply})
            if not reply.cancelled():  # it answered while the GPU was looked at
                return False
            one.session.kill()
            await one.session.gone()
            one.trial.hurried = not await self._looks_quiet()
            return True

    async def _keeps_busy(self, reply: asyncio.Future[Any]) -> bool:
        """Whether the GPU is, for BUSY_LOOKS, and no answer comes."""
        busy, end = 0, time.monotonic() + ALONE_SECONDS
        while not reply.done() and (busy or time.monotonic() < end):
            busy = 0 if await self._aside(is_quiet, self._device) else busy + 1
            if busy == BUSY_LOOKS:
                return True
            await asyncio.wait({reply}, timeout=LOOK_SECONDS)
        return False

    async def _looks_quiet(self) -> bool:
        """Whether one of several looks says so."""
        for look in range(QUIET_LOOKS):
            await asyncio.sleep(LOOK_SECONDS if look else 0)
            if await self._aside(is_quiet, self._device):
                return True
        return False

    async def _endure(self, one: Examination, chunk: Chunk, left: Progress) -> None:
        """Many calls."""
        one.session.stage = f"{len(chunk.cases)} more calls of the first cases"
        limit = max(0.1, left.deadline - one.session.own_time)
        first = len({case.name for case in chunk.cases})  # again with the configurations of the first time
        turns = [left.turn + index % first for index in range(len(chunk.cases))]
        reply = await self._called(one, chunk, limit, turns, settled=False)
        one.trial.note_library_calls(reply, self._settings.allow_library_calls)
        leftovers.refuse_reported(reply)
        wrong = await self._aside(self._wrong, one, chunk, reply)
        if wrong is not None:
            failure = wrong[1]
            text = f"right at first, wrong when called again and again: {failure.message}"
            raise CandidateFailed(Failure(failure.error_type, text, failure.case))
        one.session.case_names = ()

    async def _aside(self, wait: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what waits for a GPU, which works for other candidates by turns, without keeping those waiting."""
        if self._settings.target == "cpu":
            return wait(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._waiters, partial(wait, *args, **kwargs))

    async def _called(
        self, one: Examination, chunk: Chunk, limit: float, turns: Sequence[int], settled: bool
    ) -> dict[str, object]:
        """The reply to all calls of a chunk, on fresh copies of its inputs and poisoned outputs.

        ``turns``: for each call the configuration of an autotuned kernel. ``settled``: see the harness.
        """
        chunk.inputs.write(one.buffers, len(chunk.cases))
        one.buffers.poison(chunk.layout)
        await self._aside(one.buffers.settle)
        one.session.case_names = [c.name for c in chunk.cases]
        return await one.session.request(
            "run", limit, calls=chunk.layout.request(), forbidden=one.prepared.packets, turns=list(turns),
            settled=settled,
        )  # fmt: skip

    @staticmethod
    def _wrong(one: Examination, chunk: Chunk, reply: dict[str, object]) -> tuple[int, Failure] | None:
        """The first case that is wrong, and how."""
        operation = one.prepared.operation
        if outputs.all_right(reply, chunk, one.buffers):
            return None
        for index, (item, case) in enumerate(zip(chunk.layout.items, chunk.cases, strict=True)):
            failure = outputs.check_case(operation, reply, index, item, case, one.buffers)
            if failure is not None:
                return index, failure
        return None


def refuse_what_it_returns(left: Progress) -> None:
    """Whose first case returns what cannot be right needs no context and no GPU: all that ``outputs.contract`` asks for
    is known of tensors without memory, but for memory that two outputs share. Later cases do not settle it: an earlier
    one may be wrong for another reason. Raises CandidateFailed."""
    chunk = left.steps[0].chunks[0]
    if not left.compiled or chunk.huge or not left.returned or left.returned[0] is None:
        return
    case = chunk.cases[0]
    failure = outputs.contract({"results": left.returned}, 0, case.expected)
    if failure is not None:
        raise CandidateFailed(Failure(failure.error_type, failure.message, case.name))
