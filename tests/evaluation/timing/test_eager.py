"""Eager's process serves one timing after the other."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import torch

from BackendBench.vllm_backend.evaluation.processes.warm_pool import environment
from BackendBench.vllm_backend.evaluation.timing.eager import EagerProcess
from BackendBench.vllm_backend.operations import catalog


class Session:
    """One that agrees to everything."""

    pid = 0

    async def request(self, do: str, timeout: float, **payload: Any) -> dict[str, Any]:
        return {}

    async def attach(self, buffers: Any, limit: float) -> None:
        """It has them."""

    def signal(self, number: int) -> None:
        """Nobody gets it."""

    def kill(self) -> None:
        """Nothing to end."""

    async def gone(self) -> bool:
        return True


class Pool:
    cores = SimpleNamespace(timing=frozenset())

    async def session(self, eager: bool) -> Session:
        return Session()


def test_the_cores_of_its_threads_are_known_from_timing_to_timing_and_forgotten_with_the_process():
    async def timings() -> None:
        pool: Any = Pool()
        process = EagerProcess(pool, torch.device("cpu"), 60.0)
        lanes = [await process.lane(catalog.resolve(name), (64, 64)) for name in ("relu", "add")]
        assert lanes[0].own_cores is not None
        assert lanes[0].own_cores is lanes[1].own_cores
        await process.drop()
        again = await process.lane(catalog.resolve("relu"), (64, 64))
        assert again.own_cores is not lanes[0].own_cores
        await process.rehearse(catalog.resolve("relu"), (64, 64), [], random.Random(0))
        await process.drop()

    asyncio.run(timings())


def test_without_a_gpu_all_memory_stays_in_one_place():
    assert environment(2)["MALLOC_MMAP_MAX_"] == "0"
    assert "MALLOC_MMAP_MAX_" not in environment(2, "GPU-0")
