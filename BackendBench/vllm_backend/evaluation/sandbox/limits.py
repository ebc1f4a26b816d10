"""Resource limits of one process, and the memory and process limits of its tree (cgroup, version 1 or 2).

- The cgroup counts the whole tree and is made by whoever may (root, or a delegated subtree); where there is none,
  RLIMIT_DATA and RLIMIT_NPROC bound each process.
- RLIMIT_AS is of no use: a CUDA context reserves more addresses than a machine has memory.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import time
from pathlib import Path

from .spec import SandboxSpec

ROOT = Path("/sys/fs/cgroup")
PARENT = "backendbench-vllm"
OPEN_FILES = 4096
CORE_BYTES = 0
REMOVE_TRIES = 50
"""A cgroup is busy until the kernel has reaped its last process: some milliseconds."""
LEFT_SECONDS = 60.0
"""A group without processes that is older was left by a server that was killed; one that was just made waits for its
process for milliseconds."""


def set_rlimits(spec: SandboxSpec, with_cgroup: bool) -> None:
    """Limits that children inherit and nobody can raise again."""
    _limit(resource.RLIMIT_CORE, CORE_BYTES)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, spec.tmp_bytes)
    _limit(resource.RLIMIT_MEMLOCK, 64 << 20)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    if not with_cgroup:
        _limit(resource.RLIMIT_NPROC, spec.processes)
        _limit(resource.RLIMIT_DATA, spec.memory_bytes + _data_now())


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _data_now() -> int:
    """Bytes that already count as data (VmData)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 0


class Cgroup:
    """The group of one candidate, or nothing where none can be made."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    @staticmethod
    def make(spec: SandboxSpec) -> Cgroup:
        """A new group with the limits of ``spec``. Raises OSError where this process may not."""
        name = secrets.token_hex(8)
        folders = [parent / PARENT / name for parent in _hierarchies()]
        group = Cgroup(folders)
        try:
            for folder in folders:
                folder.mkdir(parents=True)
            if _version() == 1:
                _write(folders[0] / "memory.limit_in_bytes", spec.memory_bytes)
                with contextlib.suppress(OSError):  # without swap accounting there is no such file
                    _write(folders[0] / "memory.memsw.limit_in_bytes", spec.memory_bytes)
                _write(folders[1] / "pids.max", spec.processes)
            else:
                _write(folders[0] / "memory.max", spec.memory_bytes)
                with contextlib.suppress(OSError):
                    _write(folders[0] / "memory.swap.max", 0)
                _write(folders[0] / "pids.max", spec.processes)
        except OSError:
            group.remove()
            raise
        return group

    def join(self) -> None:
        """Put the calling process in."""
        for folder in self._folders:
            _write(folder / "cgroup.procs", os.getpid())

    def processes(self) -> list[int]:
        """Processes of the group now."""
        with contextlib.suppress(OSError):
            return [int(line) for line in (self._folders[0] / "cgroup.procs").read_text().split()]
        return []

    def remove(self) -> None:
        """Delete the group once its processes are gone."""
        for folder in self._folders:
            for _ in range(REMOVE_TRIES):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.002)


def sweep() -> None:
    """Delete groups that servers left which were killed."""
    now = time.time()
    with contextlib.suppress(OSError):
        for parent in _hierarchies():
            for group in (parent / PARENT).glob("*"):
                # It may be in use, a file, or another server's sweep was faster.
                with contextlib.suppress(OSError):
                    if now - group.stat().st_mtime > LEFT_SECONDS:
                        group.rmdir()


def _version() -> int:
    return 2 if (ROOT / "cgroup.controllers").exists() else 1


def _hierarchies() -> list[Path]:
    """Folders below which groups are made. Raises OSError where the controllers cannot be had."""
    if _version() == 1:
        return [ROOT / "memory", ROOT / "pids"]
    base = ROOT / PARENT
    base.mkdir(exist_ok=True)
    for folder in (ROOT, base):
        _write(folder / "cgroup.subtree_control", "+memory +pids")
    return [ROOT]


def _write(file: Path, value: object) -> None:
    file.write_text(str(value))
