"""The file system that a candidate sees: read-only, built from the few places that it needs.

- Python and its packages, the system's libraries and compilers, CUDA, a handful of device files; no home directory,
  no run directory, no socket of anybody.
- /tmp and /dev/shm are its own, empty and bounded; they vanish with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from . import syscalls
from .spec import SandboxSpec

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/sys", "/opt/cuda")
ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "passwd",
    "group",
    "localtime",
    "alternatives",
    "nsswitch.conf",
)
"""Of /etc: what the loader, the C compiler and the time zone need."""
DEVICES = ("null", "zero", "full", "random", "urandom")
SHM_BYTES = 64 << 20
PACKAGE = "BackendBench"


def python_paths() -> list[str]:
    """Where this Python and its packages live. Of other entries of sys.path only our own package."""
    own = [sys.prefix, sys.base_prefix, sys.exec_prefix]
    found = [*own]
    for entry in sys.path:
        if not entry or not Path(entry).is_dir() or _within(entry, own):
            continue
        inner = Path(entry) / PACKAGE
        if "site-packages" in Path(entry).parts or "dist-packages" in Path(entry).parts:
            found.append(entry)
        elif inner.is_dir():
            found.append(str(inner))  # an editable checkout also holds runs, logs and Redis data
    executable = Path(sys.executable).resolve()
    found.append(str(executable.parent))
    return found


def readable_paths() -> list[str]:
    """All that is shown read-only, outermost first, none inside another."""
    given = [*SYSTEM, *(f"/etc/{name}" for name in ETC), *python_paths()]
    for variable in ("CUDA_HOME", "LD_LIBRARY_PATH"):
        given += [p for p in os.environ.get(variable, "").split(os.pathsep) if p]
    ways = {part for p in given if Path(p).exists() for part in way_to(p)} - {"/", "/tmp"}
    kept: list[str] = []
    for path in sorted(filter(os.path.lexists, ways)):
        if not _within(path, kept):
            kept.append(path)
    return kept


def way_to(path: str) -> list[str]:
    """The links that lead to ``path``, wherever on the way they are, and last where it lies itself."""
    links: list[str] = []
    rest = Path(os.path.abspath(path))
    while link := next((p for p in [*reversed(rest.parents), rest] if p.is_symlink()), None):
        links.append(str(link))
        target = os.path.join(link.parent, os.readlink(link))
        rest = Path(os.path.normpath(target)) / rest.relative_to(link)
    return [*links, os.path.realpath(path)]


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path == f or path.startswith(f.rstrip("/") + "/") for f in folders)


def enter(spec: SandboxSpec, readable: list[str]) -> None:
    """Build the root and move into it. The caller has its own user, mount and process namespaces. Raises OSError."""
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    base = "/tmp"
    syscalls.mount("tmpfs", base, "tmpfs", syscalls.MS_NOSUID, "mode=0755")
    os.mkdir(f"{base}/old")
    syscalls.pivot_root(base, f"{base}/old")
    os.chdir("/")
    os.mkdir("/new")
    syscalls.mount("tmpfs", "/new", "tmpfs", syscalls.MS_NOSUID, "mode=0755")
    below_tmp = [path for path in readable if _within(path, ["/tmp"])]
    for path in readable:
        if path not in below_tmp:
            _show(path)
    _devices(spec)
    os.mkdir("/new/proc")
    os.mkdir("/new/tmp")
    syscalls.make_read_only("/new")
    # Before the old root goes: the kernel allows a new /proc only to who sees a whole one. Writable: the CUDA driver
    # names its threads there.
    syscalls.mount("proc", "/new/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    private = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", "/new/tmp", "tmpfs", private, f"mode=0700,size={spec.tmp_bytes}")
    syscalls.mount("tmpfs", "/new/dev/shm", "tmpfs", private, f"mode=0700,size={SHM_BYTES}")
    for path in below_tmp:  # an installation that lies there
        if _show(path):
            syscalls.make_read_only(f"/new{path}")
    os.mkdir("/new/tmp/.old")
    syscalls.pivot_root("/new", "/new/tmp/.old")
    os.chdir("/")
    syscalls.umount("/tmp/.old")
    os.rmdir("/tmp/.old")
    os.chdir("/tmp")


def _show(path: str) -> bool:
    """The old root's ``path`` at the same place of the new one; False where it is a link, which is copied as one."""
    source, target = f"/old{path}", f"/new{path}"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return False
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    syscalls.mount(source, target, "", syscalls.MS_BIND | syscalls.MS_REC)
    return True


def _devices(spec: SandboxSpec) -> None:
    os.makedirs("/new/dev/shm", exist_ok=True)
    for path in (*(f"/dev/{name}" for name in DEVICES), *spec.gpu_devices):
        if os.path.exists(f"/old{path}"):
            _show(path)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"/new/dev/{name}")
