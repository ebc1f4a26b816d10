"""What the harness needs of Triton: compiling ahead of the first launch, no tuning while answers are checked, and a
shared driver stub.

- Compiling is work for a core, launching is work for the GPU; a candidate compiles while another one is timed.
- ``launches_suppressed`` turns every launch into ``warmup``, on several threads, and makes its launcher
  (launcher_stubs.py).
- The correctness cases do without tuning: there the configurations take turns (``tuning_suspended``), so that every one
  is checked. A timing tunes for real, but not for long (``tune_briefly``).
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from .replaced import replaced
from .stepping_back import step_back

LOOK_SECONDS = 0.05
"""Between two looks whether a kernel takes long."""


class Compiling:
    """Kernels that were asked for and are being compiled. Made by ``launches_suppressed``."""

    def __init__(self, pool: _Pool | None) -> None:
        """``pool``: what compiles them; None: whoever asks."""
        self.turn = 0
        """Set by the user before each call; where something failed, the call that asked for it."""
        self._asked: list[tuple[int, Any]] = []
        self._seen: set[int] = set()  # ids of kernels, which Triton's own cache keeps alive
        self._pool = pool
        self._needed: int | None = None
        """So many kernels, those after them were asked for ahead; None: all."""

    def ask(self, kernel: Any) -> None:
        """Note a kernel, or the future of one."""
        if id(kernel) not in self._seen:
            self._seen.add(id(kernel))
            self._asked.append((self.turn, kernel))

    def done_within(self, seconds: float) -> bool:
        """Whether all that was asked for is compiled, or something failed, before one kernel has taken so many seconds
        of its thread's time. (Where cores are busy everything takes long by the clock on the wall.)"""
        futures = [future for future in map(_future, self._asked) if future is not None]
        while True:
            done, not_done = wait(futures, LOOK_SECONDS, FIRST_EXCEPTION)
            if not not_done or any(future.exception() for future in done):
                return True
            if self._pool is not None and self._pool.longest() > seconds:
                return False

    @contextlib.contextmanager
    def ahead(self, threads: int, nice: int) -> Iterator[None]:
        """What is asked for within it is compiled on so many threads more, which are so nice. Where all that was asked
        for before is done first, what has not begun is left, unless as much is done. It may fail: then it is as if it
        had not been asked for."""
        if self._pool is not None:
            self._pool.grow(threads, nice)
        self._needed = len(self._asked)
        with contextlib.suppress(BaseException):  # SystemExit, too, is the candidate's
            yield

    def finish(self) -> None:
        """Wait for all that was asked for, and make their launchers."""
        needed = self._asked[: self._needed]
        self._finish(needed)
        if self._pool is not None and not self._pool.mostly_done(kept=1):
            self._pool.drop(kept=1)
        for asked in self._asked[len(needed) :]:
            with contextlib.suppress(BaseException):
                self._finish([asked])

    def _finish(self, asked: Sequence[tuple[int, Any]]) -> None:
        for turn, kernel in asked:
            self.turn = turn
            compiled = kernel.result() if hasattr(kernel, "result") else kernel
            if getattr(compiled, "_run", True) is None:  # its launcher is not made yet
                _make_launcher(compiled)


def _future(asked: tuple[int, Any]) -> Future[Any] | None:
    """Of a kernel that is being compiled. (Triton's own object answers every other question by waiting for it.)"""
    found = vars(asked[1]).get("future")
    return found if isinstance(found, Future) else None


