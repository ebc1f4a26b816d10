"""The judge: decides about one candidate after another on one device.

- It owns inputs, references, tolerances, seeds and the clock, and runs no candidate code.
- Stages, cheap first: screen, load, compile, correctness (shares the device), timing (has it alone), and for
  winners a confirmation in a fresh process with other seeds, whose figures are the ones reported.
- Whatever is the candidate's doing ends as a verdict; everything else as InfrastructureFault.
- A death is believed only when a fresh process dies of the same candidate again.
"""

from __future__ import annotations

import asyncio
import logging
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
from . import conditions, control, doubt, sandbox
from .candidate import absent_gpu
from .correctness import case_plan, compiled_kernels
from .correctness.progress import Progress
from .correctness.reference_pool import Prepared, ReferencePool
from .correctness.stage import CorrectnessStage, Floor
from .failure import CandidateFailed, Failure, InfrastructureFault
from .memory.shared_calls import Buffers
from .processes import leftovers
from .processes.warm_pool import WarmPool
from .resources import capacity, cores, own_cores
from .resources.compiler_places import CompilerPlaces
from .resources.device_lock import BATCH, DeviceLock
from .resources.quiet import is_quiet
from .screening.screen import screen
from .settings import JudgeSettings
from .timing import eager, interval, roofline
from .timing.bench import Bench
from .timing.eager import EagerSide
from .timing.lane import Lane
from .timing.rehearsal import Rehearsed, rehearse, repeatable
from .timing.stage import TimingStage
from .trial import Examination, Trial, Where, verdict

DEVICE_SUSPECT = {
    ErrorType.RUNTIME_ERROR, ErrorType.ILLEGAL_MEMORY_ACCESS, ErrorType.OUT_OF_MEMORY, ErrorType.TIMEOUT,
    ErrorType.CRASH,
}  # fmt: skip
"""Failures that a lost device causes as well; after one of them the judge asks the device itself."""
WARM_UP_OPERATION = "softmax"

