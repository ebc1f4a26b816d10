"""What sources were compiled to, or why they could not be, by the hash of the source: nothing is compiled twice.

- Kernels are made by the candidate's process, so they are as hostile as its source. The judge never looks into them,
  and hands them to no other source: a winner's confirmation begins with them, and who is judged anew after a fault.
- Whoever is examined a second time because his failure was doubtful compiles again.
- What the compiler refused it would refuse again: that is remembered as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator

from ...operations.operation import Operation
from ...state.error_type import ErrorType
from ...state.task import EvaluationTask
from ..failure import CandidateFailed, Failure
from ..processes.session import Session

MOST_OF_ONE = 16 << 20
"""Bytes of one candidate's kernels: a tuned matrix product has 34 of them, 2 MB in all."""
MOST = 256 << 20
"""Of all together."""
LIMIT_SECONDS = 10.0
"""For collecting: it takes milliseconds."""


class CompileCache:
    """Whatever was used last stays, up to ``most`` bytes."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[str, bytes | Failure] = OrderedDict()
        self._size = 0

    def kernels(self, key: str) -> bytes:
        """As ``collected`` had them; empty where there are none."""
        kept = self._found(key)
        return kept if isinstance(kept, bytes) else b""

    def failure(self, key: str) -> Failure | None:
        """Why it does not compile, if that is known."""
        kept = self._found(key)
        return kept if isinstance(kept, Failure) else None

    def keep(self, key: str, kernels: bytes) -> None:
        """Kernels of a source that compiles."""
        if kernels:
            self._keep(key, kernels)

    def refuse(self, key: str, failure: Failure) -> None:
        """Note why a source does not compile; other failures are no compiler's."""
        if failure.error_type is ErrorType.COMPILE_ERROR:
            self._keep(key, failure)

    def _found(self, key: str) -> bytes | Failure | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: str, kept: bytes | Failure) -> None:
        self._size += _size(kept) - _size(self._kept.pop(key, b""))
        self._kept[key] = kept
        while self._size > self._most:
            self._size -= _size(self._kept.popitem(last=False)[1])


def _size(kept: bytes | Failure) -> int:
    return len(kept) if isinstance(kept, bytes) else len(kept.message)


def key(task: EvaluationTask, operation: Operation) -> str:
    """Of a source for an operation."""
    parts = (task.dsl, task.target, task.operation, operation.source, operation.adapter, task.code)
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


async def collected(session: Session) -> bytes:
    """What a process has compiled so far; nothing where that is too much, or it fails: which will show elsewhere."""
    with _memory() as descriptor:
        os.ftruncate(descriptor, MOST_OF_ONE)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        session.stage = "collecting its kernels"
        try:
            reply = await session.request("collect_kernels", LIMIT_SECONDS, [descriptor])
        except CandidateFailed:
            return b""
        size = reply.get("bytes")
        return os.pread(descriptor, size, 0) if isinstance(size, int) and 0 < size <= MOST_OF_ONE else b""


@contextlib.contextmanager
def handed_over(kernels: bytes) -> Iterator[list[int]]:
    """A descriptor from which they can be read, none where there are none."""
    if not kernels:
        yield []
        return
    with _memory() as descriptor:
        os.pwrite(descriptor, kernels, 0)
        yield [descriptor]


@contextlib.contextmanager
def _memory() -> Iterator[int]:
    descriptor = os.memfd_create("kernels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
