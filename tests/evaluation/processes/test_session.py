"""The judge's end of a process: limits, and stopping it for a while."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest

from BackendBench.vllm_backend.evaluation.failure import CandidateFailed
from BackendBench.vllm_backend.evaluation.processes.session import Session
from BackendBench.vllm_backend.state.error_type import ErrorType

ANSWERS = """
import socket, sys, time
from BackendBench.vllm_backend.evaluation.processes import wire

sock = socket.socket(fileno=int(sys.argv[1]))
while True:
    request, _ = wire.receive(sock)
    end = time.process_time() + request["works"]
    while time.process_time() < end:
        pass
    wire.send(sock, {"id": request["id"]})
"""
WORKS = 0.2
FOREVER = 3600.0


def with_process(scene: Callable[[Session, psutil.Process], Awaitable[None]]) -> None:
    """Play it with a process that works as long as each request says, seconds of a core."""

    async def run() -> None:
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        process = subprocess.Popen(
            [sys.executable, "-c", ANSWERS, str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        exited = asyncio.get_running_loop().create_future()
        session = Session("token", process.pid, mine, exited, process.kill)
        try:
            await session.request("warm", FOREVER, works=0.0)  # it has been imported
            await scene(session, psutil.Process(process.pid))
        finally:
            session.kill()
            process.wait()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def is_stopped(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


def asked(session: Session, limit: float, works: float) -> asyncio.Future[dict[str, Any]]:
    return asyncio.ensure_future(session.request("work", limit, works=works))


async def stopped_at_work(session: Session, limit: float, works: float) -> asyncio.Future[dict[str, Any]]:
    """The reply of a process that was stopped before it came."""
    reply = asked(session, limit, works)
    await until(lambda: session.stoppable)
    session.stop()
    return reply


def test_a_process_that_works_is_stopped_and_goes_on():
    async def scene(session: Session, process: psutil.Process) -> None:
        assert not session.stoppable
        reply = await stopped_at_work(session, FOREVER, WORKS)
        await until(lambda: is_stopped(process))
        used = process.cpu_times()
        await asyncio.sleep(2 * WORKS)
        assert process.cpu_times() == used
        assert not reply.done()
        session.go_on()
        await reply
        assert session.rested >= 2 * WORKS
        assert not session.stoppable

    with_process(scene)


def test_it_cannot_be_stopped_while_the_judge_works_for_it():
    async def scene(session: Session, process: psutil.Process) -> None:
        session.stop()
        await asyncio.sleep(0.1)
        assert not is_stopped(process)
        await session.request("work", FOREVER, works=0.0)
        assert session.rested == 0.0

    with_process(scene)


def test_an_answer_that_came_before_it_was_stopped_waits_until_it_goes_on():
    async def scene(session: Session, process: psutil.Process) -> None:
        there = asyncio.Event()

        async def exchange() -> dict[str, Any]:
            await there.wait()
            return {"id": ""}

        reply = asyncio.ensure_future(session._in_time(exchange(), FOREVER))
        await until(lambda: session.stoppable)
        session.stop()
        there.set()
        await asyncio.sleep(0.1)
        assert not reply.done()
        session.go_on()
        assert await reply == {"id": ""}

    with_process(scene)


def test_a_limit_stands_still_while_it_is_stopped():
    async def scene(session: Session, process: psutil.Process) -> None:
        reply = await stopped_at_work(session, WORKS, FOREVER)
        await asyncio.sleep(3 * WORKS)
        assert not reply.done()
        session.go_on()
        with pytest.raises(CandidateFailed) as error:
            await reply
        assert error.value.failure.error_type is ErrorType.TIMEOUT

    with_process(scene)


def test_who_is_stopped_can_be_killed():
    async def scene(session: Session, process: psutil.Process) -> None:
        reply = await stopped_at_work(session, FOREVER, FOREVER)
        session.kill()
        session.go_on()
        await until(lambda: process.status() == psutil.STATUS_ZOMBIE)
        reply.cancel()

    with_process(scene)
