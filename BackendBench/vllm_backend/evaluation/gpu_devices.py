"""The device files of one GPU: what a candidate must see to use its own GPU and no other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def device_files(index: int) -> tuple[str, ...]:
    """Device files for the GPU that this process numbers ``index``; those of all GPUs where NVML does not answer."""
    return (*_own(index), *(path for path in CONTROL if Path(path).exists()))


def uuid(index: int) -> str:
    """The GPU that this process numbers ``index``, named so that it is meant also where fewer are seen; '' where NVML
    does not answer."""
    try:
        import pynvml

        return str(pynvml.nvmlDeviceGetUUID(_handle(index)))
    except Exception:  # a machine without NVML: numbers have to do
        return ""


def _own(index: int) -> tuple[str, ...]:
    every = tuple(str(p) for p in sorted(Path("/dev").glob("nvidia[0-9]*")))
    if len(every) <= 1:
        return every
    try:
        import pynvml

        return (f"/dev/nvidia{pynvml.nvmlDeviceGetMinorNumber(_handle(index))}",)
    except Exception:  # a machine without NVML: CUDA_VISIBLE_DEVICES alone separates the GPUs
        return every


def _handle(index: int) -> Any:
    """NVML's handle; it counts all GPUs of the machine."""
    import pynvml

    visible = [v for v in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if v.strip()]
    name = visible[index] if index < len(visible) else str(index)
    pynvml.nvmlInit()
    if name.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)
