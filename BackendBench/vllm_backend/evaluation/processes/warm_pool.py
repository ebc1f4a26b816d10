"""The judge's side of the warm server: starts it, keeps spares ready, hands out sessions.

- A spare is forked ahead of need. Threads or a GPU context are made afterwards: a context takes the driver 0.1 s under
  one lock, and a candidate that does not compile needs none.
- A session is handed out once and never comes back.
- The warm server's death is an infrastructure fault of every session under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from .. import conditions
from ..failure import PASSING, CandidateFailed, InfrastructureFault
from ..resources import cores, gpu_devices
from ..sandbox import SandboxSpec, probe
from ..settings import JudgeSettings
from . import leftovers, wire
from .outbox import Outbox
from .session import Session

log = logging.getLogger(__name__)

START_SECONDS = 120.0
"""Limit for the warm server's imports: 4-10 s on an idle machine, more where many start at once."""
SETUP_SECONDS = 60.0
"""Limit for threads or a GPU context; a context alone takes 0.2 s, a queue of sixteen 3 s."""
SPAWN_SECONDS = 60.0
"""For a process; one takes 10 ms. A warm server that takes so long will make none: it and its judge are replaced."""
CLOSE_SECONDS = 5.0
"""For the warm server's end; it gives its children three (END_SECONDS)."""
AT_A_TIME = 4
"""Contexts that are made at a time. On one H200 four at a time were 11 a second, eight 8 to 11; one after the other, 6.
Whoever else needs the driver, to load a kernel or to map memory, waits for as many of its calls as there are makers.
One is for eager's processes, which may be needed while nobody else may use the device."""
OCCUPIED_SECONDS = 10.0
"""Limit for the context of a process with a candidate; usual are 0.6 s where everybody is at work."""
RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 240.0
"""How long processes may fail to be made before nothing is judged any more: a candidate may fill the GPU, or take what
else there is, until its own limit ends it, two minutes for compiling."""
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "TRITON_LIBCUDA_PATH", "LANG")
"""The only variables that reach a candidate: where compilers and drivers are. No secret has these names."""


CONNECTIONS = "1"
"""Queues that a context has in hardware, on both sides of a timing; usual are 8. Contexts are made and ended under one
lock of the driver, and each queue adds to that (benchmarks/contexts.py). Kernels that one process launches on several
streams may then wait for each other."""

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""glibc learns only in the course of a process to keep freed memory instead of giving it back; until then each new
output costs page faults, up to three times the time of a relu. Eager's process has learned it, a candidate's has not:
so both are told from the start (32 MB is the largest threshold that glibc takes)."""
MALLOC_ON_CPU = {"MALLOC_MMAP_MAX_": "0"}
"""Beyond that threshold an output has pages of its own each time, unless the process happens to have a free place of
that size: a call of 2 ms takes 8 ms then. Eager's process had one for half of its calls, so that a kernel was timed at
0.6 of its own copy. Without a GPU all outputs lie in memory that stays the process's."""


class _NotNow(InfrastructureFault):
    """A process could not be made, for a reason that may pass when others have ended."""


def _unmade(error: Exception) -> InfrastructureFault:
    if isinstance(error, OSError) and error.errno in PASSING:
        return _NotNow(f"no process could be made: {error}")
    return InfrastructureFault("the warm server is gone")


