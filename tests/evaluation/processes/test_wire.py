"""Frames from a hostile peer: a message, or a WireError; never anything else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.evaluation.processes import wire
from BackendBench.vllm_backend.evaluation.processes.wire import (
    HEADER,
    MAX_DEPTH,
    MAX_REPLY_BYTES,
    WireClosed,
    WireError,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
messages = st.dictionaries(st.text(), json_values, max_size=4)


def heard(data: bytes, limit: int = MAX_REPLY_BYTES) -> dict[str, object]:
    """What the judge makes of the bytes that a peer sends before it hangs up."""

    async def exchange() -> dict[str, object]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)

        async def talk() -> None:
            try:
                await asyncio.get_running_loop().sock_sendall(theirs, data)
            except OSError:
                pass  # the judge has hung up
            finally:
                theirs.close()

        talking = asyncio.ensure_future(talk())
        try:
            return await wire.receive_async(ours, limit)
        finally:
            ours.close()
            talking.cancel()
            theirs.close()

    return asyncio.run(exchange())


def frame(body: bytes) -> bytes:
    return HEADER.pack(len(body)) + body


@settings(deadline=None)
@given(messages)
def test_a_message_arrives_as_it_was_sent(message):
    assert heard(wire.encode(message)) == message


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_a_wire_error_or_a_message(data):
    with contextlib.suppress(WireError):
        assert isinstance(heard(data), dict)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_frame_of_garbage_is_a_wire_error_or_a_message(body):
    with contextlib.suppress(WireError):
        assert heard(frame(body)) == json.loads(body)


@pytest.mark.parametrize("body", [b"[]", b"3", b'"id"', b"null", b"", b"{", b"\xff\xfe{}", b'{"a":1}x'])
def test_a_body_that_is_no_object_is_a_wire_error(body):
    with pytest.raises(WireError):
        heard(frame(body))


def test_a_frame_over_the_limit_is_refused_before_its_body_arrives():
    with pytest.raises(WireError, match="the limit is 100") as caught:
        heard(HEADER.pack(101), limit=100)
    assert not isinstance(caught.value, WireClosed)
    with pytest.raises(WireError, match="limit"):
        heard(HEADER.pack(0xFFFFFFFF))
    assert heard(frame(b'{"a":"' + b"x" * 92 + b'"}'), limit=100) == {"a": "x" * 92}


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0", HEADER.pack(5), HEADER.pack(5) + b"{}"])
def test_a_stream_that_ends_early_is_closed(data):
    with pytest.raises(WireClosed):
        heard(data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH, 900, 1000, 100_000])
def test_nesting_beyond_bounds_is_a_wire_error(opening, depth):
    closing = b"]" if opening == b"[" else b"}"
    inner = opening * depth + b"1" + closing * depth
    with pytest.raises(WireError):
        heard(frame(b'{"x":' + inner + b"}"))


def test_nesting_within_bounds_passes():
    deepest = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert heard(frame(b'{"x":' + deepest + b"}"))


def test_numbers_that_json_has_no_bounds_for_do_not_escape():
    with pytest.raises(WireError):
        heard(frame(b'{"x":' + b"9" * 10_000 + b"}"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_blocking_ends_agree_on_every_frame_and_its_descriptors(pair):
    ours, theirs = pair
    reading, writing = os.pipe()
    try:
        wire.send(ours, {"first": 1}, [writing])
        wire.send(ours, {"second": "ü" * 10_000})
        message, descriptors = wire.receive(theirs)
        assert message == {"first": 1}
        assert len(descriptors) == 1
        os.write(descriptors[0], b"x")
        os.close(descriptors[0])
        assert os.read(reading, 1) == b"x"
        assert wire.receive(theirs) == ({"second": "ü" * 10_000}, [])
    finally:
        os.close(reading)
        os.close(writing)
    ours.close()
    with pytest.raises(WireClosed):
        wire.receive(theirs)


def test_a_frame_that_arrives_in_pieces_is_one_frame(pair):
    ours, theirs = pair
    data = wire.encode({"x": "y" * 50})

    def drip() -> None:
        for byte in data:
            ours.send(bytes([byte]))

    talking = threading.Thread(target=drip)
    talking.start()
    assert wire.receive(theirs) == ({"x": "y" * 50}, [])
    talking.join()


def test_sending_to_a_peer_that_is_gone_is_closed(pair):
    ours, theirs = pair
    ours.setblocking(False)
    theirs.close()
    with pytest.raises(WireClosed):
        asyncio.run(wire.send_async(ours, {"x": 1}))
