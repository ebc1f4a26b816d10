"""Whether a GPU does nothing for anybody else.

A GPU gives the processes that use it slices of milliseconds by turns. So while another one has work there, a kernel of
ten microseconds takes a slice longer than it should, and the next one again: the others' slice begins whenever this
process has nothing more to do.
"""

from __future__ import annotations

import time

import torch

PROBES = 5
PROBE_CYCLES = 20_000
"""Ten microseconds of clock."""
MOST_US = 250.0
"""A probe with its launch and the waiting for it takes 30 us, a slice 1000 us and more."""


def is_quiet(device: torch.device) -> bool:
    """Whether all probes are as quick as they are on a GPU of one's own. Takes 0.2 ms, or a slice or two. A processor
    counts as quiet: nothing can be said of it."""
    if device.type != "cuda":
        return True
    torch.cuda.synchronize(device)
    with torch.cuda.device(device):
        return all(_probe_us(device) <= MOST_US for _ in range(PROBES))


def _probe_us(device: torch.device) -> float:
    started = time.perf_counter()
    torch.cuda._sleep(PROBE_CYCLES)
    torch.cuda.synchronize(device)
    return (time.perf_counter() - started) * 1e6
