"""A session without a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any

from BackendBench.vllm_backend.evaluation.candidate.harness import Harness
from BackendBench.vllm_backend.evaluation.memory.arena import Attached
from BackendBench.vllm_backend.evaluation.memory.shared_calls import Buffers


class Here:
    """A session whose harness runs in this process, on the judge's own memory."""

    stage = ""
    case_names: Any = ()
    pid = os.getpid()
    rested = 0.0
    stoppable = False

    @property
    def own_time(self) -> float:
        """As a session's."""
        return time.monotonic() - self.rested

    def __init__(self) -> None:
        self._harness = Harness(socket.socketpair()[0])
        self.asked: list[tuple[float, int, bool]] = []
        """Of every run its limit, its calls, and whether it is settled."""

    async def attach(self, buffers: Buffers, limit: float) -> None:
        """As a session's."""
        for name, side in (("in", buffers.inputs), ("out", buffers.outputs)):
            self._harness._arenas[name] = Attached(side.tensor, lambda: None)

    async def request(self, do: str, limit: float, **payload: Any) -> dict[str, Any]:
        """What a process would answer."""
        if do == "run":
            self.asked.append((limit, len(payload["calls"]), payload["settled"]))
        reply: dict[str, Any] = self._harness._handlers[do](payload, [])
        assert "failure" not in reply, reply
        return {**reply, "threads": 0}  # those of this process are the judge's

    killed = is_gone = False

    def kill(self) -> None:
        """Nothing to end."""
        self.killed = True

    async def gone(self) -> bool:
        """At once."""
        self.is_gone = self.killed
        return True

    def stop(self) -> None:
        """Nothing to stop."""

    def go_on(self) -> None:
        """Nothing was stopped."""

    def signal(self, number: int) -> None:
        """It is this process."""

    def blamed(self) -> contextlib.nullcontext[None]:
        """Nobody is to blame."""
        return contextlib.nullcontext()