class WarmPool:
    """A running warm server and its spares."""

    def __init__(self, settings: JudgeSettings, threads: int, spares: int) -> None:
        """``spares``: processes kept ready."""
        self._settings = settings
        self._threads = threads
        self._kept = spares
        on_gpu, index = settings.target == "cuda", settings.device_index
        self._gpu = conditions.gpu_uuid(index) if on_gpu else ""
        self._capability = conditions.gpu_capability(index) if on_gpu else 0
        self.cores = cores.split(os.sched_getaffinity(0), settings.target, self._gpu)
        self._spares: asyncio.Queue[Session] = asyncio.Queue()
        self._making = 0
        self._makers = asyncio.Semaphore(AT_A_TIME - 1)
        self._maker_for_eager = asyncio.Semaphore(1)
        self._waiting = 0
        self._spawned: dict[str, asyncio.Future[int]] = {}
        self._exited: dict[str, asyncio.Future[int]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._fault: InfrastructureFault | None = None
        self._closing = False

    async def start(self) -> None:
        """Start the server and the first spares. Raises InfrastructureFault."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        spec = sandbox_spec(self._settings, self._gpu)
        self._contained = "namespaces" in spec.layers
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"{__package__}.warm_server",
            "--control", str(theirs.fileno()), "--target", self._settings.target,
            "--capability", str(self._capability), "--spec", spec.model_dump_json(),
            pass_fds=[theirs.fileno()], env=environment(self._threads, self._gpu), stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        cores.move(self._process.pid, self.cores.working if self.cores.timing else ())  # and whom it forks
        ours.setblocking(False)
        self._control = ours
        self._outbox = Outbox(ours)
        try:
            await asyncio.wait_for(wire.receive_async(ours), START_SECONDS)
        except (asyncio.TimeoutError, wire.WireError) as error:
            raise InfrastructureFault(f"the warm server did not start: {error or 'timeout'}") from None
        self._spawn_task(self._listen())
        self._top_up()

    async def session(self, eager: bool = False) -> Session:
        """A fresh process, set up, for one candidate or for ``eager``. Raises InfrastructureFault."""
        last = time.monotonic() + PATIENCE_SECONDS
        while True:
            session = await self.bare()
            try:
                async with self._maker_for_eager if eager else self._makers:
                    await self._set_up(session, SETUP_SECONDS)
                return session
            except CandidateFailed as error:  # no candidate's code is in there yet, so this is ours
                session.kill()
                if time.monotonic() > last:
                    self._fail(InfrastructureFault(f"a fresh process could not be set up: {error}"))
                log.warning("once more: a fresh process could not be set up: %s", error)
            except BaseException:
                session.kill()
                raise
            await asyncio.sleep(RETRY_SECONDS)  # a candidate may have filled the GPU, until its limit ends it

    async def set_up(self, session: Session) -> None:
        """Make the context of a process that has loaded a candidate. Raises as ``Session.request`` does."""
        async with self._makers:
            await self._set_up(session, OCCUPIED_SECONDS)

    async def _set_up(self, session: Session, limit: float) -> None:
        """Make the process's threads or its GPU context."""
        session.stage = "setup"
        await session.request(
            "setup", limit, target=self._settings.target, threads=self._threads, device_index=0,
            memory_fraction=self._settings.gpu_memory_fraction,
        )  # fmt: skip

    async def bare(self) -> Session:
        """A fresh process that is not set up. Raises InfrastructureFault."""
        self._waiting += 1
        try:
            while True:
                if self._fault is not None:
                    raise self._fault
                self._top_up()
                session = await asyncio.wait_for(self._spares.get(), PATIENCE_SECONDS + SPAWN_SECONDS)
                if session.token in self._exited:
                    return session
                session.kill()  # it died while it waited, or there will be none
        except asyncio.TimeoutError:
            raise InfrastructureFault("no candidate process could be made; see the worker's log") from None
        finally:
            self._waiting -= 1
            self._top_up()

    def _top_up(self) -> None:
        """Make what is missing."""
        if self._closing or self._fault is not None:
            return
        for _ in range(self._kept + self._waiting - self._spares.qsize() - self._making):
            self._making += 1
            self._spawn_task(self._make_spare())

    @property
    def broken(self) -> bool:
        """Whether no session will ever come again."""
        return self._fault is not None

    async def close(self) -> None:
        """Kill every child and the server."""
        self._closing = True
        while not self._spares.empty():
            self._spares.get_nowait().kill()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(OSError, AttributeError):
            self._control.close()
        with contextlib.suppress(ProcessLookupError, AttributeError):
            try:
                await asyncio.wait_for(self._process.wait(), CLOSE_SECONDS)  # it ends when its socket closes
            except asyncio.TimeoutError:
                self._process.kill()
                await self._process.wait()

    def _spawn_task(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make_spare(self) -> None:
        last = time.monotonic() + PATIENCE_SECONDS
        try:
            while not self._closing:
                try:
                    self._spares.put_nowait(await self._spawn())
                    return
                except _NotNow as error:
                    if time.monotonic() > last:
                        raise InfrastructureFault(str(error)) from None
                    log.warning("once more: %s", error)
                    await asyncio.sleep(RETRY_SECONDS)
        except InfrastructureFault as fault:
            self._fail(fault)
        except Exception as error:  # of ours: whoever waits for this process must hear of it
            log.exception("making a process failed")
            self._fail(InfrastructureFault(f"no process could be made: {type(error).__name__}: {error}"))
        finally:
            self._making -= 1

    async def _spawn(self) -> Session:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise _unmade(error) from None
        ours.setblocking(False)
        token = secrets.token_hex(8)
        loop = asyncio.get_running_loop()
        self._spawned[token] = loop.create_future()
        self._exited[token] = loop.create_future()
        try:
            await self._outbox.post({"do": "spawn", "token": token}, [theirs.fileno()])
        except (wire.WireError, OSError) as error:
            ours.close()
            del self._spawned[token], self._exited[token]
            raise _unmade(error) from None
        finally:
            theirs.close()
        try:
            pid = await asyncio.wait_for(self._spawned[token], SPAWN_SECONDS)
        except BaseException as error:
            ours.close()
            if not isinstance(error, asyncio.TimeoutError):
                raise
            text = f"the warm server made no process for {SPAWN_SECONDS:.0f} s; {self._where_it_is()}"
            raise InfrastructureFault(text) from None
        session = Session(token, pid, ours, self._exited[token], lambda: self._kill(token))
        session.contained = self._contained
        return session

    def _where_it_is(self) -> str:
        """What a warm server that does not answer does. It says itself, on standard error, on which line."""
        try:
            self._process.send_signal(signal.SIGUSR1)
            folder = Path(f"/proc/{self._process.pid}")
            return f"state {leftovers.state(folder / 'stat')}, waits in {(folder / 'wchan').read_text()}"
        except OSError as error:
            return f"{type(error).__name__} {error}"

    def _kill(self, token: str) -> None:
        if token in self._exited:
            self._outbox.post({"do": "kill", "token": token})

    async def _listen(self) -> None:
        try:
            while True:
                self._notice(await wire.receive_async(self._control))
        except (wire.WireError, OSError):
            if not self._closing:
                self._fail(InfrastructureFault("the warm server died"))

    def _notice(self, message: dict[str, Any]) -> None:
        token = message["token"]
        spawned = self._spawned.pop(token, None)
        if spawned is not None and spawned.done():  # given up meanwhile
            return
        if message["event"] == "spawned" and spawned is not None:
            spawned.set_result(message["pid"])
        elif message["event"] == "failed" and spawned is not None:
            kind = _NotNow if message["passing"] else InfrastructureFault
            spawned.set_exception(kind(f"no sandboxed process could be made: {message['error']}"))
        elif message["event"] == "exited":
            future = self._exited.pop(token, None)
            if future is not None and not future.done():
                future.set_result(message["status"])

    def _fail(self, fault: InfrastructureFault) -> None:
        if self._fault is not None:
            return
        log.error("no candidate can be judged any more: %s", fault)
        self._fault = fault
        for future in [*self._spawned.values(), *self._exited.values()]:
            if not future.done():
                future.set_exception(fault)
                future.exception()  # nobody may be waiting for this one
        for _ in range(self._waiting):  # wakes them, who then see the fault
            exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._spares.put_nowait(Session("", 0, socket.socket(), exited, lambda: None))


def sandbox_spec(settings: JudgeSettings, gpu: str = "") -> SandboxSpec:
    """The sandbox of one candidate under these settings. ``gpu``: the UUID of its GPU."""
    return SandboxSpec(
        memory_bytes=settings.memory_bytes,
        tmp_bytes=settings.tmp_bytes,
        processes=settings.processes,
        target=settings.target,
        gpu_devices=gpu_devices.device_files(gpu) if settings.target == "cuda" else (),
        layers=probe().active,
    )


def environment(threads: int, gpu: str = "") -> dict[str, str]:
    """What a candidate's process sees of the environment. ``gpu``: the UUID of the only one it may use; its number
    outside means nothing where no other GPU is seen."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    count = str(threads)
    return {
        **kept,
        **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}),
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "TRITON_CACHE_DIR": "/tmp/triton",
        # Nobody reads these; without them a compile costs 7 % less.
        "TRITON_DISABLE_LINE_INFO": "1",
        "TRITON_STORE_BINARY_ONLY": "1",
        "TORCH_EXTENSIONS_DIR": "/tmp/torch_extensions",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "NUMBA_NUM_THREADS": count,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONDONTWRITEBYTECODE": "1",
        **MALLOC,
        **({} if gpu else MALLOC_ON_CPU),
        "CUDA_MODULE_LOADING": "LAZY",
        "CUDA_DEVICE_MAX_CONNECTIONS": CONNECTIONS,
    }
