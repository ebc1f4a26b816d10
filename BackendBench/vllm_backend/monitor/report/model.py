"""The report of one run as data: what ``report.json`` holds and what every other form is made of.

- Every number is of this run, measured; what was not measured is None, never 0 in its place.
- Seconds are wall seconds; ``*_after`` are seconds of work since the start, pauses between a stop and a resume
  left out. Moments are seconds since the epoch by the clock of Redis.
- A speedup never stands without its interval.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

RunState = Literal["running", "finished", "stopped", "failed", "killed"]
"""``killed``: it neither ended nor works; ``running``: numbers of a run in progress."""


class Part(BaseModel):
    """Base of all parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Workload(Part):
    """Eager against the best kernel on one workload."""

    workload: str
    eager_us: float
    candidate_us: float
    speedup: float
    speedup_low: float
    speedup_high: float
    """Bounds of the 95 % interval."""
    samples: int
    gbps: float | None = None
    tflops: float | None = None
    roofline_fraction: float | None = None


class BestKernel(Part):
    """The fastest correct kernel that this run found for an operation."""

    hash: str
    speedup: float
    """Geometric mean over the workloads; 0 where nothing was timed."""
    speedup_low: float
    speedup_high: float
    faster_than_eager: bool
    """The whole interval lies above 1."""
    label: str = ""
    """``library_call`` where such calls were allowed and one was made."""
    device: str = ""
    model: str = ""
    found_after: float | None = None
    workloads: tuple[Workload, ...] = ()


class Counts(Part):
    """Candidates of an operation, or of all. generated = queued + duplicates + unusable."""

    requested: int = 0
    generated: int = 0
    duplicates: int = 0
    unusable: int = 0
    evaluated: int = 0
    correct: int = 0
    faster: int = 0
    waiting: int = 0
    """Generated and without a verdict yet."""
    abandoned: int = 0
    shortfall: int = 0
    """Samples that were asked for and never came."""


class Cost(Part):
    """What the candidates took, and what that is for each; None where there is nothing to divide by."""

    tokens: int = 0
    generation_seconds: float = 0.0
    gpu_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    """Summed over candidates, which may be judged side by side."""
    tokens_per_candidate: float | None = None
    generation_seconds_per_candidate: float | None = None
    evaluation_seconds_per_candidate: float | None = None
    """Per candidate that was judged."""
    tokens_per_accepted: float | None = None
    generation_seconds_per_accepted: float | None = None
    gpu_seconds_per_accepted: float | None = None
    evaluation_seconds_per_accepted: float | None = None


class FeedbackLag(Part):
    """Verdicts of the same operation that came between the prompt of a candidate and its own verdict."""

    mean: float | None = None
    largest: int = 0


class OperationReport(Part):
    """One operation."""

    operation: str
    counts: Counts
    failures: dict[str, int]
    """Error class to count, largest first."""
    unusable_reasons: dict[str, int]
    first_correct_after: float | None
    first_faster_after: float | None
    best: BestKernel | None
    average_speedup: float | None
    """Mean over the correct and timed kernels."""
    known_speedup: float | None
    """Best speedup among duplicates: kernels that an earlier run may have found and this one wrote again."""
    cost: Cost
    feedback_lag: FeedbackLag
    stage_seconds: dict[str, float]
    groups: dict[str, int]


class Rates(Part):
    """Per minute of work."""

    generated: float | None = None
    evaluated: float | None = None
    correct: float | None = None


class Death(Part):
    """A worker that died; it was started again unless the run ended or gave it up."""

    worker: str
    code: int
    after: float
    returned: int
    """Tasks that went back to the queue."""


class Engine(Part):
    """What wrote the candidates."""

    name: str
    models: tuple[str, ...]
    """As recorded with the kernels."""
    language_model: bool
    statement: str
    """One plain sentence."""


class Device(Part):
    """What judged, and how it was set up."""

    device: str
    workers: int
    """Workers of which this is the latest record."""
    versions: dict[str, str]
    conditions: dict[str, str]


class Step(Part):
    """A new best kernel of an operation."""

    after: float
    speedup: float
    speedup_low: float
    speedup_high: float
    hash: str


class Moment(Part):
    """Candidates so far."""

    after: float
    generated: int
    evaluated: int
    correct: int


class Timeline(Part):
    """What the plots over time show."""

    complete: bool
    """False: the oldest events of a very long run are not kept, and the plots begin after them."""
    moments: tuple[Moment, ...]
    best: dict[str, tuple[Step, ...]]


class Report(Part):
    """One run."""

    format: int = 1
    run: str
    state: RunState
    reason: str
    """Why it ended; '' for a run that has not."""
    written: float
    started: float
    ended: float | None
    work_seconds: float
    """Time at work, without the pauses of a stopped run."""
    resumes: int
    engine: Engine
    target: str
    devices: tuple[Device, ...]
    counts: Counts
    rates: Rates
    failures: dict[str, int]
    unusable_reasons: dict[str, int]
    first_correct_after: float | None
    first_faster_after: float | None
    cost: Cost
    feedback_lag: FeedbackLag
    stage_seconds: dict[str, float]
    """Wall seconds of evaluation by stage, summed over candidates, largest first."""
    deaths: tuple[Death, ...]
    operations: tuple[OperationReport, ...]
    timeline: Timeline
    settings: dict[str, Any]
    """The run's configuration as resolved, without secrets."""
