"""Arenas of a GPU are used again, scrubbed, and not kept without end."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.memory import arena
from BackendBench.vllm_backend.evaluation.memory.arena import (
    KEPT_BYTES,
    LARGEST_KEPT,
    ArenaStore,
    CudaError,
    rounded,
)


@dataclass
class Block:
    """Memory that remembers what was done with it."""

    size: int
    used: bool = False
    freed: bool = False

    def close(self) -> None:
        assert not self.freed
        self.freed = True


def test_memory_that_somebody_had_is_known_as_such():
    store = ArenaStore(Block)
    first = store.take(5 << 20)
    assert not first.used
    store.give(first)
    second = store.take(6 << 20)
    assert second is first
    assert second.used
    assert not store.take(6 << 20).used


def test_another_size_is_another_arena():
    store = ArenaStore(Block)
    small = store.take(1)
    store.give(small)
    assert store.take(100 << 20) is not small


def test_a_full_gpu_gets_back_what_is_kept_before_it_is_called_full():
    made: list[Block] = []

    def make(size: int) -> Block:
        if sum(b.size for b in made if not b.freed) + size > 10 << 20:
            raise CudaError("out of memory")
        made.append(Block(size))
        return made[-1]

    store = ArenaStore(make)
    store.give(store.take(8 << 20))
    assert store.take(4 << 20).size == 4 << 20
    with pytest.raises(CudaError):
        store.take(8 << 20)


def test_large_arenas_and_too_many_are_freed():
    store = ArenaStore(Block)
    large = store.take(LARGEST_KEPT + 1)
    store.give(large)
    assert large.freed
    many = [store.take(LARGEST_KEPT) for _ in range(KEPT_BYTES // LARGEST_KEPT + 2)]
    for one in many:
        store.give(one)
    assert sum(not one.freed for one in many) == KEPT_BYTES // LARGEST_KEPT


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2 << 30)), max_size=60))
def test_nobody_shares_an_arena_and_little_is_kept(steps: list[tuple[bool, int]]):
    made: list[Block] = []

    def make(size: int) -> Block:
        made.append(Block(size))
        return made[-1]

    store = ArenaStore(make)
    used: list[Block] = []
    for take, size in steps:
        if take:
            taken = store.take(size)
            assert taken.size >= size
            assert all(taken is not other for other in used)
            assert not taken.freed
            used.append(taken)
        elif used:
            store.give(used.pop(size % len(used)))
    kept = [b for b in made if not b.freed and not any(b is other for other in used)]
    assert sum(b.size for b in kept) <= KEPT_BYTES


@given(st.integers(0, 8 << 30))
def test_sizes_are_rounded_up_by_less_than_half_or_a_step(size: int):
    found = rounded(size)
    assert found >= size
    assert found % arena.MAPPED_AT_A_TIME == 0
    assert found <= max(arena.MAPPED_AT_A_TIME, 2 * size, size + arena.LARGE_STEP)
    assert rounded(found) == found
