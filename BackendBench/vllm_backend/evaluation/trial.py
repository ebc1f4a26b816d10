"""What is known of a candidate while it is judged, and the verdict that comes of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from ..state.error_type import ErrorType
from ..state.task import EvaluationTask
from ..state.verdict import Verdict, WorkloadTiming
from . import conditions
from .correctness.reference_pool import Prepared
from .failure import CandidateFailed, Failure
from .memory.shared_calls import Buffers
from .processes.session import Session
from .timing import interval, roofline
from .timing.bench import Bench

T = TypeVar("T")


@dataclass(frozen=True)
class Where:
    """What it is judged on."""

    device: torch.device
    threads: int
    ceilings: roofline.Ceilings


@dataclass
class Trial:
    """What is known of a candidate so far."""

    seconds: dict[str, float] = field(default_factory=dict)
    passed: int = 0
    total: int = 0
    label: str = ""
    hurried: bool = False
    """Whether a limit is at work that a busy device might exceed: its time-out is believed the second time."""
    unplaced: bool = False
    """Whether many calls are waited for together: an error of a GPU would be no case's."""
    again: bool = False
    """Whether it is examined a second time, because its first failure was doubtful."""
    kernels: bytes = b""
    """What its first process has compiled, for a confirmation."""
    conditions: dict[str, str] = field(default_factory=dict)
    """Read while it was timed."""
    ratios: list[tuple[Bench, interval.Ratio]] = field(default_factory=list)

    @asynccontextmanager
    async def stage(self, name: str) -> AsyncIterator[None]:
        """Book the wall time of a stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.book(name, time.monotonic() - started)

    @asynccontextmanager
    async def waiting(self, prefix: str, entered: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter a context and book the time until it lets us in; ``prefix``: of the stage's name."""
        asked = time.monotonic()
        async with entered as given:
            self.book(prefix + "wait", time.monotonic() - asked)
            yield given

    def book(self, name: str, seconds: float) -> None:
        """Add to the time of a stage."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def note_library_calls(self, reply: Mapping[str, object], allowed: bool) -> None:
        """What torch computed for the candidate, by a reply of its process. Raises CandidateFailed where it may not."""
        computed = reply.get("computed")
        if not isinstance(computed, list) or not computed:
            return
        names = ", ".join(str(c)[:60] for c in computed[:5])
        if not allowed:
            text = f"lets torch compute: {names}; write the computation in the kernel"
            raise CandidateFailed(Failure(ErrorType.LIBRARY_CALL, text))
        self.label = "library_call"


@dataclass(frozen=True)
class Examination:
    """One process of one candidate, what it is examined with, and where the findings go."""

    session: Session
    buffers: Buffers
    task: EvaluationTask
    prepared: Prepared
    trial: Trial
    prefix: str
    """Of the names of its stages; '' for the first examination, else it confirms."""

    @asynccontextmanager
    async def work(self, stage: str) -> AsyncIterator[None]:
        """Book the wall time of a stage; as waiting, where the process was stopped."""
        rested = self.session.rested
        try:
            async with self.trial.stage(self.prefix + stage):
                yield
        finally:
            rested = self.session.rested - rested
            if rested:
                self.trial.book(self.prefix + stage, -rested)
                self.trial.book(self.prefix + "wait", rested)


def verdict(task: EvaluationTask, trial: Trial, failure: Failure | None, found: Where) -> Verdict:
    """What is recorded of a candidate."""
    speedup, low, high = (0.0, 0.0, 0.0)
    if failure is None and trial.ratios:
        speedup, low, high = interval.combine([r for _, r in trial.ratios])
    return Verdict(
        task_id=task.id, run=task.run, operation=task.operation, hash=task.hash,
        correct=failure is None, speedup=speedup, speedup_low=low, speedup_high=high,
        error_type=failure.error_type if failure else None,
        error=failure.message if failure else "", failing_case=failure.case if failure else "",
        label=trial.label, cases_passed=trial.passed, cases_total=trial.total,
        timings=tuple(_timing(b, r, found) for b, r in trial.ratios) if failure is None else (),
        stage_seconds={k: round(v, 6) for k, v in trial.seconds.items()},
        device=conditions.device_name(found.device), versions=conditions.versions(),
        conditions=trial.conditions or conditions.now(found.device, found.threads), timestamp=time.time(),
    )  # fmt: skip


def _timing(bench: Bench, ratio: interval.Ratio, found: Where) -> WorkloadTiming:
    achieved = roofline.achieved(bench.workload, ratio.candidate_us, found.ceilings)
    return WorkloadTiming(
        workload=bench.workload.name, eager_us=ratio.eager_us, candidate_us=ratio.candidate_us,
        speedup=ratio.speedup, speedup_low=ratio.low, speedup_high=ratio.high, samples=ratio.pairs,
        gbps=achieved.gbps, tflops=achieved.tflops, roofline_fraction=achieved.fraction,
    )  # fmt: skip