@contextlib.contextmanager
def launches_suppressed(threads: int = 1, aside: bool = False) -> Iterator[Compiling]:
    """Within this context a Triton kernel is compiled for its arguments and neither loaded nor launched: somebody else
    may have the GPU.

    ``threads`` compile side by side (Triton lets go of the interpreter's lock meanwhile); with one it is compiled in
    the call, unless ``aside``, which ``Compiling.ahead`` needs. At the end of the context all that was asked for is
    ready, with its launcher; raises what the compiler raises, and Triton's OutOfResources.
    """
    import triton
    from triton.runtime.jit import JITFunction

    launch = JITFunction.run
    several = (threads > 1 or aside) and hasattr(triton, "AsyncCompileMode")
    pool = _Pool(threads) if several else None
    compiling = Compiling(pool)

    def compile_only(self: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["warmup"] = True
        kernel = launch(self, *args, **kwargs)
        if kernel is not None:
            compiling.ask(kernel)
        return kernel

    with replaced(JITFunction, "run", compile_only), contextlib.ExitStack() as stack:
        if pool is not None:
            stack.enter_context(pool)
            stack.enter_context(triton.AsyncCompileMode(pool, ignore_errors=True))
            stack.enter_context(pool.dropping())
        yield compiling
        compiling.finish()


class _Dropped(Exception):
    """Nothing was compiled, since nobody needs it now."""


class _Threads(ThreadPoolExecutor):
    """Skip what has not begun when ``dropped`` is set (a cancelled future would keep Triton waiting for ever)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dropped = False
        self.asked: list[Future[Any]] = []
        self._clocks = threading.Lock()
        self._longest = 0.0
        self._begun: dict[int, float] = {}
        """Of the threads that compile now: the thread's time when it began."""

    def submit(self, compile_one: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def compile_unless_dropped() -> Any:
            if self.dropped:
                raise _Dropped
            thread, began = threading.get_ident(), time.thread_time()
            with self._clocks:
                self._begun[thread] = began
            try:
                return compile_one(*args, **kwargs)
            finally:
                with self._clocks:
                    self._longest = max(self._longest, time.thread_time() - self._begun.pop(thread))

        self.asked.append(super().submit(compile_unless_dropped))
        return self.asked[-1]

    def longest(self) -> float:
        """What the longest kernel has taken so far, seconds of its thread."""
        with self._clocks:
            now = [_thread_time(thread) - began for thread, began in self._begun.items()]
            return max([self._longest, *now])


def _thread_time(thread: int) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


class _Pool(Executor):
    """Threads that compile. Where one kernel fails, nobody waits for the others."""

    def __init__(self, threads: int) -> None:
        self._made = [_Threads(threads)]

    def grow(self, threads: int, nice: int) -> None:
        """Have as many more, for what is submitted from now on."""
        self._made.append(_Threads(threads, initializer=step_back, initargs=(nice,)))

    def submit(self, compile_one: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._made[-1].submit(compile_one, *args, **kwargs)

    def longest(self) -> float:
        """What the longest kernel has taken so far, seconds of its thread."""
        return max(threads.longest() for threads in self._made)

    def mostly_done(self, kept: int = 0) -> bool:
        """Whether as much is done as has not begun, but for the first ``kept`` of the threads made."""
        asked = [future for threads in self._made[kept:] for future in threads.asked]
        waiting = sum(not (future.running() or future.done()) for future in asked)
        return sum(future.done() and future.exception() is None for future in asked) >= waiting

    def drop(self, kept: int = 0) -> None:
        """Skip what has not begun, but for the first ``kept`` of the threads made."""
        for threads in self._made[kept:]:
            threads.dropped = True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for threads in self._made:
            threads.shutdown(wait, cancel_futures=cancel_futures)

    @contextlib.contextmanager
    def dropping(self) -> Iterator[None]:
        """What fails within it has the rest skipped."""
        try:
            yield
        except BaseException:
            self.drop()
            raise


def _make_launcher(compiled: Any) -> None:
    """What Triton does when it loads a kernel, without the loading. Raises its OutOfResources."""
    from triton.runtime.driver import driver
    from triton.runtime.errors import OutOfResources

    most = driver.active.utils.get_device_properties(driver.active.get_current_device())["max_shared_mem"]
    if compiled.metadata.shared > most:
        raise OutOfResources(compiled.metadata.shared, most, "shared memory")
    driver.active.launcher_cls(compiled.src, compiled.metadata)


@dataclass
class Suspended:
    """What ``tuning_suspended`` has seen."""

    used: bool = False
    """Whether an autotuned kernel was called."""


@contextlib.contextmanager
def tuning_suspended(turn: int, every: bool = False) -> Iterator[Suspended]:
    """Within this context an autotuned kernel uses configuration ``turn`` modulo their number, untimed; with ``every``
    all of them one after the other (which compiles them, where launches are suppressed)."""
    from triton.runtime.autotuner import Autotuner

    seen = Suspended()

    def in_turn(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.used = True
        self.nargs = dict(zip(self.arg_names, args, strict=False))
        try:
            configs = self.prune_configs(kwargs)
            for config in configs if every else [configs[turn % len(configs)]]:
                named = {**self.nargs, **kwargs, **config.all_kwargs()}
                if config.pre_hook is not None:
                    config.pre_hook(named)
                self.pre_hook(named, reset_only=True)
                result = self.fn.run(*args, **kwargs, **config.all_kwargs())
            return result
        finally:
            self.nargs = None

    with replaced(Autotuner, "run", in_turn):
        yield seen


TUNING_MS = {"warmup": 2, "rep": 10}
"""For each configuration of an autotuned kernel; Triton's own 25 and 100 ms would keep the device from everybody else
for seconds. The median of the dozens of calls in 10 ms tells configurations apart that differ by a percent or two."""


def tune_briefly() -> None:
    """Have Triton's autotuner take so long; one with a benchmark of its own is left alone."""
    from triton.backends.nvidia.driver import CudaDriver
    from triton.testing import do_bench

    CudaDriver.get_benchmarker = lambda self: functools.partial(do_bench, **TUNING_MS)


def warm(capability: int) -> None:
    """Do in the warm server what each first compile for ``capability`` (90 for Hopper) would do again, without touching
    a GPU.

    - Build and load Triton's driver stub (0.4-1 s of gcc); from now on stubs are shared (launcher_stubs.py).
    - Compile one kernel: hashing Triton itself and setting up LLVM take 0.8 s of a first compile, 0.1 s of a later one.
    - Have mathematical functions linked in small pieces (device_functions.py).
    The cache for it is a throw-away folder: what candidates inherit is memory.
    """
    with own_cache():
        from triton.backends.nvidia.driver import CudaUtils

        from . import device_functions, launcher_stubs
        from .warm_kernel import compile_once

        launcher_stubs.install()
        tune_briefly()
        CudaUtils()
        compile_once(capability)
    device_functions.install(functools.partial(_functions_afresh, capability))


def _functions_afresh(capability: int) -> bytes:
    from .warm_kernel import compile_functions

    with own_cache():
        return compile_functions(capability)


@contextlib.contextmanager
def own_cache(folder: str = "") -> Iterator[None]:
    """Within this context Triton's cache is ``folder``, or a throw-away one."""
    with contextlib.ExitStack() as stack:
        if not folder:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="backendbench-warm-"))
        stack.enter_context(_environment("TRITON_CACHE_DIR", folder))
        yield


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
