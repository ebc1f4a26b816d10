"""A core of its own for each thread that works, while a process is timed on a CPU.

- Both sides of a timing are stopped and woken by turns. Linux wakes a thread where it ran or where the judge does, and
  two of them that meet on one core stay there for up to 13 ms, longer than a block, though another core has nothing to
  do (seen in its log of switches on two cores).
- Who works is known of the last block. Where these are more than cores, those that work most have one.
- A candidate cannot change its cores: the sandbox refuses it.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ... import number_list

LEAST_NS = 5_000
"""From which on a thread worked: one that helps with a kernel of 17 us ran for 60 us in a block of eight."""


class OwnCores:
    """Of one process. ``cores``: those there are; None: those of this process."""

    def __init__(self, cores: Sequence[int] | None = None) -> None:
        self._cores = spread(sorted(os.sched_getaffinity(0)), siblings()) if cores is None else cores
        self._ran: dict[int, int] = {}
        self._placed: dict[int, int] = {}

    def begin(self, pid: int) -> None:
        """Before a block."""
        self._ran = run_ns(pid)

    def settle(self, pid: int) -> None:
        """After a block, while the process is stopped: for the next ones."""
        worked = working(self._ran, run_ns(pid), len(self._cores))
        wanted = placed(worked, self._cores, self._placed)
        for thread in wanted.keys() | self._placed.keys():
            if wanted.get(thread) != self._placed.get(thread):
                core = wanted.get(thread)
                with contextlib.suppress(OSError):  # it has ended
                    os.sched_setaffinity(thread, self._cores if core is None else {core})
        self._placed = wanted


def for_device(kind: str) -> OwnCores | None:
    """``kind``: torch's name. A GPU's processes have cores that are kept for them (cores.py)."""
    return OwnCores() if kind == "cpu" else None


def working(before: Mapping[int, int], now: Mapping[int, int], most: int) -> list[int]:
    """Threads that worked in between, by the nanoseconds that each one had run before and has run now: the ``most`` of
    them that worked longest."""
    ran = {thread: now[thread] - before[thread] for thread in now.keys() & before.keys()}
    worked = [thread for thread, ns in ran.items() if ns >= LEAST_NS]
    return sorted(sorted(worked, key=lambda thread: (-ran[thread], thread))[:most])


def placed(threads: Sequence[int], cores: Sequence[int], before: Mapping[int, int]) -> dict[int, int]:
    """The core of each thread, of which there are no more than cores; who had one ``before`` has it again. Empty where
    there is only one, which no other one of its process is in the way of."""
    if len(threads) < 2:
        return {}
    found = {thread: before[thread] for thread in threads if thread in before}
    free = (core for core in cores if core not in found.values())
    return {thread: found[thread] if thread in found else next(free) for thread in threads}


def spread(cores: Sequence[int], same_core: Mapping[int, Collection[int]]) -> list[int]:
    """The cores in such an order that two hardware threads of the same core come late. ``same_core``: see
    ``siblings``."""
    ranks: dict[int, int] = {}
    for core in cores:
        ranks[core] = sum(other in ranks for other in same_core.get(core, ()))
    return sorted(cores, key=lambda core: ranks[core])


def run_ns(pid: int) -> dict[int, int]:
    """For how long each thread of a process has run; empty where the system does not say or the process is gone."""
    found: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                found[int(thread.name)] = int((thread / "schedstat").read_text().split()[0])
    return found


@functools.cache
def siblings() -> Mapping[int, Collection[int]]:
    """Of each hardware thread of this machine those of the same core."""
    found: dict[int, Collection[int]] = {}
    for core in os.sched_getaffinity(0):
        file = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        with contextlib.suppress(OSError, ValueError):
            found[core] = number_list.parsed(file.read_text().strip())
    return found
