"""Frames to a reader that is busy: none is lost, none is mixed with another."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from BackendBench.vllm_backend.evaluation.processes import wire
from BackendBench.vllm_backend.evaluation.processes.outbox import Outbox

FRAMES = 3000
"""Many times what a socket's buffer holds."""


def test_everything_arrives_in_order_and_with_its_descriptor() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        outbox = Outbox(ours)
        reading, writing = os.pipe()
        sent = []
        for number in range(FRAMES):
            descriptors = [reading] if number % 10 == 0 else []
            sent.append(outbox.post({"number": number, "text": "x" * 200}, descriptors))
        os.close(reading)
        await asyncio.sleep(0.05)
        assert not sent[-1].done()
        os.write(writing, b"a" * (FRAMES // 10))
        for number in range(FRAMES):
            message, descriptors = await asyncio.to_thread(wire.receive, theirs)
            assert message["number"] == number
            assert len(descriptors) == (number % 10 == 0)
            for descriptor in descriptors:
                assert os.read(descriptor, 1) == b"a"
                os.close(descriptor)
        await asyncio.wait_for(asyncio.gather(*sent), 10)
        os.close(writing)
        ours.close()
        theirs.close()

    asyncio.run(run())


def test_who_waits_for_a_frame_that_cannot_be_sent_hears_of_it() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.close()
        outbox = Outbox(ours)
        with pytest.raises((wire.WireError, OSError)):
            await asyncio.wait_for(outbox.post({}), 10)
        with pytest.raises((wire.WireError, OSError)):
            await asyncio.wait_for(outbox.post({}), 10)
        ours.close()

    asyncio.run(run())
