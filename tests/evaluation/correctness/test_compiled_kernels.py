"""What a process gives of its kernels, and that it cannot give more than it may."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from BackendBench.vllm_backend.evaluation.correctness.compiled_kernels import (
    MOST_BYTES,
    collected,
    handed_over,
)
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, Failure
from BackendBench.vllm_backend.state.error_type import ErrorType


class Process:
    """A session whose process does this with the descriptor."""

    stage = ""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self._answer = answer

    async def request(
        self, do: str, timeout: float, descriptors: Sequence[int] = (), **payload: Any
    ) -> dict[str, Any]:
        """What it says."""
        (descriptor,) = descriptors
        return {"bytes": self._answer(descriptor)}


def asked(answer: Callable[[int], Any]) -> bytes:
    session: Any = Process(answer)
    return asyncio.run(collected(session, 1.0))


def test_a_process_gives_its_kernels():
    assert asked(lambda descriptor: os.pwrite(descriptor, b"kernels", 0)) == b"kernels"


@pytest.mark.parametrize("size", [None, "7", -1, 0, MOST_BYTES + 1, 1.0])
def test_what_is_no_size_is_nothing(size: Any):
    assert asked(lambda descriptor: size) == b""


def test_it_can_write_no_more_than_it_may():
    def flood(descriptor: int) -> int:
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", MOST_BYTES)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, MOST_BYTES + 1)
        return 0

    assert asked(flood) == b""


def test_who_breaks_his_channel_meanwhile_has_failed():
    def fail(descriptor: int) -> int:
        raise CandidateFailed(Failure(ErrorType.PROTOCOL_VIOLATION, ""))

    with pytest.raises(CandidateFailed):
        asked(fail)


def test_they_are_handed_over_to_be_read_once():
    with handed_over(b"") as none:
        assert none == []
    with handed_over(b"kernels") as (descriptor,):
        assert os.pread(descriptor, 100, 0) == b"kernels"
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
    with pytest.raises(OSError):
        os.fstat(descriptor)
