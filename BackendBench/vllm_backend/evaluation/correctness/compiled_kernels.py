"""What a candidate's first process has compiled, for its confirmation: a winner's kernels are compiled once.

- Triton keeps kernels by the hash of all that they are compiled from, so the next process of a source finds them.
- They are made by the candidate's process and as hostile as its source. The judge never looks into them, and gives them
  to nothing else: not to another candidate, nor to an examination with the same inputs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..memory import sealed
from ..processes.session import Session

MOST_BYTES = 8 << 20
"""Of one candidate: a product has 17 kernels and 1.2 MB, a tuned one twice as much."""


async def collected(session: Session, limit: float) -> bytes:
    """What a process has compiled so far; nothing where that is too much. ``limit``: seconds. Raises CandidateFailed
    and InfrastructureFault as ``Session.request`` does."""
    with _closed(sealed.room("kernels", MOST_BYTES)) as descriptor:
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
    with _closed(sealed.content("kernels", kernels)) as descriptor:
        yield [descriptor]


@contextlib.contextmanager
def _closed(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
