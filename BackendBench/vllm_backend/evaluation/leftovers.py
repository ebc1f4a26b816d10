"""Finds what a candidate leaves running after its calls: threads, processes, work.

- The harness reports threads started from Python. It can be made to lie, so the judge looks for itself: a process
  that waits for its next request has no children and uses no processor.
- Sleeping threads of a pool (Numba, OpenMP, a GPU driver) are no leftover: they work only during calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from ..state.error_type import ErrorType
from .failure import CandidateFailed, Failure

GRACE_SECONDS = 0.03
"""OpenMP's pools spin for some milliseconds after a parallel region before they sleep."""
WINDOW_SECONDS = 0.02
WINDOWS = 3
"""All must be busy: a driver's thread may do something now and then."""
BUSY_SHARE = 0.25
"""Of a window; a thread that works on is at 1, a waiting process below 0.01. On a machine so busy that a running
thread gets less than this, it is found by the clock instead."""


def refuse_reported(reply: dict[str, Any]) -> None:
    """Raise CandidateFailed where the harness found threads that a call had started."""
    count = reply.get("threads")
    if isinstance(count, int) and count > 0:
        raise _failed(f"{count} thread(s) that the kernel started outlive its call")


async def refuse(pid: int) -> None:
    """Raise CandidateFailed where the waiting process ``pid`` has children or keeps working."""
    if processes(pid):
        raise _failed("processes that the kernel started outlive its call")
    await asyncio.sleep(GRACE_SECONDS)
    for _ in range(WINDOWS):
        if await _share_used(pid) < BUSY_SHARE:
            return
    raise _failed("threads of the kernel go on working after it has returned")


def _failed(text: str) -> CandidateFailed:
    return CandidateFailed(Failure(ErrorType.LEFTOVER_WORK, f"{text}; wait for all work before returning"))


async def _share_used(pid: int) -> float:
    """Processors in use over the next window."""
    before, started = cpu_ns(pid), time.monotonic_ns()
    await asyncio.sleep(WINDOW_SECONDS)
    after = cpu_ns(pid)
    if before is None or after is None:
        return 0.0  # it is dead, which the next request will tell
    return (after - before) / (time.monotonic_ns() - started)


def cpu_ns(pid: int) -> int | None:
    """Processor time of all threads of a process so far, as its kernel counts; None where it is gone."""
    try:
        return time.clock_gettime_ns(
            (~pid << 3) | 2
        )  # CPUCLOCK_SCHED of that process, see clock_getcpuclockid(3)
    except OSError:
        return None


def processes(pid: int) -> list[int]:
    """Live children of ``pid``. The first process of a namespace inherits all orphans, so none hides below another."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in file.read_text().split() if _alive(int(child))]
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
