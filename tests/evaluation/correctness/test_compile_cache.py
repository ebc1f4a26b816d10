"""What is remembered of a source, how much, and that a process cannot give more than it may."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from BackendBench.vllm_backend.evaluation.correctness import compile_cache
from BackendBench.vllm_backend.evaluation.correctness.compile_cache import (
    MOST_OF_ONE,
    CompileCache,
    collected,
    handed_over,
)
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, Failure
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.source import source_hash
from BackendBench.vllm_backend.state.task import EvaluationTask

REFUSED = Failure(ErrorType.COMPILE_ERROR, "no such function", "a case")


def test_a_source_has_its_own_kernels():
    cache = CompileCache()
    cache.keep("one", b"kernels")
    assert (cache.kernels("one"), cache.kernels("two"), cache.failure("one")) == (b"kernels", b"", None)


def test_what_the_compiler_refused_is_remembered():
    cache = CompileCache()
    cache.refuse("one", REFUSED)
    assert (cache.kernels("one"), cache.failure("one")) == (b"", REFUSED)


@pytest.mark.parametrize("error", [e for e in ErrorType if e is not ErrorType.COMPILE_ERROR])
def test_other_failures_are_not_the_compilers(error: ErrorType):
    cache = CompileCache()
    cache.refuse("one", Failure(error, ""))
    assert cache.failure("one") is None


def test_nothing_is_kept_of_who_gave_nothing():
    cache = CompileCache()
    cache.refuse("one", REFUSED)
    cache.keep("one", b"")
    assert cache.failure("one") == REFUSED


def test_the_last_used_stay():
    cache = CompileCache(most=10)
    for name in ("a", "b", "c"):
        cache.keep(name, b"1234")
    assert [bool(cache.kernels(name)) for name in ("a", "b", "c")] == [False, True, True]
    assert cache.kernels("b")
    cache.keep("d", b"1234")
    assert [bool(cache.kernels(name)) for name in ("b", "c", "d")] == [True, False, True]
    cache.keep("d", b"123456")
    assert [bool(cache.kernels(name)) for name in ("b", "d")] == [True, True]
    cache.keep("e", b"12345678901")
    assert not any(cache.kernels(name) for name in ("b", "d", "e"))
    cache.keep("f", b"1234567890")
    assert cache.kernels("f")


def task(**changed: Any) -> EvaluationTask:
    code = changed.pop("code", "pass")
    fields = {"id": "i", "run": "r", "operation": "relu", "dsl": "triton", "target": "cuda", "model": "m"}
    return EvaluationTask(code=code, hash=source_hash(code), timestamp=0.0, **{**fields, **changed})


def test_a_key_is_of_the_source_and_what_it_is_for():
    operation = catalog.resolve("relu")
    same = compile_cache.key(task(), operation)
    assert compile_cache.key(task(id="other", run="other", model="other"), operation) == same
    others = [task(code="pass "), task(dsl="numba"), task(operation="gelu"), task(target="cpu")]
    assert len({same, *(compile_cache.key(other, operation) for other in others)}) == 5


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
    return asyncio.run(collected(session))


def test_a_process_gives_its_kernels():
    assert asked(lambda descriptor: os.pwrite(descriptor, b"kernels", 0)) == b"kernels"


@pytest.mark.parametrize("size", [None, "7", -1, 0, MOST_OF_ONE + 1, 1.0])
def test_what_is_no_size_is_nothing(size: Any):
    assert asked(lambda descriptor: size) == b""


def test_it_can_write_no_more_than_it_may():
    def flood(descriptor: int) -> int:
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", MOST_OF_ONE)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, MOST_OF_ONE + 1)
        return 0

    assert asked(flood) == b""


def test_who_fails_meanwhile_gives_nothing():
    def fail(descriptor: int) -> int:
        raise CandidateFailed(Failure(ErrorType.CRASH, ""))

    assert asked(fail) == b""


def test_they_are_handed_over_to_be_read_once():
    with handed_over(b"") as none:
        assert none == []
    with handed_over(b"kernels") as (descriptor,):
        assert os.pread(descriptor, 100, 0) == b"kernels"
    with pytest.raises(OSError):
        os.fstat(descriptor)
