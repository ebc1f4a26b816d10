"""What one candidate may have. Plain data: it travels to the warm server as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Layer = Literal["namespaces", "landlock", "seccomp", "cgroup", "rlimits"]
LAYERS: tuple[Layer, ...] = ("namespaces", "landlock", "seccomp", "cgroup", "rlimits")
STRONGEST: frozenset[Layer] = frozenset({"namespaces", "seccomp", "rlimits"})
"""Without these a candidate sees the machine's files, its network or its processes."""


class SandboxSpec(BaseModel):
    """Limits and layers of one candidate's process tree."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_bytes: int
    tmp_bytes: int
    processes: int
    """Processes and threads."""
    target: Literal["cpu", "cuda"]
    gpu_devices: tuple[str, ...] = ()
    """Device files of its own GPU and the driver's control files."""
    layers: tuple[Layer, ...] = LAYERS

    @property
    def may_fork(self) -> bool:
        """Triton runs ptxas and a C compiler; Numba compiles within the process."""
        return self.target == "cuda"
