"""Landlock: file and network rules that a process imposes on itself and cannot lift.

Constants and structures: linux/landlock.h (ABI 1 to 6).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from . import syscalls

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that exist for files; all others are of directories."""
READ = EXECUTE | READ_FILE | READ_DIR
ACCESS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
TCP = 0b11
"""Bind and connect, from ABI 4 on."""
SCOPES = 0b11
"""Abstract sockets and signals stay within, from ABI 6 on."""
RULE_PATH_BENEATH = 1
CREATE_VERSION = 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """Version that this kernel speaks; 0 where it has none."""
    try:
        return syscalls.call(
            syscalls.SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), CREATE_VERSION, what="landlock"
        )
    except OSError:
        return 0


def restrict(readable: Sequence[str], writable: Sequence[str]) -> None:
    """From now on only ``readable`` can be read and run, ``writable`` also changed. Raises OSError."""
    version = abi()
    handled = ACCESS_BY_ABI[min(version, max(ACCESS_BY_ABI))]
    attributes = _Ruleset(handled, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscalls.call(
        syscalls.SYS_LANDLOCK_CREATE_RULESET,
        ctypes.byref(attributes),
        ctypes.c_size_t(size),
        0,
        what="landlock",
    )
    try:
        for path in readable:
            _allow(ruleset, path, READ & handled)
        for path in writable:
            _allow(ruleset, path, handled)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.call(syscalls.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, what="landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    if not Path(path).exists():
        return
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not Path(path).is_dir():
            access &= FILE_RIGHTS
        rule = _PathBeneath(access, descriptor)
        syscalls.call(
            syscalls.SYS_LANDLOCK_ADD_RULE,
            ruleset,
            RULE_PATH_BENEATH,
            ctypes.byref(rule),
            0,
            what=f"landlock {path}",
        )
    finally:
        os.close(descriptor)
