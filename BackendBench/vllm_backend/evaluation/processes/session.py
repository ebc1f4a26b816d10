"""The judge's end of one candidate's process.

- Every request has a secret id and a time limit; a reply with another id is a protocol violation.
- Whatever goes wrong becomes one typed exception; after any of them the process is dead or being killed.
- A death is blamed on the candidate only while the warm server that made the process is alive.
- A process that works on a request can be stopped for a while, which counts against none of its limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from ...state.error_type import ErrorType
from ..failure import CandidateFailed, Failure, InfrastructureFault, from_exception, from_exit, from_timeout
from ..memory.shared_calls import Buffers
from . import wire

LOOK_SECONDS = 0.02
"""Between two looks at the clock of a process that is stopped just before its limit."""
EXIT_GRACE_SECONDS = 5.0
"""How long the wait status of a dead process may take to arrive; a GPU context takes up to a second to tear down."""


class Session:
    """One candidate's process, from spawn to kill."""

    def __init__(
        self, token: str, pid: int, sock: socket.socket, exited: asyncio.Future[int], kill: Callable[[], None]
    ) -> None:
        self.token = token
        self.pid = pid
        self._sock = sock
        self._exited = exited
        self._kill = kill
        self._closed = False
        self.stage = "setup"
        """What it is doing, for messages."""
        self.case_names: Sequence[str] = ()
        """Names of the calls of the request under way, to say which one failed."""
        self.contained = True
        """Whether all that it started dies with it."""
        self.trusted = False
        """Whether it runs no candidate but eager: its failures are faults of the infrastructure."""
        self._working = False
        """Whether it works on a request."""
        self._awake = asyncio.Event()
        self._awake.set()
        self._stopped, self._rested = 0.0, 0.0
        """When it was stopped last, and how long it was before."""

    @property
    def rested(self) -> float:
        """Seconds for which it has been stopped."""
        return self._rested + (0.0 if self._awake.is_set() else time.monotonic() - self._stopped)

    @property
    def own_time(self) -> float:
        """A clock that stands still while it is stopped, seconds."""
        return time.monotonic() - self.rested

    @property
    def stoppable(self) -> bool:
        """Whether it works on a request: until it has answered, and goes on, nobody else works for it."""
        return self._working and not self._closed

    def stop(self) -> None:
        """Have it wait, if it is ``stoppable``; its answer, too, until it goes on."""
        if self.stoppable and self._awake.is_set():
            self._awake.clear()
            self._stopped = time.monotonic()
            self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``stop``."""
        if not self._awake.is_set():
            self._rested = self.rested
            self._awake.set()
            self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send the process a signal; nothing where it is gone."""
        if not self._closed and not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def request(
        self, do: str, timeout: float, descriptors: Sequence[int] = (), **payload: Any
    ) -> dict[str, Any]:
        """Send one request and await its reply.

        Raises CandidateFailed for whatever is the candidate's doing, InfrastructureFault otherwise.
        """
        with self.blamed():
            return await self._request(do, timeout, descriptors, payload)

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """What is the candidate's doing within it is, in eager's process, a fault of the infrastructure."""
        try:
            yield
        except CandidateFailed as error:
            if not self.trusted:
                raise
            raise InfrastructureFault(f"eager's process failed: {error}") from None

    async def attach(self, buffers: Buffers, limit: float) -> None:
        """Have these mapped instead of those before. Raises as ``request`` does."""
        arenas, descriptors = buffers.export()
        await self.request("attach", limit, descriptors, arenas=arenas)

    async def _request(
        self, do: str, timeout: float, descriptors: Sequence[int], payload: dict[str, Any]
    ) -> dict[str, Any]:
        identity = secrets.token_hex(8)
        message = {"do": do, "id": identity, **payload}
        try:
            reply = await self._in_time(self._exchange(message, descriptors), timeout)
        except asyncio.TimeoutError:
            self.kill()
            raise CandidateFailed(from_timeout(self.stage, timeout)) from None
        except (wire.WireClosed, OSError):  # the latter: it was killed before
            raise await self._post_mortem() from None
        except wire.WireError as error:
            self.kill()
            raise CandidateFailed(Failure(ErrorType.PROTOCOL_VIOLATION, f"{error}")) from None
        if reply.get("id") != identity:
            self.kill()
            raise CandidateFailed(
                Failure(ErrorType.PROTOCOL_VIOLATION, "a reply to a request that was not made")
            )
        return self._checked(reply)

    async def _in_time(self, exchange: Coroutine[Any, Any, dict[str, Any]], seconds: float) -> dict[str, Any]:
        """Its result. Raises asyncio.TimeoutError after ``seconds`` in which the process was not stopped."""
        reply, end = asyncio.ensure_future(exchange), time.monotonic() + seconds - self.rested
        self._working = True
        try:
            while not reply.done():
                left = end + self.rested - time.monotonic()
                if left <= 0:
                    raise asyncio.TimeoutError
                await asyncio.wait({reply}, timeout=max(left, LOOK_SECONDS))
            await self._awake.wait()
            return reply.result()
        finally:
            self._working = False
            # Nobody may read the channel when it is closed: another process may get its number.
            if reply.cancel():
                await asyncio.wait({reply})

    async def _exchange(self, message: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
        await wire.send_async(self._sock, message, descriptors)
        return await wire.receive_async(self._sock)

    def _checked(self, reply: dict[str, Any]) -> dict[str, Any]:
        failure = reply.get("failure")
        if failure is None:
            return reply
        if not isinstance(failure, dict):
            raise CandidateFailed(Failure(ErrorType.PROTOCOL_VIOLATION, "a malformed failure"))
        index = reply.get("failed_at")
        known = isinstance(index, int) and 0 <= index < len(self.case_names)
        raise CandidateFailed(from_exception(failure, self.case_names[index] if known else ""))  # type: ignore[index]

    async def _post_mortem(self) -> Exception:
        """Why the connection closed: ask the wait status."""
        try:
            status = await asyncio.wait_for(asyncio.shield(self._exited), EXIT_GRACE_SECONDS)
        except asyncio.TimeoutError:
            self.kill()  # it closed its channel and lives on
            return CandidateFailed(
                Failure(ErrorType.PROTOCOL_VIOLATION, f"closed its channel to the judge during {self.stage}")
            )
        except InfrastructureFault as fault:
            return fault
        return CandidateFailed(from_exit(status, self.stage))

    def kill(self) -> None:
        """End the process and everything that it started; safe to call twice."""
        if not self._closed:
            self._closed = True
            self._kill()
            with contextlib.suppress(OSError):
                self._sock.close()

    async def gone(self) -> bool:
        """Wait until the process is dead and reaped; False where that cannot be said of all that it started."""
        with contextlib.suppress(asyncio.TimeoutError, InfrastructureFault):
            await asyncio.wait_for(asyncio.shield(self._exited), EXIT_GRACE_SECONDS)
            return self.contained
        return False
