"""How fast this device can be at most, measured; and what a time on it amounts to.

- Ceilings are measured once per judge: a large copy for bytes, a large matrix product for FLOPs.
- GPU: a candidate below the floor (bytes over bandwidth, FLOPs over rate) did not do the work: rejected.
- CPU: caches of hundreds of MB keep whole workloads, so bytes give no floor; only achieved rates are reported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from ...operations.operation import Workload

MARGIN = 0.85
"""A time below this share of the floor is impossible: ceilings are measured to a few per cent, and a kernel may
exceed a copy's bandwidth a little (reads alone are faster than reads and writes mixed)."""


@dataclass(frozen=True)
class Ceilings:
    """Measured limits of one device; 0 where there is none that holds."""

    bytes_per_second: float = 0.0
    flops_per_second: float = 0.0
    cache_bytes: int = 0
    """Last-level cache: this much of what was written need not have reached memory when a kernel ends."""


@dataclass(frozen=True)
class Achieved:
    """What a time amounts to."""

    gbps: float
    tflops: float | None
    fraction: float | None
    """floor / time, 0..1."""


def measure(device: torch.device) -> Ceilings:
    """Ceilings of this device: nothing for a CPU; about 0.1 s on a GPU."""
    if device.type != "cuda":
        return Ceilings()
    properties = torch.cuda.get_device_properties(device)
    size = 1 << 30
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = _fastest(lambda: target.copy_(source), device)
    side = 8192
    a = torch.randn(side, side, dtype=torch.bfloat16, device=device)
    product = _fastest(lambda: a @ a, device)
    return Ceilings(2 * size / copy, 2 * side**3 / product, properties.L2_cache_size)


def _fastest(work: object, device: torch.device) -> float:
    best = float("inf")
    for _ in range(8):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        work()  # type: ignore[operator]
        torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best


def floor_us(workload: Workload, ceilings: Ceilings) -> float:
    """The least time that the device needs for a workload, microseconds; 0 where there is no floor."""
    if not ceilings.bytes_per_second:
        return 0.0
    through_memory = max(0, workload.bytes_moved - ceilings.cache_bytes)
    by_bytes = through_memory / ceilings.bytes_per_second
    return max(by_bytes, workload.flops / ceilings.flops_per_second) * 1e6


def impossible(workload: Workload, candidate_us: float, ceilings: Ceilings) -> str:
    """A sentence if the time is below what physics allows, else ''."""
    floor = floor_us(workload, ceilings)
    if candidate_us >= MARGIN * floor:
        return ""
    return f"{candidate_us:.2f} us is below the {floor:.2f} us that this device needs for the workload's bytes or FLOPs"


def achieved(workload: Workload, candidate_us: float, ceilings: Ceilings) -> Achieved:
    """Rates of a time, and its distance from the floor."""
    gbps = workload.bytes_moved / candidate_us / 1e3
    tflops = workload.flops / candidate_us / 1e6 if workload.flops else None
    floor = floor_us(workload, ceilings)
    return Achieved(
        round(gbps, 3),
        round(tflops, 4) if tflops else None,
        round(floor / candidate_us, 4) if floor else None,
    )
