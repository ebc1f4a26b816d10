"""How many cores a compiling candidate gets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from hypothesis import given
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.resources.compiler_places import CompilerPlaces


def test_idle_cores_are_taken_and_half_of_them_left():
    async def run() -> None:
        places = CompilerPlaces(13)
        async with places.taken() as first:
            assert (first.places, places.free) == (1, 12)
            assert first.adjust(8) == 7
            async with places.taken() as second:
                assert second.adjust(8) == 3
                assert second.adjust(8) == 4
                assert places.free == 2
            assert first.adjust(8) == 8
            assert first.adjust(1) == 1
        assert places.free == 13

    asyncio.run(run())


def test_who_has_several_returns_them_while_somebody_waits():
    async def run() -> None:
        places = CompilerPlaces(4)
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(places.taken())
            assert [first.adjust(4) for _ in range(3)] == [2, 3, 3]
            second = await stack.enter_async_context(places.taken())
            third = asyncio.ensure_future(stack.enter_async_context(places.taken()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not third.done() and places.free == 0
            assert first.adjust(4) == 1
            assert (await third).places == 1
            assert second.adjust(4) == 1
            assert places.free == 1
        assert places.free == 4

    asyncio.run(run())


@given(
    st.integers(1, 8), st.lists(st.tuples(st.integers(0, 5), st.sampled_from("cla"), st.integers(1, 9)), max_size=40)
)  # fmt: skip
def test_no_place_is_lost_or_given_twice(count, steps):
    async def run() -> None:
        places = CompilerPlaces(count)
        held: dict[int, AsyncExitStack] = {}
        mine = {}
        for who, what, most in steps:
            if what == "c" and who not in held and places.free:
                held[who] = AsyncExitStack()
                mine[who] = await held[who].enter_async_context(places.taken())
            elif what == "l" and who in held:
                await held.pop(who).aclose()
                del mine[who]
            elif what == "a" and who in mine:
                before = mine[who].places
                assert 1 <= mine[who].adjust(most) <= max(most, before)
            assert places.free + sum(m.places for m in mine.values()) == count
            assert places.free >= 0
        for stack in held.values():
            await stack.aclose()
        assert places.free == count

    asyncio.run(run())
