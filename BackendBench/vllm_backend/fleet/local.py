"""The workers of this machine as processes: started, watched, drained, killed.

- Each worker stands below a guard (``guard.py``) in a session and process group of its own: Ctrl-C in the
  terminal reaches only the supervisor, and whatever dies takes everything below it along.
- Settings travel on standard input: no password in a file, a command line or an environment.
- A worker that dies is started again as ``RestartLaw`` decides; ``on_death`` runs before, so that what it held
  goes back to the queue at once.
- ``drain`` asks politely and waits; ``kill`` does not. Both end with no process left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ..state.worker_registry import Role
from .restart import RestartLaw, describe

GUARD = Path(__file__).with_name("guard.py")
LAST_WORDS_BYTES = 4096
KILL_WAIT_SECONDS = 30.0
"""The guard's own limit for killing is shorter; after this the guard itself is killed."""

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerSpec:
    """One worker to run."""

    id: str
    role: Role
    command: tuple[str, ...]
    settings: str = ""
    """JSON that the worker reads from standard input."""
    log_file: Path = Path(os.devnull)
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    cores: tuple[int, ...] = ()
    """Cores it may run on; empty: all."""


@dataclass
class WorkerStatus:
    """What the supervisor knows of one worker."""

    spec: WorkerSpec
    state: str = "starting"
    """running, restarting, left, failed."""
    restarts: int = 0
    problem: str = ""


DeathHook = Callable[[WorkerSpec, int], Awaitable[None]]


async def _nothing(_: WorkerSpec, __: int) -> None:
    return None


class LocalFleet:
    """Supervisor of the workers of one machine; see the module's docstring."""

    def __init__(self, specs: Sequence[WorkerSpec], on_death: DeathHook = _nothing) -> None:
        self.status = {spec.id: WorkerStatus(spec) for spec in specs}
        self._on_death = on_death
        self._guards: dict[str, asyncio.subprocess.Process] = {}
        self._lifelines: dict[str, int] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()

    def start(self) -> None:
        """Start all workers; returns at once."""
        self._watchers = [asyncio.ensure_future(self._watch(s)) for s in self.status.values()]

    @property
    def restarts(self) -> int:
        """How often a worker was started again, all together."""
        return sum(status.restarts for status in self.status.values())

    def problem(self) -> str:
        """One line when no worker of a role is left, so that the run cannot go on; '' while it can."""
        for role in ("generate", "evaluate"):
            mine = [s for s in self.status.values() if s.spec.role == role]
            if mine and all(s.state in ("failed", "left") for s in mine):
                failed = [s for s in mine if s.state == "failed"]
                if not failed:
                    return f"every {role} worker was asked to leave"
                return f"no {role} worker is left: {failed[0].problem} (log: {failed[0].spec.log_file})"
        return ""

    async def drain(self, grace_seconds: float) -> None:
        """SIGTERM to all, wait, kill what is left after ``grace_seconds``."""
        self._ending.set()
        for guard in self._guards.values():
            with contextlib.suppress(ProcessLookupError):
                guard.send_signal(signal.SIGTERM)
        if self._watchers:
            await asyncio.wait(self._watchers, timeout=grace_seconds)
        await self.kill()

    async def kill(self) -> None:
        """End everything now. Safe to call at any time, also during a drain."""
        self._ending.set()
        for id in list(self._lifelines):
            self._cut(id)
        pending = [w for w in self._watchers if not w.done()]
        if not pending:
            return
        _, stuck = await asyncio.wait(pending, timeout=KILL_WAIT_SECONDS)
        for guard in self._guards.values():
            with contextlib.suppress(ProcessLookupError):
                guard.kill()
        if stuck:
            await asyncio.wait(stuck)

    # -- one worker ------------------------------------------------------------------------------------
    async def _watch(self, status: WorkerStatus) -> None:
        law, spec = RestartLaw(), status.spec
        while not self._ending.is_set():
            started = time.monotonic()
            code = await self._run_once(status)
            if self._ending.is_set():
                break
            decision = law.ended(code, time.monotonic() - started)
            status.restarts = law.restarts
            if decision.action == "left":
                break
            log.warning("worker_died", worker=spec.id, by=describe(code), action=decision.action)
            with contextlib.suppress(Exception):
                await self._on_death(spec, code)
            if decision.action == "give_up":
                status.state, status.problem = "failed", f"{spec.id}: {decision.reason}{_said(spec.log_file)}"
                log.error("worker_given_up", worker=spec.id, reason=status.problem)
                return
            status.state = "restarting"
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ending.wait(), decision.pause)
        status.state = "left"

    async def _run_once(self, status: WorkerStatus) -> int:
        spec = status.spec
        theirs, ours = os.pipe()
        settings_out, settings_in = os.pipe()
        spec.log_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.write(settings_in, spec.settings.encode())  # fits the pipe's buffer of 64 KiB
            with spec.log_file.open("ab") as log_file:
                guard = await asyncio.create_subprocess_exec(
                    sys.executable, str(GUARD), str(theirs), ",".join(map(str, spec.cores)) or "-",
                    *spec.command,
                    stdin=settings_out, stdout=log_file, stderr=log_file, pass_fds=[theirs],
                    env={**os.environ, **spec.environment}, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            os.close(ours)
            log.error("worker_not_started", worker=spec.id, reason=str(error))
            return 1
        finally:
            for descriptor in (theirs, settings_in, settings_out):
                os.close(descriptor)
        self._guards[spec.id], self._lifelines[spec.id] = guard, ours
        status.state = "running"
        if self._ending.is_set():  # asked to end while it started
            self._cut(spec.id)
        try:
            code = await guard.wait()
        finally:
            self._guards.pop(spec.id, None)
            self._cut(spec.id)
        return 128 - code if code < 0 else code

    def _cut(self, id: str) -> None:
        descriptor = self._lifelines.pop(id, None)
        if descriptor is not None:
            os.close(descriptor)


def _said(log_file: Path) -> str:
    """The last line of a log, for the one-line message."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"; it said last: {lines[-1][:300]}" if lines else ""
