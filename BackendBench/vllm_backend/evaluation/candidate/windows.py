"""Room between a GPU process's memory and the windows through which a kernel sees shared and local memory.

- A kernel that meets an address in such a window and one that nobody has stops the whole GPU for 0.78 s, one that only
  meets addresses that nobody has for 0.15 to 0.17 s (H200, driver 580).
- The driver lays windows where the process has free addresses when it wakes, and memory where it has some when it makes
  the context: right below, 0.2 to 4 GB away, so that an index gone astray meets them as chance will have it. Addresses
  that are taken in between keep them apart.
"""

from __future__ import annotations

import mmap

import torch

ROOM_BYTES = 1 << 36
"""An int32 index over float64, the farthest that a kernel goes astray without 64-bit arithmetic, reaches 16 GiB."""


def keep_away() -> mmap.mmap | None:
    """Wake CUDA's driver and take so many addresses, which costs no memory. To be called before there is a context;
    holds as long as the result lives. None where the system refuses: then it is slower, not wrong."""
    torch.cuda.init()
    return take_addresses()


def take_addresses() -> mmap.mmap | None:
    """See ``keep_away``."""
    try:
        return mmap.mmap(-1, ROOM_BYTES, flags=mmap.MAP_PRIVATE, prot=0)
    except (OSError, ValueError):
        return None
