"""What the judge says about one candidate: the only message that becomes part of the kernel store."""

from __future__ import annotations

from pydantic import Field

from .error_type import ErrorType
from .task import Message


class WorkloadTiming(Message):
    """Eager against candidate on one workload, timed alternately in the same period."""

    workload: str
    eager_us: float
    """Median over the blocks of the mean time of one eager call, microseconds."""
    candidate_us: float
    """Median time of one candidate call, microseconds."""
    speedup: float
    """Trimmed geometric mean of eager / candidate over neighbouring blocks."""
    speedup_low: float
    speedup_high: float
    """Bounds of the 95 % confidence interval of ``speedup``."""
    samples: int
    """Timed blocks on each side."""
    gbps: float | None = None
    """Achieved bandwidth, GB/s: bytes of the operation over candidate time."""
    tflops: float | None = None
    roofline_fraction: float | None = None
    """Floor of the time on this device over the candidate's time, 0..1; None where it is not known."""


class Verdict(Message):
    """The outcome for one candidate. ``correct`` false means that ``error_type`` is set."""

    task_id: str
    run: str
    operation: str
    hash: str
    correct: bool
    speedup: float = 0.0
    """Geometric mean over the workloads; 0 when not correct or not timed."""
    speedup_low: float = 0.0
    speedup_high: float = 0.0
    error_type: ErrorType | None = None
    error: str = ""
    """A short message that a model can learn from."""
    failing_case: str = ""
    label: str = ""
    """``library_call`` where such calls were allowed and one was made."""
    cases_passed: int = 0
    cases_total: int = 0
    timings: tuple[WorkloadTiming, ...] = ()
    stage_seconds: dict[str, float] = Field(default_factory=dict)
    """Wall seconds by stage: spawn, context, compile, correctness, wait, timing, confirm."""
    device: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    conditions: dict[str, str] = Field(default_factory=dict)
    """Threads, clocks, temperature, throttle reasons, active sandbox layers."""
    worker: str = ""
    timestamp: float = 0.0

    @property
    def faster_than_eager(self) -> bool:
        """True only when the whole confidence interval lies above 1."""
        return self.correct and self.speedup_low > 1.0
