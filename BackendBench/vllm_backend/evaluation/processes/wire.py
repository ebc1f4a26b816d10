"""Frames on the sockets between judge, warm server and candidate.

- A frame is a 4-byte big-endian length and that many bytes of JSON; nothing is ever unpickled.
- A length over the receiver's limit is a protocol error before one byte of the body is read; so is a reply that is
  nested deeper than ``MAX_DEPTH``.
- File descriptors travel with the first byte of a frame.
- Floats that JSON cannot carry do not occur: tensors travel through shared memory.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

HEADER = struct.Struct(">I")
MAX_REPLY_BYTES = 1 << 20
"""From a candidate: the largest honest reply (metadata of a few hundred outputs) is under 100 kB."""
MAX_REQUEST_BYTES = 64 << 20
"""To a candidate: source text and argument trees, written by the judge."""
MAX_DEPTH = 32
"""Of lists and objects in a reply; an honest one has five. Whoever prints a deeper one runs out of stack."""
MAX_DESCRIPTORS = 4


class WireError(Exception):
    """The peer sent something that is not a frame."""


class WireClosed(WireError):
    """The peer is gone."""


def encode(message: dict[str, Any]) -> bytes:
    """One frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise WireError("not a JSON object")
    return message


def _too_deep(message: dict[str, Any]) -> bool:
    """Without recursion: level by level."""
    level: list[Any] = [message]
    for _ in range(MAX_DEPTH):
        below = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for children in below for child in children if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _length(header: bytes, limit: int) -> int:
    (length,) = HEADER.unpack(header)
    if length > limit:
        raise WireError(f"frame of {length} bytes, the limit is {limit}")
    return int(length)


def send(sock: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Blocking send of one frame, with descriptors if given."""
    frame = encode(message)
    if descriptors:
        sent = socket.send_fds(sock, [frame], list(descriptors))
        frame = frame[sent:]
    sock.sendall(frame)


def receive(sock: socket.socket, limit: int = MAX_REQUEST_BYTES) -> tuple[dict[str, Any], list[int]]:
    """Blocking receive of one frame and the descriptors that came with it.

    Raises WireClosed at the end of the stream, WireError for anything that is no frame.
    """
    first, descriptors, _, _ = socket.recv_fds(sock, HEADER.size, MAX_DESCRIPTORS)
    header = first + (_exactly(sock, HEADER.size - len(first)) if first else b"")
    if len(header) < HEADER.size:
        raise WireClosed("the peer closed the connection")
    return _decode(_exactly(sock, _length(header, limit))), list(descriptors)


def _exactly(sock: socket.socket, count: int) -> bytes:
    chunks = bytearray()
    while len(chunks) < count:
        chunk = sock.recv(min(count - len(chunks), 1 << 20))
        if not chunk:
            raise WireClosed("the peer closed the connection")
        chunks += chunk
    return bytes(chunks)


async def send_async(sock: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """As ``send`` for a non-blocking socket under asyncio."""
    frame = encode(message)
    try:
        if descriptors:
            sent = socket.send_fds(sock, [frame[:1]], list(descriptors))
            frame = frame[sent:]
        await asyncio.get_running_loop().sock_sendall(sock, frame)
    except (BrokenPipeError, ConnectionResetError):
        raise WireClosed("the peer closed the connection") from None


async def receive_async(sock: socket.socket, limit: int = MAX_REPLY_BYTES) -> dict[str, Any]:
    """As ``receive`` for a non-blocking socket under asyncio; descriptors are refused by not asking for them."""
    length = _length(await _exactly_async(sock, HEADER.size), limit)
    message = _decode(await _exactly_async(sock, length))
    if _too_deep(message):
        raise WireError(f"JSON nested deeper than {MAX_DEPTH} levels")
    return message


async def _exactly_async(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    chunks = bytearray()
    while len(chunks) < count:
        try:
            chunk = await loop.sock_recv(sock, min(count - len(chunks), 1 << 20))
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise WireClosed("the peer closed the connection")
        chunks += chunk
    return bytes(chunks)
