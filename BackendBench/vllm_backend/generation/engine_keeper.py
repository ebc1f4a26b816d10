"""Keeps a worker's engine running: starts it, starts it again when it failed, and keeps it to its turns.

- A restart happens once, however many groups saw the failure; its pauses grow until the engine worked again.
- An engine that worked before may stay away for ENGINE_PATIENCE_SECONDS; then the worker ends with its error.
- An engine on GPUs of this machine works only in its turn (state/gpu_gate): it starts when the turn was taken,
  pauses when a judge wishes to time a kernel, and goes on when nobody wishes any more. While it is paused the
  clock of its samples stands still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from ..state.gpu_gate import LOOK_SECONDS, EngineGate, GateError, next_move
from .engines.base import Engine, EngineConfigError, EngineError
from .time_share import TimeShare

RESTART_PAUSE_SECONDS = 2.0
LONGEST_RESTART_PAUSE_SECONDS = 30.0
ENGINE_PATIENCE_SECONDS = 600.0
"""How long an engine that worked before may stay away: a large model takes minutes to load."""

log = structlog.get_logger()


class EngineKeeper:
    """See the module's docstring. ``on_end`` hears of every background task that ended, to see its error."""

    def __init__(
        self,
        engine: Engine,
        gate: EngineGate,
        clock: TimeShare,
        on_end: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._clock = clock
        self._on_end = on_end
        self._failures = 0
        self._restarting: asyncio.Task[None] | None = None
        self._turns: asyncio.Task[None] | None = None
        self.ready = False
        """Whether the engine takes work."""
        self.epoch = 0
        """Starts that succeeded."""
        self.pauses = 0
        """Turns given to a judge so far."""

    async def start(self) -> None:
        """The first start. Raises the engine's errors."""
        await self._take_turn()
        await self._engine.start()
        self._clock.resume(time.monotonic())
        if self._gate.shared:
            self._turns = asyncio.ensure_future(self._keep_turns())
            self._turns.add_done_callback(self._on_end)
        self.epoch += 1
        self.ready = True

    def restart(self, epoch: int) -> None:
        """The engine of that epoch failed; nothing happens when it was started again since. Returns at once."""
        if epoch == self.epoch and (self._restarting is None or self._restarting.done()):
            self.ready = False
            self._restarting = asyncio.ensure_future(self._start_again())
            self._restarting.add_done_callback(self._on_end)

    def worked(self) -> None:
        """A group was sampled: earlier failures are forgotten."""
        self._failures = 0

    async def close(self) -> None:
        """End the engine and what goes on here."""
        for task in (self._restarting, self._turns):
            await _ended(task)
        await self._engine.close()
        self._gate.give()

    async def _take_turn(self) -> None:
        try:
            while not self._gate.try_take():
                await asyncio.sleep(LOOK_SECONDS)
        except GateError as error:
            raise EngineConfigError(str(error)) from error

    async def _start_again(self) -> None:
        give_up = time.monotonic() + ENGINE_PATIENCE_SECONDS
        while True:
            self._failures += 1
            await _ended(self._turns)
            await self._engine.close()
            self._gate.give()
            await asyncio.sleep(restart_pause(self._failures))
            try:
                await self.start()
            except EngineError as error:
                log.error("engine_did_not_start", reason=str(error), attempt=self._failures)
                if time.monotonic() > give_up:
                    raise
                continue
            log.info("engine_restarted", attempts=self._failures)
            return

    async def _keep_turns(self) -> None:
        began = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            move = next_move(
                holding=self._gate.holding,
                wished=self._gate.wished(),
                busy=self._clock.in_flight > 0,
                held_seconds=time.monotonic() - began,
            )
            try:
                if move == "yield":
                    await self._yield()
                elif move == "take" and self._gate.try_take():
                    await self._engine.resume()
                    began = time.monotonic()
                    self._clock.resume(began)
            except EngineError as error:
                log.warning("engine_failed", reason=str(error))
                self.restart(self.epoch)
                return

    async def _yield(self) -> None:
        await self._engine.pause()
        self._clock.pause(time.monotonic())
        self._gate.give()
        self.pauses += 1


def restart_pause(failures: int) -> float:
    """Seconds before start number ``failures`` + 1 in a row. Pure."""
    return min(LONGEST_RESTART_PAUSE_SECONDS, RESTART_PAUSE_SECONDS * 2.0 ** min(10, failures - 1))


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None and task is not asyncio.current_task() and not task.done():
        task.cancel()
        await asyncio.wait([task])
