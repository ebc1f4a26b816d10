"""References are kept while they are used, and given up where their memory is needed."""

from __future__ import annotations

import asyncio

import torch

from BackendBench.vllm_backend.evaluation.case_plan import CasePlan
from BackendBench.vllm_backend.evaluation.device_lock import DeviceLock
from BackendBench.vllm_backend.evaluation.reference_pool import Prepared, ReferencePool
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.operations.operation import Operation


class Cheap(ReferencePool):
    """Its sets are empty: only which of them are kept matters here."""

    def _make(self, operation: Operation) -> Prepared:
        return Prepared(operation, CasePlan(operation, [], []), [], [])


def test_the_half_that_was_not_used_for_longest_is_given_up():
    async def run() -> None:
        pool, lock = Cheap(torch.device("cpu"), 1), DeviceLock()
        names = ["relu", "exp", "neg", "abs"]
        first = [await pool.get(catalog.resolve(name), lock) for name in names]
        assert await pool.get(catalog.resolve("relu"), lock) is first[0]
        pool.shrink()
        assert await pool.get(catalog.resolve("relu"), lock) is first[0]
        assert await pool.get(catalog.resolve("abs"), lock) is first[3]
        assert await pool.get(catalog.resolve("exp"), lock) is not first[1]
        for _ in range(3):
            pool.shrink()
        assert await pool.get(catalog.resolve("neg"), lock) is not first[2]

    asyncio.run(run())
