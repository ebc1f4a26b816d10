"""Frames on their way to the warm server, in order and whole, however busy it is.

A frame that does not fit into the socket's buffer waits here: a kill must not get lost, nor two frames mix.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from . import wire

RETRY_SECONDS = 0.005
"""Long against the reading of a frame, short against making a process."""


class Outbox:
    """What is to be sent on one non-blocking socket. One event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames: deque[tuple[dict[str, Any], Sequence[int], asyncio.Future[None]]] = deque()
        self._writing: asyncio.Future[None] | None = None

    def post(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> asyncio.Future[None]:
        """Send a frame after those before it, with copies of these descriptors. The future ends when it is sent, with
        WireClosed or OSError where it cannot be."""
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._frames.append((message, [os.dup(d) for d in descriptors], sent))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write())
        return sent

    async def _write(self) -> None:
        while self._frames:
            message, descriptors, sent = self._frames.popleft()
            try:
                while True:
                    try:
                        await wire.send_async(self._sock, message, descriptors)
                        break
                    except BlockingIOError:  # no room for the first byte, which carries the descriptors
                        await asyncio.sleep(RETRY_SECONDS)
            except (wire.WireError, OSError) as error:
                if not sent.done():
                    sent.set_exception(error)
                    sent.exception()  # nobody may be waiting for this one
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            if not sent.done():
                sent.set_result(None)
