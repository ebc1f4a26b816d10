"""The judge's end of one candidate's process.

- Every request has a secret id and a time limit; a reply with another id is a protocol violation.
- Whatever goes wrong becomes one typed exception; after any of them the process is dead or being killed.
- A death is blamed on the candidate only while the warm server that made the process is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...state.error_type import ErrorType
from ..failure import CandidateFailed, Failure, InfrastructureFault, from_exception, from_exit, from_timeout
from ..memory.shared_calls import Buffers
from . import wire

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
            reply = await asyncio.wait_for(self._exchange(message, descriptors), timeout)
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
