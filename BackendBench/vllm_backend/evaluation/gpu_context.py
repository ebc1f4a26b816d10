"""A candidate's context on a GPU."""

from __future__ import annotations

import torch


def make(device: torch.device, memory_fraction: float) -> None:
    """Make it, before any candidate code, with so much of the GPU's memory."""
    _sleep_while_waiting(device)
    torch.cuda.set_device(device)
    torch.cuda.set_per_process_memory_fraction(memory_fraction, device)
    torch.zeros(1, device=device)
    torch.cuda.synchronize()


def _sleep_while_waiting(device: torch.device) -> None:
    """By default a process that waits for a GPU spins, on a core on which another candidate could compile: of those
    that share a GPU most wait. It is woken some 20 us later, like both sides of a timing, outside of their events."""
    from cuda.bindings import driver

    blocking = driver.CUctx_flags.CU_CTX_SCHED_BLOCKING_SYNC
    driver.cuInit(0)
    error, ordinal = driver.cuDeviceGet(device.index or 0)
    if int(error) == 0:  # else torch says what is wrong
        driver.cuDevicePrimaryCtxSetFlags(ordinal, blocking)
