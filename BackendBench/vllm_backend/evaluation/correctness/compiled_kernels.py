"""What a candidate's first process has compiled, for its confirmation: a winner's kernels are compiled once.

- Triton keeps kernels by the hash of all that they are compiled from, so the next process of a source finds them.
- They are made by the candidate's process and as hostile as its source. The judge never looks into them, and gives them
  to nothing else: not to another candidate, nor to an examination with the same inputs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from ..processes.session import Session

MOST_BYTES = 8 << 20
"""Of one candidate: a product has 17 kernels and 1.2 MB, a tuned one twice as much."""


async def collected(session: Session, limit: float) -> bytes:
    """What a process has compiled so far; nothing where that is too much. ``limit``: seconds. Raises CandidateFailed
    and InfrastructureFault as ``Session.request`` does."""
    with _memory() as descriptor:
        os.ftruncate(descriptor, MOST_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        session.stage = "collecting its kernels"
        reply = await session.request("collect_kernels", limit, [descriptor])
        size = reply.get("bytes")
        return os.pread(descriptor, size, 0) if isinstance(size, int) and 0 < size <= MOST_BYTES else b""


@contextlib.contextmanager
def handed_over(kernels: bytes) -> Iterator[list[int]]:
    """A descriptor from which they can be read and nothing else, none where there are none."""
    if not kernels:
        yield []
        return
    with _memory() as descriptor:
        os.pwrite(descriptor, kernels, 0)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield [descriptor]


@contextlib.contextmanager
def _memory() -> Iterator[int]:
    descriptor = os.memfd_create("kernels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
