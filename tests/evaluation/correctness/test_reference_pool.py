"""References are kept while they are used, and given up where their memory is needed."""

from __future__ import annotations

import asyncio

import torch

from BackendBench.vllm_backend.evaluation.correctness.case_plan import CasePlan
from BackendBench.vllm_backend.evaluation.correctness.reference_pool import (
    Prepared,
    ReferencePool,
    storages_of,
)
from BackendBench.vllm_backend.evaluation.resources.device_lock import DeviceLock
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.operations.operation import Operation


class Cheap(ReferencePool):
    """Its sets are empty: only which of them are kept matters here."""

    def _make(self, operation: Operation) -> Prepared:
        return Prepared(operation, CasePlan(operation, [], []), [], [])


def test_the_half_that_was_not_used_for_longest_is_given_up():
    async def run() -> None:
        pool, lock = Cheap(torch.device("cpu"), 1, 1 << 40), DeviceLock()
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


class OfSize(ReferencePool):
    """Sets of four bytes for each letter of the operation's name."""

    def _make(self, operation: Operation) -> Prepared:
        prepared = Prepared(operation, CasePlan(operation, [], []), [], [])
        prepared.plan.left_out = [torch.zeros(len(operation.name))]  # type: ignore[list-item]
        return prepared


def test_the_one_that_was_not_used_for_longest_is_given_up_where_all_take_too_much():
    async def run() -> None:
        pool, lock = OfSize(torch.device("cpu"), 1, 40), DeviceLock()
        relu = await pool.get(catalog.resolve("relu"), lock)
        assert (pool.held, pool.has_room(1), pool.has_room(2)) == (16, True, False)
        exp = await pool.get(catalog.resolve("exp"), lock)
        assert (pool.held, pool.has_room(1)) == (28, False)
        assert await pool.get(catalog.resolve("relu"), lock) is relu
        await pool.get(catalog.resolve("neg"), lock)
        assert pool.held == 40
        await pool.get(catalog.resolve("abs"), lock)
        assert pool.held == 40
        assert await pool.get(catalog.resolve("relu"), lock) is relu
        assert await pool.get(catalog.resolve("exp"), lock) is not exp

    asyncio.run(run())


def test_those_of_confirmations_are_given_up_first():
    async def run() -> None:
        pool, lock = OfSize(torch.device("cpu"), 1, 40), DeviceLock()
        relu = await pool.get(catalog.resolve("relu"), lock)
        other = await pool.get(catalog.resolve("relu"), lock, other=True)
        exp = await pool.get(catalog.resolve("exp"), lock)
        assert pool.held == 28
        assert await pool.get(catalog.resolve("relu"), lock) is relu
        assert await pool.get(catalog.resolve("exp"), lock) is exp
        assert await pool.get(catalog.resolve("relu"), lock, other=True) is not other
        # Nor has one for a confirmation any of the others dropped.
        assert await pool.get(catalog.resolve("relu"), lock) is relu
        assert await pool.get(catalog.resolve("exp"), lock) is exp

    asyncio.run(run())


def test_one_operation_is_kept_whatever_it_takes():
    async def run() -> None:
        pool, lock = OfSize(torch.device("cpu"), 1, 1), DeviceLock()
        both = [await pool.get(catalog.resolve("relu"), lock, other=other) for other in (False, True)]
        assert [await pool.get(catalog.resolve("relu"), lock, other=other) for other in (False, True)] == both

    asyncio.run(run())


def test_a_set_takes_what_its_tensors_take_and_shared_memory_once():
    prepared = ReferencePool(torch.device("cpu"), 1, 1 << 40)._make(catalog.resolve("relu"))
    seen = storages_of(prepared)
    assert prepared.size == sum(seen.values())
    first = prepared.benches[0].bases[0].inputs[0]
    assert seen[first.untyped_storage().data_ptr()] == first.untyped_storage().nbytes()
    case = prepared.plan.chunks[0].cases[0]
    assert {t.untyped_storage().data_ptr() for t in [*case.inputs, *case.expected] if t.numel()} <= set(seen)
    one = torch.zeros(8)
    assert storages_of({"a": [one, one[2:]], "b": (one.view(2, 4), 3, None)}) == {one.data_ptr(): 32}
