"""Which GPUs this process may use, without importing torch and without touching them.

- Indices are positions among the *visible* devices: with CUDA_VISIBLE_DEVICES=4,5 index 1 is GPU 5.
- ``Gpu.visible`` is what a worker gets as its own CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pynvml


@dataclass(frozen=True)
class Gpu:
    """One visible GPU."""

    index: int
    """Position among the visible ones."""
    visible: str
    """Its name for CUDA_VISIBLE_DEVICES: a number or a UUID."""
    name: str
    memory_bytes: int
    uuid: str = ""
    """The same for every process of this machine, however it numbers its devices."""


def driver_problem() -> str | None:
    """Why NVML does not work, or None when it does."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return str(error)
    return None


def driver_version() -> str:
    """Version of the NVIDIA driver; '' without one."""
    return "" if driver_problem() else str(pynvml.nvmlSystemGetDriverVersion())


def visible_gpus(environment: Mapping[str, str] | None = None) -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves; empty without a driver."""
    if driver_problem():
        return []
    environment = os.environ if environment is None else environment
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(pynvml.nvmlDeviceGetCount())] if chosen is None else chosen.split(",")
    found: list[Gpu] = []
    for name in (n.strip() for n in names):
        try:
            handle = _handle(name)
            memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            uuid = str(pynvml.nvmlDeviceGetUUID(handle))
            found.append(Gpu(len(found), name, str(pynvml.nvmlDeviceGetName(handle)), memory, uuid))
        except (pynvml.NVMLError, ValueError):
            break  # as CUDA does: nothing after the first name that does not exist
    return found


def _handle(name: str) -> object:
    if name.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(name)
    if not name.isdigit():
        raise ValueError(name)
    return pynvml.nvmlDeviceGetHandleByIndex(int(name))
