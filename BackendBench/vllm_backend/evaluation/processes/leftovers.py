"""Finds what a candidate leaves running after its calls: threads, processes, work.

- The harness reports threads started from Python. It can be made to lie, so the judge looks for itself: a process
  that waits for its next request has no children and runs nothing.
- Sleeping threads of a pool (Numba, OpenMP, a GPU driver) are no leftover: they work only during calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

from ...state.error_type import ErrorType
from ..failure import CandidateFailed, Failure

GRACE_SECONDS = 0.03
"""OpenMP's pools spin for some milliseconds after a parallel region before they sleep."""
LOOKS = 8
"""Something must be running at all of them: a driver's thread may do a little now and then."""
PAUSE_SECONDS = 0.015
"""Between two looks; honest processes are seen at rest at the first one."""


def refuse_reported(reply: dict[str, Any]) -> None:
    """Raise CandidateFailed where the harness found threads that a call had started."""
    count = reply.get("threads")
    if isinstance(count, int) and count > 0:
        raise _failed(f"{count} thread(s) that the kernel started outlive its call")


def refuse_processes(pid: int) -> None:
    """Raise CandidateFailed where the waiting process ``pid`` has children."""
    if processes(pid):
        raise _failed("processes that the kernel started outlive its call")


async def refuse(pid: int) -> None:
    """Raise CandidateFailed where the waiting process ``pid`` has children or keeps working."""
    refuse_processes(pid)
    await asyncio.sleep(GRACE_SECONDS)
    for _ in range(LOOKS):
        if not working(pid):
            return
        await asyncio.sleep(PAUSE_SECONDS)
    raise _failed("threads of the kernel go on working after it has returned")


def _failed(text: str) -> CandidateFailed:
    return CandidateFailed(Failure(ErrorType.LEFTOVER_WORK, f"{text}; wait for all work before returning"))


def working(pid: int) -> bool:
    """Whether a thread of ``pid`` runs, or would if it had a core: on a busy machine its processor time says little."""
    return any(state(task / "stat") == "R" for task in Path(f"/proc/{pid}/task").glob("*"))


def state(stat: Path) -> str:
    """The letter that proc(5) gives a process or thread; '' where it is gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


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
            children = [int(child) for child in file.read_text().split()]
            found += [child for child in children if state(Path(f"/proc/{child}/stat")) not in ("Z", "X", "")]
    return found
