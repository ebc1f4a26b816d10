"""Which cores candidates compile and run on, and which are kept for what is timed.

- A timing on a GPU queues its launches ahead of the kernels. A process that waits for a core meanwhile queues too late,
  and the judge's own clock sees milliseconds that are nobody's: so what is timed, eager and candidate by turns, has
  cores that no other candidate of this judge may use.
- A candidate cannot change its cores: the sandbox refuses it.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from . import capacity

LEAST_CORES = 8
"""With fewer every core is needed for compiling."""


@dataclass(frozen=True)
class Cores:
    """Numbers of cores."""

    working: frozenset[int]
    timing: frozenset[int]
    """Empty: none are kept, everybody may use all."""


def split(available: Collection[int], target: str, key: str) -> Cores:
    """As many for compiling as candidates compile at a time, the others for timing. ``key``: the name of the GPU, so
    that judges of several GPUs that share the same cores do not all keep the same ones."""
    every = sorted(available)
    if target != "cuda" or len(every) < LEAST_CORES:
        return Cores(frozenset(every), frozenset())
    kept = len(every) - capacity.compilers(target, len(every))
    first = zlib.crc32(key.encode()) % len(every)
    timing = frozenset((every + every)[first : first + kept])
    return Cores(frozenset(every) - timing, timing)


def move(pid: int, to: Collection[int]) -> None:
    """Have all threads of a process run on these cores; nothing where there are none or the process is gone."""
    if not to:
        return
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), to)
