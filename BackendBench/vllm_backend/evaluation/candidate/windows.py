"""Room between a GPU process's memory and the windows through which a kernel sees shared and local memory.

- An address in such a window is not one of global memory: where all multiprocessors meet one, the driver reports each
  of them, 1.1 to 1.35 s in which the whole GPU stands still; an address that nobody has costs 0.15 to 0.17 s (H200,
  driver 580; one multiprocessor alone 0.05 and 0.14 s).
- The driver lays allocations right below these windows, 0.2 and 4 GB away, so that an index gone astray meets them as
  chance will have it. It takes what is free of the process's own addresses, so addresses that are taken keep it away.
"""

from __future__ import annotations

import mmap

ROOM_BYTES = 1 << 36
"""An int32 index over float64, the farthest that a kernel goes astray without 64-bit arithmetic, reaches 16 GiB."""


def keep_away() -> mmap.mmap | None:
    """Take so many addresses, which costs no memory. To be called when the context has been made and nothing is
    allocated; holds as long as the result lives. None where the system refuses: then it is slower, not wrong."""
    try:
        return mmap.mmap(-1, ROOM_BYTES, flags=mmap.MAP_PRIVATE, prot=0)
    except (OSError, ValueError):
        return None
