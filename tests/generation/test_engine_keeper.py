"""An engine is started again when it failed, and works only in its turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from BackendBench.vllm_backend.generation import engine_keeper
from BackendBench.vllm_backend.generation.engine_keeper import EngineKeeper, restart_pause
from BackendBench.vllm_backend.generation.engines.base import (
    Engine,
    EngineConfigError,
    EngineError,
    Prompt,
    Sample,
    SamplingParameters,
)
from BackendBench.vllm_backend.generation.time_share import TimeShare
from BackendBench.vllm_backend.state.gpu_gate import EngineGate, JudgeGate


class Counter(Engine):
    """An engine that works all the time, unless it is paused: it counts. ``fails``: starts that fail first."""

    name = "counter"

    def __init__(self, fails: int = 0) -> None:
        self.count = 0
        self.starts = 0
        self.fails = fails
        self._go = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.starts += 1
        if self.starts <= self.fails:
            raise EngineError("not yet")
        self._go.set()
        self._work = asyncio.ensure_future(self._loop())

    async def _loop(self) -> None:
        while True:
            await self._go.wait()
            self.count += 1
            await asyncio.sleep(0)

    async def sample(
        self, prompt: Prompt, n: int, parameters: SamplingParameters, group: str
    ) -> AsyncIterator[Sample]:
        for index in range(n):
            yield Sample(index, "", 0)

    async def pause(self) -> None:
        self._go.clear()
        await asyncio.sleep(0.01)

    async def resume(self) -> None:
        self._go.set()

    async def close(self) -> None:
        if self._work is not None:
            self._work.cancel()


def kept(
    engine: Engine, folder: Path, ended: list[asyncio.Task[None]], *gpus: str
) -> tuple[EngineKeeper, TimeShare]:
    clock = TimeShare()
    return EngineKeeper(engine, EngineGate(gpus, folder), clock, ended.append), clock


def test_nothing_runs_on_the_gpu_while_a_kernel_is_timed(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Counter()
        keeper, clock = kept(engine, tmp_path, [], "GPU-1")
        await keeper.start()
        mark = clock.start(time.monotonic(), 1)  # it has work
        judge = JudgeGate("GPU-1", tmp_path)
        for _ in range(3):
            async with judge.exclusive():
                before = engine.count
                await asyncio.sleep(0.1)
                assert engine.count == before
            while engine.count == before:
                await asyncio.sleep(0.001)
        assert keeper.pauses == 3
        assert clock.end(time.monotonic(), mark) > 0
        await keeper.close()
        async with judge.exclusive():
            pass

    asyncio.run(run())


def test_an_engine_starts_only_in_its_turn(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Counter()
        keeper, _ = kept(engine, tmp_path, [], "GPU-1")
        async with JudgeGate("GPU-1", tmp_path).exclusive():
            starting = asyncio.ensure_future(keeper.start())
            await asyncio.sleep(0.05)
            assert engine.starts == 0 and not keeper.ready
        await starting
        assert engine.starts == 1 and keeper.ready
        await keeper.close()

    asyncio.run(run())


def test_a_failed_engine_is_started_until_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_keeper, "RESTART_PAUSE_SECONDS", 0.001)

    async def run() -> None:
        engine = Counter()
        keeper, _ = kept(engine, tmp_path, [], "GPU-1")
        await keeper.start()
        engine.fails = 3  # its second and third start
        keeper.restart(1)
        keeper.restart(1)
        assert not keeper.ready
        while not keeper.ready:
            await asyncio.sleep(0.001)
        assert engine.starts == 4, "two failures seen at once are one restart"
        keeper.restart(1)
        assert keeper.ready, "what failed was the engine before"
        await keeper.close()

    asyncio.run(run())


def test_while_it_is_away_the_gpu_is_free_for_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_keeper, "RESTART_PAUSE_SECONDS", 30.0)

    async def run() -> None:
        keeper, _ = kept(Counter(), tmp_path, [], "GPU-1")
        await keeper.start()
        keeper.restart(keeper.epoch)
        async with JudgeGate("GPU-1", tmp_path).exclusive():
            assert not keeper.ready
        await keeper.close()

    asyncio.run(run())


def test_an_engine_that_stays_away_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_keeper, "RESTART_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(engine_keeper, "ENGINE_PATIENCE_SECONDS", 0.0)

    async def run() -> None:
        ended: list[asyncio.Task[None]] = []
        engine = Counter()
        keeper, _ = kept(engine, tmp_path, ended)
        await keeper.start()
        engine.fails = 100
        keeper.restart(keeper.epoch)
        while not ended:
            await asyncio.sleep(0.001)
        assert isinstance(ended[0].exception(), EngineError)
        await keeper.close()

    asyncio.run(run())


def test_a_first_start_that_fails_is_not_repeated(tmp_path: Path) -> None:
    class Misconfigured(Counter):
        async def start(self) -> None:
            raise EngineConfigError("no model")

    async def run() -> None:
        keeper, _ = kept(Misconfigured(), tmp_path, [])
        with pytest.raises(EngineConfigError, match="no model"):
            await keeper.start()
        await keeper.close()

    asyncio.run(run())


def test_pauses_grow_to_a_limit() -> None:
    assert [restart_pause(n) for n in (1, 2, 3, 4, 5, 50)] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
