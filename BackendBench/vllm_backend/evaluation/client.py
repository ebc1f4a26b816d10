"""Talks to a judge in a process of its own; used by the worker and by ``evaluate``.

- The judge's process holds a device context; when it dies, or a device is lost, that is an infrastructure fault
  of every candidate under way, and a new judge is started for the next one.
- Lines of JSON over a private socket pair; requests carry ids, an answer to an unknown id is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Any

from ..state.task import EvaluationTask
from ..state.verdict import Verdict
from .failure import InfrastructureFault
from .processes import wire
from .settings import JudgeSettings

START_SECONDS = 180.0
"""Imports of torch twice (judge and warm server) and a first context on a loaded machine."""
STDERR_LINES = 20
ANSWER_BYTES = 8 << 20


class JudgeClient:
    """One judge process. ``evaluate`` may be called many times at once."""

    def __init__(self, settings: JudgeSettings) -> None:
        self.settings = settings
        self.concurrency = 1
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = count()
        self._sending = asyncio.Lock()
        self._closing = False
        self._process: asyncio.subprocess.Process | None = None
        self._errors: deque[str] = deque(maxlen=STDERR_LINES)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the judge. Raises InfrastructureFault with what it said last."""
        self._closing = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        self._socket = ours
        environment = {k: v for k, v in os.environ.items() if "REDIS" not in k and "API_KEY" not in k}
        # The judge copies inputs between the blocks that it times: its threads must not spin while others run.
        environment.update(OMP_WAIT_POLICY="PASSIVE", KMP_BLOCKTIME="0")
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"{__package__}.judge_process", str(theirs.fileno()),
            self.settings.model_dump_json(),
            pass_fds=[theirs.fileno()], env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._tasks = [asyncio.ensure_future(self._drain_errors())]
        try:
            ready = await asyncio.wait_for(wire.receive_async(ours), START_SECONDS)
        except (asyncio.TimeoutError, wire.WireError):
            await self.close()
            raise InfrastructureFault(f"the judge did not start: {self.last_words()}") from None
        if "fault" in ready:
            await self.close()
            raise InfrastructureFault(ready["fault"])
        self.concurrency = int(ready["concurrency"])
        self._tasks.append(asyncio.ensure_future(self._listen()))

    async def evaluate(self, task: EvaluationTask, operation_source: str = "") -> Verdict:
        """The verdict. Raises InfrastructureFault when the judge could not judge."""
        answer = await self._ask(task=task.model_dump(mode="json"), source=operation_source)
        return Verdict.model_validate(answer["verdict"])

    async def prepare(self, operations: Sequence[tuple[str, str]]) -> None:
        """Have the references of operations made ahead of need: (name, source of a user's own one or '').

        Raises InfrastructureFault.
        """
        await self._ask(prepare=list(operations))

    async def vouch(self) -> None:
        """Have the judge judge a kernel that is known to be right.

        Raises InfrastructureFault where it finds it wrong.
        """
        await self._ask(vouch=True)

    async def _ask(self, **request: Any) -> dict[str, Any]:
        if not self.alive:
            raise InfrastructureFault(f"the judge is not running: {self.last_words()}")
        identity = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = future
        try:
            async with self._sending:  # a frame larger than the socket's buffer goes in parts
                await wire.send_async(self._socket, {"id": identity, **request})
            answer = await future
        except (wire.WireError, OSError):
            raise InfrastructureFault(f"the judge is gone: {self.last_words()}") from None
        finally:
            self._waiting.pop(identity, None)
        if "fault" in answer:
            raise InfrastructureFault(answer["fault"])
        return answer

    @property
    def alive(self) -> bool:
        """Whether the judge's process runs and is not being ended."""
        return self._process is not None and self._process.returncode is None and not self._closing

    def last_words(self) -> str:
        """The end of what the judge wrote to its standard error."""
        return " | ".join(self._errors)[-500:] or "no message"

    async def close(self) -> None:
        """End the judge and all its children; safe to call twice."""
        self._closing = True
        with contextlib.suppress(OSError, AttributeError):
            self._socket.close()
        if self._process is not None and self._process.returncode is None:
            try:
                await asyncio.wait_for(self._process.wait(), 10.0)
            except asyncio.TimeoutError:
                self._process.kill()
                await self._process.wait()
        for task in self._tasks:
            task.cancel()

    async def _listen(self) -> None:
        try:
            while True:
                answer = await wire.receive_async(self._socket, ANSWER_BYTES)
                future = self._waiting.get(answer.get("id", -1))
                if future is not None and not future.done():
                    future.set_result(answer)
        except (wire.WireError, OSError):
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(InfrastructureFault(f"the judge died: {self.last_words()}"))

    async def _drain_errors(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            if text:
                self._errors.append(text[:500])
