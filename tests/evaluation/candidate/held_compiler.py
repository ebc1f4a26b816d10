"""Compiling threads in an order that a test asks for: without it a test would depend on how fast they are."""

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
def held(after: int) -> Iterator[None]:
    """Within this context the first threads of a pool begin when somebody has asked whether they are done, and when
    others have compiled ``after`` kernels."""
    asked, turn, others = threading.Event(), threading.Condition(), 0
    submit, done_within = _Pool.submit, Compiling.done_within

    def count_one_more() -> None:
        nonlocal others
        with turn:
            others += 1
            turn.notify_all()

    def submit_held(self: _Pool, compile_one: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        first = len(self._made) == 1

        def compile_in_turn() -> Any:
            if first:
                asked.wait(LONGEST_SECONDS)
                with turn:
                    turn.wait_for(lambda: others >= after, LONGEST_SECONDS)
            try:
                return compile_one(*args, **kwargs)
            finally:
                if not first:
                    count_one_more()

        return submit(self, compile_in_turn)

    def ask(self: Compiling, seconds: float) -> bool:
        if seconds:
            asked.set()
        try:
            return done_within(self, seconds)
        finally:
            asked.set()

    with mock.patch.object(_Pool, "submit", submit_held), mock.patch.object(Compiling, "done_within", ask):
        yield
