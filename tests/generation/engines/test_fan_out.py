"""The requests of a group, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from BackendBench.vllm_backend.generation.engines.fan_out import FanOut


async def collect(fan: FanOut[int], group: str, requests: list[Coroutine[Any, Any, int]]) -> list[int]:
    return [result async for result in fan.run(group, requests)]


async def after(event: asyncio.Event, result: int) -> int:
    await event.wait()
    return result


async def at_once(result: int) -> int:
    return result


async def broken() -> int:
    raise ValueError("broken")


def test_results_come_as_they_are_finished() -> None:
    async def run() -> None:
        fan, slow, found = FanOut[int](), asyncio.Event(), []
        async for result in fan.run("g", [after(slow, 1), at_once(2)]):
            found.append(result)
            slow.set()
        assert found == [2, 1]

    asyncio.run(run())


def test_an_error_ends_the_group_and_every_request_of_it() -> None:
    async def run() -> None:
        fan, never = FanOut[int](), asyncio.Event()
        with pytest.raises(ValueError, match="broken"):
            await collect(fan, "g", [after(never, 1), broken()])
        assert len(asyncio.all_tasks()) == 1, "nothing goes on"
        assert await collect(fan, "g", [at_once(3)]) == [3], "the name is free again"

    asyncio.run(run())


def test_an_abort_ends_its_group_alone_and_quietly() -> None:
    async def run() -> None:
        fan, never, later = FanOut[int](), asyncio.Event(), asyncio.Event()
        goes = asyncio.ensure_future(collect(fan, "goes", [after(never, 1), after(never, 2)]))
        stays = asyncio.ensure_future(collect(fan, "stays", [after(later, 3)]))
        await asyncio.sleep(0)
        await fan.abort("goes")
        await fan.abort("unknown")
        later.set()
        assert (await goes, await stays) == ([], [3])

    asyncio.run(run())


def test_a_consumer_that_stops_ends_the_requests() -> None:
    async def run() -> None:
        fan, never = FanOut[int](), asyncio.Event()
        stream = fan.run("g", [at_once(1), after(never, 2)])
        assert await anext(stream) == 1
        await stream.aclose()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_group_is_under_way_once() -> None:
    async def run() -> None:
        fan, never = FanOut[int](), asyncio.Event()
        first = asyncio.ensure_future(collect(fan, "g", [after(never, 1)]))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="under way already"):
            await collect(fan, "g", [at_once(1)])
        await fan.abort_all()
        assert await first == []

    asyncio.run(run())
