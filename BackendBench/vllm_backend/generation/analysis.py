"""From a sample to a kernel and its hash, beside the event loop where there are cores for it.

- Parsing a sample costs some milliseconds of Python. vLLM's own front end runs in the same event loop, so at a
  hundred samples a second they would take its throughput: processes of their own do it.
- Texts that end the parser (the stack of CPython's is finite) end such a process, not the worker: they are started
  again, and a text that ended two of them is no Python.
- On few cores everything happens in place: another process would only take turns with the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ..state.source import source_hash
from .extraction import Unusable, extract

CORES_TO_SPARE = 4
MOST_PROCESSES = 4
"""From this many cores on one is free for it beside the front end, the engine's own process and Redis; one of each four
where there are more, as a batch of samples of one length ends all at once."""
PR_SET_PDEATHSIG = 1
ATTEMPTS = 2
"""Of one text: another one may have ended the process that both were given to."""


@dataclass(frozen=True)
class Kernel:
    """A module that parses and binds the function."""

    code: str
    hash: str
    """Of the normalised source, sha256, hex."""


def analyse(text: str, function: str, truncated: bool) -> Kernel | Unusable:
    """The kernel in a text, or why there is none. ``truncated``: the text was cut off. Pure."""
    found = extract(text, function, truncated=truncated)
    return found if isinstance(found, Unusable) else Kernel(found.code, source_hash(found.code))


class Analyst:
    """See the module's docstring. ``beside`` None: as the number of cores has it."""

    def __init__(self, beside: bool | None = None) -> None:
        cores = len(os.sched_getaffinity(0))
        self._beside = cores >= CORES_TO_SPARE if beside is None else beside
        self._processes = max(1, min(MOST_PROCESSES, cores // CORES_TO_SPARE))
        self._pool: ProcessPoolExecutor | None = None

    async def analyse(self, text: str, function: str, *, truncated: bool) -> Kernel | Unusable:
        """See the function ``analyse``."""
        if not self._beside:
            return analyse(text, function, truncated)
        loop = asyncio.get_running_loop()
        for _ in range(ATTEMPTS):
            pool = self._started()
            try:
                return await loop.run_in_executor(pool, analyse, text, function, truncated)
            except BrokenProcessPool:
                self._drop(pool)
        return Unusable.UNPARSABLE

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self._pool is not None:
            self._drop(self._pool)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned: this process has threads, whose locks a forked child would keep as they are.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=context, initializer=_begin, initargs=(os.getpid(),)
            )
        return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        """Once, however many texts saw it break."""
        if self._pool is pool:
            self._pool = None
            with contextlib.suppress(OSError):
                pool.shutdown(wait=False, cancel_futures=True)


def _begin(worker: int) -> None:
    """In the new process. It ends with its worker, however that ends, and not before.

    Control-C and SIGTERM of the whole group are the worker's to answer: it finishes what it holds first.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
