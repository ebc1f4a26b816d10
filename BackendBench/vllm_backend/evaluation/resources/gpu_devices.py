"""The device files of one GPU: what a candidate must see to use its own GPU and no other."""

from __future__ import annotations

from pathlib import Path

CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def device_files(uuid: str) -> tuple[str, ...]:
    """Device files for the GPU of this UUID; those of all GPUs where NVML does not answer."""
    return (*_own(uuid), *(path for path in CONTROL if Path(path).exists()))


def _own(uuid: str) -> tuple[str, ...]:
    every = tuple(str(p) for p in sorted(Path("/dev").glob("nvidia[0-9]*")))
    if len(every) <= 1:
        return every
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return (f"/dev/nvidia{pynvml.nvmlDeviceGetMinorNumber(handle)}",)
    except Exception:  # a machine without NVML: CUDA_VISIBLE_DEVICES alone separates the GPUs
        return every
