"""The device files of one GPU: what a candidate must see to use its own GPU and no other."""

from __future__ import annotations

import os
from pathlib import Path

CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def device_files(index: int) -> tuple[str, ...]:
    """Device files for the GPU that this process numbers ``index``; those of all GPUs where NVML does not answer."""
    return (*_own(index), *(path for path in CONTROL if Path(path).exists()))


def _own(index: int) -> tuple[str, ...]:
    every = tuple(str(p) for p in sorted(Path("/dev").glob("nvidia[0-9]*")))
    if len(every) <= 1:
        return every
    visible = [v for v in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if v.strip()]
    name = visible[index] if index < len(visible) else str(index)
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = (
            pynvml.nvmlDeviceGetHandleByIndex(int(name))
            if name.isdigit()
            else pynvml.nvmlDeviceGetHandleByUUID(name)
        )
        return (f"/dev/nvidia{pynvml.nvmlDeviceGetMinorNumber(handle)}",)
    except Exception:  # a machine without NVML: CUDA_VISIBLE_DEVICES alone separates the GPUs
        return every