log = logging.getLogger(__name__)


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
        memory, shared = conditions.gpu_bytes(self.device), bool(settings.gpu_gate)
        self.concurrency = settings.concurrency or capacity.in_flight(
            settings.target, compiling, memory, shared
        )
        places = capacity.timing_places(memory, shared)
        self._timing_places = asyncio.Semaphore(places)
        batch = max(1, min(BATCH, places - 2, self.concurrency // 3))
        self._lock = DeviceLock(batch, stopping=settings.target == "cpu")
        floor = Floor(self._lock, CompilerPlaces(compiling), settings.target)
        self._huge = asyncio.Lock()
        """Two candidates with gigabytes of inputs may not fit beside each other."""
        self._gate = JudgeGate(settings.gpu_gate)
        # One more than there are candidates, for a confirmation.
        self._pool = WarmPool(settings, self.threads, min(capacity.SPARES, self.concurrency + 1))
        self._references = ReferencePool(
            self.device, settings.seed, capacity.reference_bytes(settings.target, memory, shared)
        )
        self._rng = random.Random(settings.seed if settings.seed is not None else secrets.randbits(64))
        self._correctness = CorrectnessStage(settings, self.device, floor, self._rng)
        self._lost = False
        self._clean = True
        """Whether nothing was wrong with who was timed last."""
        eagers = capacity.eager_processes(settings.target, memory, shared)
        self._eager = EagerSide(self._pool, self.device, settings.timing_seconds, eagers)
        self._gpu = absent_gpu.figures(self.device) if settings.target == "cuda" else None

    async def start(self) -> None:
        """Start the warm server and the spares. Raises InfrastructureFault."""
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
        on_gpu = self.device.type == "cuda"
        for other in (False, True) if on_gpu else (False,):
            for name, source in operations:
                if not self._references.has_room(1):
                    return
                operation = await asyncio.to_thread(_operation, name, source)
                prepared = await self._references.get(operation, self._lock, other=other)
                if on_gpu and not other and prepared.benches and not prepared.huge:
                    async with self._lock.exclusive():
                        await self._eager.rehearse(
                            operation, prepared.bench_room, prepared.benches, self._rng
                        )

    async def vouch(self) -> None:
        """Judge a kernel that is known to be right. Raises InfrastructureFault where it is found wrong."""
        task = control.task(self.settings.target)
        if task is None:
            return
        try:
            complaint = control.complaint(await self.evaluate(task, control.SOURCE))
        except InfrastructureFault as fault:
            if doubt.is_full(fault):  # of others, for a while
                return
            raise
        finally:
            self._references.forget(control.NAME)
        if complaint:
            raise InfrastructureFault(complaint)

    async def close(self) -> None:
        """End every process."""
        await self._pool.close()

    async def evaluate(self, task: EvaluationTask, operation_source: str = "") -> Verdict:
        """The verdict for one candidate. Raises InfrastructureFault."""
        trial = Trial()
        try:
            failure = await self._try_until_believed(task, operation_source, trial)
        except CandidateFailed as error:
            failure = error.failure
        if failure is not None and self._pool.broken:  # nobody wakes or ends processes any more
            raise InfrastructureFault("the warm server failed while it was judged")
        suspect = failure is not None and failure.error_type in DEVICE_SUSPECT
        if suspect and not await asyncio.to_thread(self._device_answers):
            self._lost = True
            log.error("%s does not answer any more, after %s", self.device, failure)
            raise InfrastructureFault("the device does not answer any more")
        return verdict(task, trial, failure, Where(self.device, self.threads, self.ceilings))

    def _device_answers(self) -> bool:
        """Whether the judge itself can still compute there: what a candidate says of a lost device proves nothing. One
        that a candidate has filled for a while is not lost."""
        if self.device.type != "cuda":
            return True
        try:
            torch.ones(1, device=self.device).add_(1).item()
            return True
        except RuntimeError as error:
            return doubt.is_full(error)

    async def _try_until_believed(self, task: EvaluationTask, source: str, trial: Trial) -> Failure | None:
        tries = 0
        while True:
            tries += 1
            try:
                return await self._try(task, source, trial)
            except CandidateFailed as error:
                hints = doubt.Hints(trial.hurried, trial.unplaced and not error.failure.case)
                most = doubt.most_tries(error.failure.error_type, hints, self.settings.target)
                if tries >= most:
                    raise
                full = most == doubt.FULL_TRIES
            except Exception as error:
                if self.device.type != "cuda" or not doubt.is_full(error):
                    raise
                if tries >= doubt.FULL_TRIES:
                    raise InfrastructureFault(f"the GPU is full: {error}") from None
                full = True
            if full:
                await self._make_room()
            trial.passed, trial.ratios, trial.kernels, trial.again = 0, [], b"", True
            trial.hurried = trial.unplaced = False

    async def _make_room(self) -> None:
        """Give back what can be made anew, and wait for what others will give back."""
        self._references.shrink()
        async with self._lock.shared():
            await asyncio.to_thread(torch.cuda.empty_cache)
        await doubt.room(self.device)

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
        # Who does not load or compile needs no context. Whatever else goes wrong says nothing: then again with one.
        # What is reported of a winner, and what is judged again, has a context that no candidate has touched.
        touched = trial.again or prefix or prepared.operation.adapter
        spent = 0.0
        if self._gpu is not None and task.dsl == "triton" and not touched:
            async with self._process(task, prepared, trial, prefix, bare=True) as one:
                progress = await self._correctness.begin(one, self._gpu)
                if progress is not None and await self._has_context(one, progress):
                    await self._finish(one, progress)
                    return
            spent = trial.seconds["compile"]
        async with self._process(task, prepared, trial, prefix) as one:
            progress = await self._correctness.begin(one, spent=spent)
            assert progress is not None
            await self._finish(one, progress)

    async def _has_context(self, one: Examination, progress: Progress) -> bool:
        """Whether the candidate's process has one now: the GPU may be full, or the candidate in the way."""
        asked = time.monotonic()
        try:
            async with one.trial.stage("context"):
                await self._pool.set_up(one.session)
        except CandidateFailed:
            return False
        progress.deadline += time.monotonic() - asked
        return True

    async def _finish(self, one: Examination, progress: Progress) -> None:
        """All cases and the timing."""
        await self._correctness.run(one, progress)
        await leftovers.refuse(one.session.pid)
        if self._timed(one.prepared):
            await self._keep_kernels(one)
            await self._time(one)

    async def _keep_kernels(self, one: Examination) -> None:
        """For a confirmation. Whose failure was doubtful has each of his processes compile for itself."""
        if (
            one.task.dsl == "triton"
            and self.settings.timing == "full"
            and not (one.prefix or one.trial.again)
        ):
            async with one.work("compile"):
                one.trial.kernels = await compiled_kernels.collected(
                    one.session, self.settings.compile_seconds
                )

    @asynccontextmanager
    async def _process(
        self, task: EvaluationTask, prepared: Prepared, trial: Trial, prefix: str, bare: bool = False
    ) -> AsyncIterator[Examination]:
        """A fresh process, ``bare`` or set up, and arenas; neither is left afterwards."""
        async with trial.stage(prefix + "spawn"):
            session = await (self._pool.bare() if bare else self._pool.session())
        buffers: Buffers | None = None
        try:
            buffers = await self._memory(prepared)
            yield Examination(session, buffers, task, prepared, trial, prefix)
        finally:
            session.kill()
            gone = await session.gone()
            if buffers is not None:
                buffers.close(reuse=gone)

    async def _memory(self, prepared: Prepared) -> Buffers:
        """Arenas for the cases. Making large ones, or any on a CPU, would disturb a timing."""
        quiet = prepared.huge or self.device.type == "cpu"
        async with self._lock.shared() if quiet else nullcontext():
            if prepared.huge and self.device.type == "cuda":
                torch.cuda.empty_cache()  # arenas are no memory of torch's
            return Buffers(*prepared.plan.room, self.device)

    async def _time(self, one: Examination) -> None:
        session, prepared, trial, prefix = one.session, one.prepared, one.trial, one.prefix
        lane = Lane(session, one.buffers, self.settings.timing_seconds, prepared.packets)
        lane.note = partial(trial.note_library_calls, allowed=self.settings.allow_library_calls)
        async with trial.waiting(prefix, self._timing_places):
            try:
                async with (
                    trial.waiting(prefix, self._lock.shared_by(session)),
                    one.work("rehearsal"),
                ):
                    rehearsed = await self._rehearse(lane, prepared)
                async with (
                    trial.waiting(prefix, self._lock.exclusive_by(session, timed=True)),
                    trial.waiting(prefix, self._alone(prepared)),
                    trial.stage(prefix + "timing"),
                ):
                    self._clean = False
                    await self._time_alone(lane, prepared, rehearsed, trial, fixed=bool(prefix))
                    self._clean = True
            finally:  # its memory is free before its place is
                session.kill()
                gone = await session.gone()
                if lane.buffers is not one.buffers:
                    lane.buffers.close(reuse=gone)

    def _timed(self, prepared: Prepared) -> list[Bench]:
        return prepared.benches[: self.settings.most_workloads]

    @asynccontextmanager
    async def _alone(self, prepared: Prepared) -> AsyncIterator[None]:
        """Nobody else uses the device. Who was timed before was stopped and is being killed, but his context takes
        0.1 s to go: that is waited for where he failed, where he left work on a GPU, or where his memory is needed."""
        enough = self._clean and not prepared.huge and self._eager.holds(prepared.bench_room)
        if self.device.type == "cpu" or not enough:  # before an engine has to pause
            await self._lock.alone()
        async with self._gate.exclusive(lambda: self._clean and self._lock.another_follows()):
            if not is_quiet(self.device):
                await self._lock.alone()
            yield

    async def _rehearse(self, lane: Lane, prepared: Prepared) -> list[Rehearsed]:
        """First calls on every workload, while others share the device: mapping and scrubbing memory, too, would
        disturb a timing."""
        if not lane.buffers.hold(prepared.bench_room):
            lane.buffers = await eager.attached(lane.session, prepared.bench_room, self.device, lane.limit)
        rehearsed = [
            await rehearse(lane, bench, prepared.operation, self._rng, turn)
            for turn, bench in enumerate(self._timed(prepared))
        ]
        if prepared.huge and self.device.type == "cuda":
            torch.cuda.empty_cache()  # eager's side needs as much
        return rehearsed

    async def _time_alone(
        self, lane: Lane, prepared: Prepared, rehearsed: Sequence[Rehearsed], trial: Trial, fixed: bool
    ) -> None:
        """Nothing of the candidate may run when the next one is timed."""
        cores.move(lane.session.pid, self._pool.cores.timing)
        lane.own_cores = own_cores.for_device(self.device.type)
        # NVML waits for the driver, which makes contexts for others meanwhile.
        read = asyncio.ensure_future(asyncio.to_thread(conditions.now, self.device, self.threads))
        try:
            try:
                eager = await self._eager.lanes(prepared.operation, prepared.bench_room, single=prepared.huge)
                stage = TimingStage(eager, lane, prepared.operation, self._rng, self.settings.timing_seconds)
                await self._measure(stage, prepared, rehearsed, trial, fixed)
                leftovers.refuse_processes(lane.session.pid)
                if fixed:
                    same = await repeatable(lane, prepared.benches[0], self._rng)
                    trial.conditions["bitwise_repeatable"] = "yes" if same else "no"
                trial.conditions.update(await read)
            finally:  # before eager's memory is changed, for which there may be no room beside the candidate's
                lane.session.kill()
                self._lock.leave_until(lane.session.gone())
        except CandidateFailed:
            await self._eager.release()
            raise
        except BaseException:
            await self._eager.drop()
            raise
        await self._eager.release()

    async def _measure(
        self,
        stage: TimingStage,
        prepared: Prepared,
        rehearsed: Sequence[Rehearsed],
        trial: Trial,
        fixed: bool,
    ) -> None:
        few = interval.MIN_PAIRS if self.settings.timing == "quick" else None
        pairs = interval.CONFIRM_PAIRS[self.settings.target] if fixed else few
        for bench, known in zip(self._timed(prepared), rehearsed, strict=True):
            ratio = await stage.measure(bench, known, pairs)
            impossible = roofline.impossible(bench.workload, ratio.candidate_us, self.ceilings)
            if impossible:
                raise CandidateFailed(Failure(ErrorType.FASTER_THAN_PHYSICS, impossible, bench.workload.name))
            trial.ratios.append((bench, ratio))
