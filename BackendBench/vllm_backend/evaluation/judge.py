"""The judge: decides about one candidate after another on one device.

- It owns inputs, references, tolerances, seeds and the clock, and runs no candidate code.
- Stages, cheap first: screen, load, compile, correctness (shares the device), timing (has it alone), and for
  winners a confirmation in a fresh process with other seeds, whose figures are the ones reported.
- Whatever is the candidate's doing ends as a verdict; everything else as InfrastructureFault.
- A death is believed only when a fresh process dies of the same candidate again.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import torch

from ..operations import catalog
from ..operations.operation import Operation
from ..state.error_type import ErrorType
from ..state.gpu_gate import JudgeGate
from ..state.task import EvaluationTask
from ..state.verdict import Verdict
from . import (
    capacity,
    case_plan,
    conditions,
    eager,
    interval,
    launcher_stubs,
    leftovers,
    outputs,
    reference_pool,
    roofline,
    sandbox,
)  # fmt: skip
from .bench import Bench
from .case_plan import Chunk
from .device_lock import DeviceLock
from .eager import EagerSide
from .failure import CandidateFailed, Failure, InfrastructureFault
from .reference_pool import Prepared, ReferencePool
from .screen import screen
from .session import Session
from .settings import JudgeSettings
from .shared_calls import Buffers
from .timing_stage import Lane, TimingStage
from .trial import Trial, Where, verdict
from .warm_pool import WarmPool

DOUBTFUL = {
    ErrorType.CRASH, ErrorType.OUT_OF_MEMORY, ErrorType.PROTOCOL_VIOLATION, ErrorType.CLOCK_TAMPERING,
}  # fmt: skip
"""Failures that something else on the machine can cause; repeated once in a fresh process."""

DEVICE_SUSPECT = {
    ErrorType.RUNTIME_ERROR, ErrorType.ILLEGAL_MEMORY_ACCESS, ErrorType.OUT_OF_MEMORY, ErrorType.TIMEOUT,
    ErrorType.CRASH,
}  # fmt: skip
"""Failures that a lost device causes as well; after one of them the judge asks the device itself."""
TIMING_PLACES = 3
"""Candidates that hold memory for a timing: one is timed, two are ready when it is done."""
WARM_UP_OPERATION = "softmax"
ENDURANCE_COMPARED = 6
"""Of the many calls of an endurance: comparing all would take the judge longer than the calls take."""
CONFIRMED_CHUNKS = 2
"""Of the cases a confirmation repeats the first few, once with other values at the same addresses; all workloads are
compared again anyway, and compiling for every case a second time would double the price of a winner."""
FIRST_CASES_SECONDS = 4.0
"""On a GPU the first cases are compiled already when they run, and take milliseconds. Who hangs keeps everybody else
from timing, so this limit is short."""


def _operation(name: str, source: str) -> Operation:
    return catalog.from_source(name, source) if source else catalog.resolve(name)


class Judge:
    """See the module's docstring. One event loop, many ``evaluate`` calls at once."""

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.threads = settings.threads or conditions.available_cores()
        self.device = (
            torch.device("cuda", settings.device_index) if settings.target == "cuda" else torch.device("cpu")
        )
        compiling = settings.concurrency or capacity.compilers(settings.target, conditions.available_cores())
        flying, spares = capacity.in_flight(settings.target, compiling, conditions.gpu_bytes(self.device))
        self.concurrency = settings.concurrency or flying
        self._compilers = asyncio.Semaphore(compiling)
        self._timing_places = asyncio.Semaphore(TIMING_PLACES)
        self._lock = DeviceLock()
        self._huge = asyncio.Lock()
        """Two candidates with gigabytes of inputs may not fit beside each other."""
        self._gate = JudgeGate(settings.gpu_gate)
        self._pool = WarmPool(settings, self.threads, spares)
        self._references = ReferencePool(self.device, settings.seed)
        self._rng = random.Random(settings.seed if settings.seed is not None else secrets.randbits(64))
        self._lost = False
        self._eager = EagerSide(self._pool, self.device, settings.timing_seconds)

    async def start(self) -> None:
        """Start the warm server, the spares and eager's own process. Raises InfrastructureFault."""
        try:
            sandbox.warning(sandbox.probe(), self.settings.require_sandbox)
        except sandbox.SandboxTooWeak as refusal:
            raise InfrastructureFault(str(refusal)) from None
        if self.settings.target == "cpu":
            torch.set_num_threads(self.threads)
        _, self.ceilings = await asyncio.gather(self._pool.start(), asyncio.to_thread(self._warm_up))

    def _warm_up(self) -> roofline.Ceilings:
        """Import OpInfo's database and load the device's code while the warm server starts."""
        operation = catalog.resolve(WARM_UP_OPERATION)
        case_plan.prepare(operation, self.device, 0)
        return roofline.measure(self.device)

    @property
    def broken(self) -> bool:
        """Whether it can judge no more: its warm server or its device is gone. Who starts it anew and fails leaves, so
        a lost device quarantines its worker."""
        return self._pool.broken or self._lost

    async def prepare(self, operations: Sequence[tuple[str, str]]) -> None:
        """Make the references of operations (name, source of a user's own one or '') ahead of need."""
        for name, source in operations[: reference_pool.KEPT[self.device.type] // 2]:
            operation = await asyncio.to_thread(_operation, name, source)
            for other in (False, True) if self.device.type == "cuda" else (False,):
                await self._references.get(operation, self._lock, other=other)

    async def close(self) -> None:
        """End every process."""
        await self._pool.close()

    async def evaluate(self, task: EvaluationTask, operation_source: str = "") -> Verdict:
        """The verdict for one candidate. Raises InfrastructureFault."""
        trial = Trial()
        try:
            failure = await self._try_twice(task, operation_source, trial)
        except CandidateFailed as error:
            failure = error.failure
        if failure is not None and failure.error_type in DEVICE_SUSPECT and not self._device_answers():
            self._lost = True
            raise InfrastructureFault("the device does not answer any more")
        return verdict(task, trial, failure, Where(self.device, self.threads, self.ceilings))

    def _device_answers(self) -> bool:
        """Whether the judge itself can still compute there: what a candidate says of a lost device proves nothing."""
        if self.device.type != "cuda":
            return True
        try:
            torch.ones(1, device=self.device).add_(1).item()
            return True
        except RuntimeError:
            return False

    async def _try_twice(self, task: EvaluationTask, source: str, trial: Trial) -> Failure | None:
        try:
            return await self._try(task, source, trial)
        except CandidateFailed as error:
            if error.failure.error_type not in DOUBTFUL:
                raise
        trial.passed, trial.ratios = 0, []
        return await self._try(task, source, trial)

    async def _try(self, task: EvaluationTask, source: str, trial: Trial) -> Failure | None:
        operation = await asyncio.to_thread(_operation, task.operation, source)  # a first look-up may trace
        async with trial.stage("screen"):
            refused = screen(task.code, operation.entry, self.settings.allow_library_calls)
        if refused is not None and not self.settings.skip_screen:
            return refused
        async with trial.stage("reference"):
            prepared = await self._references.get(operation, self._lock)
        await self._examine(task, prepared, trial)
        confirming = self.settings.timing == "full" and bool(trial.ratios)
        if confirming and interval.combine([r for _, r in trial.ratios])[1] > 1.0:
            trial.ratios = []
            async with trial.stage("reference"):
                other = await self._references.get(operation, self._lock, other=True)
            await self._examine(task, other, trial, confirm=True)
        return None

    async def _examine(
        self, task: EvaluationTask, prepared: Prepared, trial: Trial, confirm: bool = False
    ) -> None:
        """Correctness and timing in one fresh process. Raises CandidateFailed."""
        async with self._huge if prepared.huge else nullcontext():
            await self._examine_alone(task, prepared, trial, "confirm_" if confirm else "")

    async def _examine_alone(
        self, task: EvaluationTask, prepared: Prepared, trial: Trial, prefix: str
    ) -> None:
        async with trial.stage(prefix + "spawn"):
            session = await self._pool.session()
        if prepared.huge and self.device.type == "cuda":
            torch.cuda.empty_cache()  # arenas are no memory of torch's
        buffers = Buffers(*prepared.plan.room, self.device)
        try:
            async with self._compiling(trial, prefix):
                await self._load(session, buffers, task, prepared.operation)
            await self._check_in_steps(session, buffers, task, prepared, trial, prefix)
            await leftovers.refuse(session.pid)
            if self.settings.timing != "none" and prepared.benches:
                await self._time(session, buffers, prepared, trial, prefix)
        finally:
            session.kill()
            await session.gone()
            buffers.close()

    @asynccontextmanager
    async def _compiling(self, trial: Trial, prefix: str) -> AsyncIterator[None]:
        """A core to compile on. On a CPU compiling disturbs a timing like any other work; beside a GPU it does not."""
        asked = time.monotonic()
        async with self._compilers if self.settings.target == "cuda" else self._lock.shared():
            trial.book(prefix + "wait", time.monotonic() - asked)
            async with trial.stage(prefix + "compile"):
                yield

    async def _load(
        self, session: Session, buffers: Buffers, task: EvaluationTask, operation: Operation
    ) -> None:
        session.stage = "loading the module"
        limit = self.settings.compile_seconds
        await session.request("load", limit, code=task.code + operation.adapter, function=operation.function)
        arenas, descriptors = buffers.export()
        await session.request("attach", limit, descriptors, arenas=arenas)

    async def _check_in_steps(
        self,
        session: Session,
        buffers: Buffers,
        task: EvaluationTask,
        prepared: Prepared,
        trial: Trial,
        prefix: str,
    ) -> None:
        """The first few cases, which fail nearly every wrong kernel before the rest is compiled; then all others. The
        workloads are compiled with these."""
        chunks, benches = prepared.plan.chunks, prepared.benches
        if prefix:
            chunks = chunks[:CONFIRMED_CHUNKS]
        else:
            trial.total = prepared.plan.total
        deadline = time.monotonic() + self.settings.correctness_seconds
        steps: list[tuple[list[Chunk], list[Bench]]] = [(chunks[:2], []), (chunks[2:], benches)]
        passed, compiling = 0, self.settings.compile_seconds
        for step, timed in steps:
            if task.dsl == "triton":
                asked = time.monotonic()
                async with self._compiling(trial, prefix):
                    started = time.monotonic()
                    await self._compile(session, step, timed, compiling)
                compiling = max(0.1, compiling - (time.monotonic() - started))
                deadline += time.monotonic() - asked
            last = step is steps[-1][0]
            if not step and not last:
                continue
            waited = time.monotonic()
            async with self._lock.shared(), trial.stage(prefix + "correctness"):
                waited = time.monotonic() - waited
                deadline += waited
                trial.book(prefix + "wait", waited)
                for chunk in (
                    c for c in step for _ in range(min(c.trials, CONFIRMED_CHUNKS) if prefix else c.trials)
                ):
                    await self._check(
                        session,
                        buffers,
                        prepared,
                        await self._drawn(prepared.operation, chunk),
                        deadline,
                        trial,
                        passed,
                    )
                    passed += len(chunk.cases)
                if last and not prefix and prepared.plan.endurance is not None:
                    await self._endure(session, buffers, prepared, prepared.plan.endurance, deadline)

    async def _drawn(self, operation: Operation, chunk: Chunk) -> Chunk:
        """The chunk with its tensors: those of a huge case are made now, under a secret seed."""
        if not chunk.huge:
            return chunk
        seed = self._rng.getrandbits(31)
        return await asyncio.to_thread(case_plan.fresh, operation, chunk, self.device, seed, self._rng)

    async def _compile(
        self, session: Session, chunks: list[Chunk], benches: list[Bench], limit: float
    ) -> None:
        """Compile without launching, for at most ``limit`` seconds. What fails for another reason than the compiler's
        will fail again when it is run."""
        session.stage = "compiling"
        deadline = time.monotonic() + limit
        requests = [(chunk.layout.request(), [c.name for c in chunk.cases]) for chunk in chunks]
        requests += [(bench.layout.request([0]), [bench.workload.name]) for bench in benches]
        for request, names in requests:
            session.case_names = names
            try:
                reply = await session.request("dry_run", max(0.1, deadline - time.monotonic()), calls=request)
                self._pool.want_launchers(launcher_stubs.told(reply.get("launchers")))
            except CandidateFailed as error:
                if error.failure.error_type is not ErrorType.RUNTIME_ERROR:
                    raise

    async def _check(
        self, session: Session, buffers: Buffers, prepared: Prepared, chunk: Chunk, deadline: float, trial: Trial,
        passed: int,
    ) -> None:  # fmt: skip
        session.stage = "the correctness cases"
        self._place(session, buffers, chunk)
        left = max(0.1, deadline - time.monotonic())
        if prepared.plan.chunks[0] is chunk and self.settings.target == "cuda":
            left = min(left, FIRST_CASES_SECONDS)
        reply = await session.request("run", left, calls=chunk.layout.request(), forbidden=prepared.packets)
        self._note_library_calls(reply, trial)
        leftovers.refuse_reported(reply)
        for index, (item, case) in enumerate(zip(chunk.layout.items, chunk.cases, strict=True)):
            failure = outputs.check_case(prepared.operation, reply, index, item, case, buffers)
            if failure is not None:
                raise CandidateFailed(failure)
            trial.passed = max(trial.passed, passed + index + 1)
        await asyncio.sleep(0)  # let the other candidates' replies in
        session.case_names = ()

    async def _endure(
        self, session: Session, buffers: Buffers, prepared: Prepared, chunk: Chunk, deadline: float
    ) -> None:
        """Many calls, of which the last one and a secret few are compared."""
        session.stage = f"{len(chunk.cases)} more calls of the first cases"
        self._place(session, buffers, chunk)
        left = max(0.1, deadline - time.monotonic())
        reply = await session.request("run", left, calls=chunk.layout.request(), forbidden=prepared.packets)
        last = len(chunk.cases) - 1
        for index in {last, *(self._rng.randrange(last + 1) for _ in range(ENDURANCE_COMPARED))}:
            item, case = chunk.layout.items[index], chunk.cases[index]
            failure = outputs.check_case(prepared.operation, reply, index, item, case, buffers)
            if failure is not None:
                text = f"right at first, wrong when called again and again: {failure.message}"
                raise CandidateFailed(Failure(failure.error_type, text, failure.case))
        session.case_names = ()

    @staticmethod
    def _place(session: Session, buffers: Buffers, chunk: Chunk) -> None:
        """Write the inputs of a chunk, poison its outputs."""
        for item, case in zip(chunk.layout.items, chunk.cases, strict=True):
            buffers.write(item, case.inputs)
        buffers.poison(chunk.layout)
        buffers.settle()
        session.case_names = [c.name for c in chunk.cases]

    def _note_library_calls(self, reply: dict[str, object], trial: Trial) -> None:
        computed = reply.get("computed")
        if not isinstance(computed, list) or not computed:
            return
        names = ", ".join(str(c)[:60] for c in computed[:5])
        if not self.settings.allow_library_calls:
            text = f"lets torch compute: {names}; write the computation in the kernel"
            raise CandidateFailed(Failure(ErrorType.LIBRARY_CALL, text))
        trial.label = "library_call"

    async def _time(
        self, session: Session, attached: Buffers, prepared: Prepared, trial: Trial, prefix: str
    ) -> None:
        room, mine = prepared.bench_room, attached
        waited = time.monotonic()
        try:
            async with self._timing_places:
                if not attached.hold(room):
                    limit = self.settings.timing_seconds
                    mine = await eager.attached(session, room, self.device, limit)
                async with self._lock.exclusive(), self._gate.exclusive():
                    trial.book(prefix + "wait", time.monotonic() - waited)
                    async with trial.stage(prefix + "timing"):
                        await self._time_alone(Lane(session, mine), prepared, trial, fixed=bool(prefix))
        finally:
            session.kill()
            await session.gone()
            if mine is not attached:
                mine.close()

    async def _time_alone(self, lane: Lane, prepared: Prepared, trial: Trial, fixed: bool) -> None:
        """Nothing of the candidate may run when the next one is timed."""
        try:
            stage = TimingStage(
                await self._eager.lane(prepared.operation, prepared.bench_room), lane, prepared.operation,
                self._rng, self.settings.timing_seconds,
            )  # fmt: skip
            stage.forbidden = prepared.packets
            stage.note = partial(self._note_library_calls, trial=trial)
            await self._measure(stage, prepared, trial, fixed)
            trial.conditions.update(conditions.now(self.device, self.threads))
            await self._eager.release()
        except InfrastructureFault:
            self._eager.drop()
            raise
        finally:
            lane.session.kill()
            self._lock.leave_until(lane.session.gone())

    async def _measure(self, stage: TimingStage, prepared: Prepared, trial: Trial, fixed: bool) -> None:
        quick = self.settings.timing == "quick"
        pairs = (
            interval.CONFIRM_PAIRS[self.settings.target] if fixed else interval.MIN_PAIRS if quick else None
        )
        for bench in prepared.benches[:1] if quick else prepared.benches:
            ratio = await stage.measure(bench, pairs)
            impossible = roofline.impossible(bench.workload, ratio.candidate_us, self.ceilings)
            if impossible:
                raise CandidateFailed(Failure(ErrorType.FASTER_THAN_PHYSICS, impossible, bench.workload.name))
            trial.ratios.append((bench, ratio))
        if fixed:
            same = await stage.repeatable(prepared.benches[0])
            trial.conditions["bitwise_repeatable"] = "yes" if same else "no"
