"""Under which conditions something was measured: device, versions, threads, clocks, sandbox."""

from __future__ import annotations

import functools
import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from . import sandbox


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def gpu_bytes(device: torch.device) -> int:
    """A GPU's whole memory; 0 for a processor."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else 0


@functools.cache
def device_name(device: torch.device) -> str:
    """``NVIDIA H200`` or the processor's model name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what a time depends on."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("triton", "numba", "backendbench-vllm"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def now(device: torch.device, threads: int) -> dict[str, str]:
    """Threads on both sides of a timing, sandbox, and on a GPU clocks, temperature and throttle reasons."""
    known = {"threads": str(threads), "sandbox": str(sandbox.probe())}
    if device.type == "cuda":
        known.update(_nvml(device.index or 0))
    return known


def _nvml(index: int) -> dict[str, str]:
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(gpu_uuid(index))
        return {
            "sm_clock_mhz": str(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)),
            "memory_clock_mhz": str(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM)),
            "temperature_c": str(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
            "throttle_reasons": hex(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        }
    except Exception as error:  # NVML is a convenience; a machine without it still judges
        return {"nvml": f"{type(error).__name__}: {error}"[:200]}


def gpu_capability(index: int) -> int:
    """Compute capability, 90 for Hopper."""
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor


def gpu_uuid(index: int) -> str:
    """NVML counts all GPUs of the machine, torch the visible ones, a sandbox one; the UUID is the same for all."""
    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"
