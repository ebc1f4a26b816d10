"""The parent of one worker: when the worker or the supervisor dies, nothing of the worker stays behind.

- Started as a script, not as a module: it imports no more than it needs and costs a few megabytes.
- It adopts every orphan below it (PR_SET_CHILD_SUBREAPER), so processes that a killed worker leaves,
  engines and judges, in whatever session, are still found and killed.
- The supervisor holds the other end of the lifeline, a pipe. Its closing, by intent or because the supervisor
  was killed, means: kill everything now.
- SIGTERM and SIGINT are passed on to the worker. If the guard itself is killed, the worker is too
  (PR_SET_PDEATHSIG).
- Exit code: the worker's; 128 + signal when a signal ended it.

    python guard.py LIFELINE_FD CORES PROGRAM ARGUMENT...      CORES: ``0,1``, or ``-`` for all
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_SECONDS = 20.0
"""Longest wait for killed processes to go: a process inside the GPU driver can take seconds."""
KILL_PAUSE_SECONDS = 0.02


def main(arguments: list[str]) -> int:
    """Run the worker; return its exit code."""
    lifeline, cores, command = int(arguments[0]), arguments[1], arguments[2:]
    # This folder came first on the path because it holds the script; its modules must not shadow others.
    sys.path.pop(0)
    if cores != "-":
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    worker = subprocess.Popen(command, preexec_fn=_die_with_parent)  # safe: one thread only

    def forward(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Only the worker reads the settings on standard input.
    os.close(0)
    status = None
    while status is None:
        ready, _, _ = select.select([lifeline, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
        status = _reap(worker.pid)
        if lifeline in ready and status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
            break
    status = _kill_all(worker.pid, status)
    if status is None:
        return 1
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _reap(worker: int) -> int | None:
    """Collect every dead child; return the worker's wait status if it is among them."""
    status = None
    while True:
        try:
            pid, result = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == worker:
            status = result


def _kill_all(worker: int, status: int | None) -> int | None:
    """Kill all descendants, again and again until none is left: they may be forking."""
    deadline = time.monotonic() + KILL_SECONDS
    while time.monotonic() < deadline:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        found = _reap(worker)
        status = status if found is None else found
        if not _descendants(os.getpid()):
            break
        time.sleep(KILL_PAUSE_SECONDS)
    return status


def _descendants(ancestor: int) -> list[int]:
    """Process ids below ``ancestor``, zombies included, from one look at /proc."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (a script of the standard library alone)
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                # After the command's name, which may hold spaces and brackets: state, parent, ...
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
    found, frontier = [], {ancestor}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found += sorted(frontier)
    return found


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
