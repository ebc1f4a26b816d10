"""What an evaluating worker and its judge can be told. The one definition of these values."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..state.task import Target


class JudgeSettings(BaseModel):
    """Settings of one judge: one device, many candidates one after another or side by side."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    target: Target = "cpu"
    device_index: int = Field(default=0, ge=0)
    """CUDA index as this process sees it."""
    gpu_gate: str = ""
    """Name of the GPU among all processes of this machine (its UUID): while one times on it, nobody else does and
    no engine generates on it; '': it is this judge's alone. On target cpu the name of the cores that are shared."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of eager and of the candidate alike; 0: all cores that this process may use."""
    concurrency: int = Field(default=0, ge=0)
    """Candidates in flight; 0: on a GPU one on each of four fifths of the cores (they compile) and sixteen
    that wait for it, on the CPU target one more than there are cores, up to five. Each is timed alone."""
    compile_seconds: float = Field(default=120.0, gt=0)
    """Limit for loading the module, and for all compiling of a Triton kernel (every dtype, rank and workload). A module
    that has nvcc compile it takes 40 s, and more where all cores are busy."""
    correctness_seconds: float = Field(default=60.0, gt=0)
    """Limit for all correctness cases together; cases compile again for new dtypes and ranks."""
    timing_seconds: float = Field(default=30.0, gt=0)
    """Limit for one request of the timing."""
    memory_bytes: int = Field(default=4 << 30, gt=0)
    """Host memory of one candidate's process tree."""
    gpu_memory_fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the GPU's memory that one candidate may take."""
    processes: int = Field(default=256, gt=0)
    """Processes and threads that one candidate may have."""
    tmp_bytes: int = Field(default=512 << 20, gt=0)
    """Room of one candidate's private /tmp."""
    require_sandbox: bool = False
    """Refuse to judge where the strongest layers of the sandbox are missing."""
    allow_library_calls: bool = False
    """Accept candidates that let torch compute; they are labelled ``library_call``."""
    timing: Literal["full", "quick", "none"] = "full"
    """How thoroughly a correct kernel is timed. quick: the first workload, few pairs, winners not confirmed."""
    seed: int | None = None
    """Secret seed of the inputs; None: drawn from the system's entropy."""
    skip_screen: bool = False
    """Judge what the screen would refuse: only for tests of the walls behind it, no flag sets it."""

    @property
    def most_workloads(self) -> int | None:
        """How many workloads are timed, and compiled; None: all."""
        return {"full": None, "quick": 1, "none": 0}[self.timing]


class WorkerSettings(BaseModel):
    """Settings of one evaluating worker process."""

    model_config = ConfigDict(extra="forbid")

    worker_id: str
    redis_url: str
    judge: JudgeSettings = JudgeSettings()
    log_file: Path | None = None
    operations: tuple[str, ...] = ()
    """Operations whose references are made before the first candidate is claimed."""
    lease_seconds: float = Field(default=30.0, gt=0)
    """A claimed task is given to another worker when its holder has been silent for this long."""
    max_attempts: int = Field(default=3, gt=0)
    """A task that took its worker down this often is recorded as ``killed_worker``."""
