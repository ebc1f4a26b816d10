"""Compiling threads that begin only when somebody has asked whether they are done: without it a test would depend on
how fast they are."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from unittest import mock

from BackendBench.vllm_backend.evaluation.candidate.triton_support import Compiling, _Pool

LONGEST_SECONDS = 60.0


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Within this context, until they are asked for with a limit of 0 or waited for."""
    asked, submit, done_within = threading.Event(), _Pool.submit, Compiling.done_within

    def submit_held(self: _Pool, compile_one: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        return submit(self, lambda: asked.wait(LONGEST_SECONDS) and compile_one(*args, **kwargs))

    def ask(self: Compiling, seconds: float) -> bool:
        if seconds:
            asked.set()
        try:
            return done_within(self, seconds)
        finally:
            asked.set()

    with mock.patch.object(_Pool, "submit", submit_held), mock.patch.object(Compiling, "done_within", ask):
        yield
