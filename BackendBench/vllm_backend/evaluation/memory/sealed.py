"""Files in memory that are shared with a candidate's process: what it must not change of them is sealed. Whoever makes
one closes it."""

from __future__ import annotations

import fcntl
import os

KEEPS_ITS_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def room(name: str, size: int) -> int:
    """Descriptor of a file of so many bytes, and never of more or fewer, that may be written."""
    descriptor = _made(name)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, KEEPS_ITS_SIZE)
    return descriptor


def content(name: str, data: bytes) -> int:
    """Descriptor of a file that has these bytes and nobody changes, to be read from its beginning."""
    descriptor = _made(name)
    os.pwrite(descriptor, data, 0)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, KEEPS_ITS_SIZE | fcntl.F_SEAL_WRITE)
    return descriptor


def _made(name: str) -> int:
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
