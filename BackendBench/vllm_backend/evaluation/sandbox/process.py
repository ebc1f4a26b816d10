"""Forking one sandboxed process, and ending it with all that it started.

- The warm server forks a *keeper*, the keeper enters new namespaces and forks the candidate's process, which is the
  first process of its own process namespace: when it dies, the kernel kills everything below it.
- The keeper holds nothing and does nothing but wait; it ends the way the candidate's process ended.
- Any failure before ``main`` is told through a pipe and raised by ``spawn``: nothing runs half-sandboxed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import filter, landlock, limits, root, syscalls
from .spec import SandboxSpec

NAMESPACES = (
    syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWPID
)  # fmt: skip
MOST_DESCRIPTORS = 1 << 16
"""Of the process that forks the others; a candidate gets fewer (limits.py). No number of a descriptor is larger."""


class SandboxError(OSError):
    """A sandboxed process could not be made."""


@dataclass
class SandboxedChild:
    """A candidate's process and its keeper."""

    pid: int
    """The candidate's process, as this process namespace numbers it."""
    keeper: int
    pidfd: int
    """Becomes readable when the keeper, and so everything, is gone."""
    cgroup: limits.Cgroup | None

    def wait(self) -> int:
        """Reap it; the wait status of the candidate's process. Blocks until it is dead."""
        _, status = os.waitpid(self.keeper, 0)
        if self.cgroup is not None:
            self.cgroup.remove()
        return status


def spawn(spec: SandboxSpec, main: Callable[[], None], kept: Sequence[int] | None = None) -> SandboxedChild:
    """Fork a process that runs ``main`` behind all layers of ``spec``. Raises SandboxError.

    ``kept``: the only descriptors that it inherits beside 0, 1 and 2; None: all. The others are closed before anything
    else, so that it can be made however many there are.
    """
    readable = root.readable_paths()
    with contextlib.ExitStack() as undone:
        cgroup = limits.Cgroup.make(spec) if "cgroup" in spec.layers else None
        if cgroup is not None:
            undone.callback(cgroup.remove)
        reading, writing = os.pipe()
        undone.callback(os.close, reading)
        try:
            keeper = os.fork()
            if keeper == 0:
                os.close(reading)
                if kept is not None:
                    _close_all_but({0, 1, 2, writing, *kept})
                _keeper(spec, cgroup, readable, writing, main)
        finally:
            os.close(writing)
        undone.callback(_end, keeper)
        pid = _started(reading)
        pidfd = os.pidfd_open(keeper)
        undone.pop_all()
    os.close(reading)
    return SandboxedChild(pid, keeper, pidfd, cgroup)


def _close_all_but(kept: set[int]) -> None:
    first = 0
    for descriptor in [*sorted(kept), MOST_DESCRIPTORS]:
        if descriptor > first:  # closerange(0, 0) closes all there are (Python 3.11)
            os.closerange(first, descriptor)
        first = descriptor + 1


def _end(keeper: int) -> None:
    """The candidate's process dies with it."""
    os.kill(keeper, signal.SIGKILL)  # a zombie at most: nobody has waited for it yet
    os.waitpid(keeper, 0)


def _started(reading: int) -> int:
    """The process's number. Raises SandboxError with what went wrong in it."""
    text = b""
    while chunk := os.read(reading, 65536):
        text += chunk
    lines = [json.loads(line) for line in text.splitlines()]
    errors = [line["error"] for line in lines if "error" in line]
    pids = [line["pid"] for line in lines if "pid" in line]
    if errors or not pids:
        raise SandboxError(errors[0] if errors else "the keeper died")
    return int(pids[0])


def _keeper(
    spec: SandboxSpec,
    cgroup: limits.Cgroup | None,
    readable: list[str],
    writing: int,
    main: Callable[[], None],
) -> None:
    """Never returns."""
    try:
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if cgroup is not None:
            cgroup.join()
        if "namespaces" in spec.layers:
            _new_namespaces()
        child = os.fork()
        if child == 0:
            _candidate(spec, readable, writing, main)
        os.write(writing, json.dumps({"pid": child}).encode() + b"\n")
        _wait_like(child, writing)
    except BaseException as error:
        _tell(writing, error)
    os._exit(1)


def _new_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
            file.write(text)


def _candidate(spec: SandboxSpec, readable: list[str], writing: int, main: Callable[[], None]) -> None:
    """Never returns. The pipe closes when all layers stand."""
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if "rlimits" in spec.layers:
            limits.set_rlimits(spec, with_cgroup="cgroup" in spec.layers)
        if "namespaces" in spec.layers:
            root.enter(spec, readable)
        syscalls.drop_capabilities()
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        if "landlock" in spec.layers:
            # Of a link it would open all that it leads to.
            landlock.restrict([path for path in readable if not Path(path).is_symlink()], _writable(spec))
        if "seccomp" in spec.layers:
            filter.install(spec)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # not traced, its /proc entries belong to nobody
    except BaseException as error:
        _tell(writing, error)
        os._exit(1)
    os.close(writing)
    try:
        main()
    finally:
        os._exit(1)


def _writable(spec: SandboxSpec) -> list[str]:
    """/dev because of the GPU's ioctls; /proc because of a thread's own files."""
    return ["/tmp", "/dev", "/proc", *spec.gpu_devices]


def _tell(writing: int, error: BaseException) -> None:
    with contextlib.suppress(OSError):
        os.write(writing, json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}).encode() + b"\n")


def _wait_like(child: int, writing: int) -> None:
    """Hold nothing, wait for the candidate's process, end as it ended."""
    os.close(writing)
    os.closerange(0, MOST_DESCRIPTORS)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pause()
    os._exit(os.WEXITSTATUS(status))


def kill_tree(child: SandboxedChild) -> None:
    """Kill the process and everything below it; safe when it is dead already and not yet reaped."""
    for pid in child.cgroup.processes() if child.cgroup else []:
        if pid != child.keeper:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(child.pid, signal.SIGKILL)
