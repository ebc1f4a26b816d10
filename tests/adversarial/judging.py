"""One judge for all candidates of a test module, driven from synchronous tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from BackendBench.vllm_backend.evaluation.client import JudgeClient
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.state.task import Target
from BackendBench.vllm_backend.state.verdict import Verdict

from .candidate_files import CandidateFile

T = TypeVar("T")


class Bench:
    """A running judge and its event loop."""

    def __init__(self, settings: JudgeSettings, loop: asyncio.AbstractEventLoop) -> None:
        self.client = JudgeClient(settings)
        self._loop = loop

    def wait(self, what: Awaitable[T]) -> T:
        """Run the loop until ``what`` is done."""
        return self._loop.run_until_complete(what)  # type: ignore[arg-type]

    def judge(self, file: CandidateFile, target: Target, **replaced: str) -> Verdict:
        """The verdict for one file. Raises InfrastructureFault."""
        return self.wait(self.client.evaluate(file.task(target, **replaced)))


@contextmanager
def running(settings: JudgeSettings) -> Iterator[Bench]:
    """A judge for the body of a ``with``."""
    loop = asyncio.new_event_loop()
    bench = Bench(settings, loop)
    try:
        bench.wait(bench.client.start())
        yield bench
    finally:
        bench.wait(bench.client.close())
        loop.close()


def skip_without_needs(file: CandidateFile) -> None:
    """Skip what is about something that this machine lacks."""
    if file.lacking():
        pytest.skip(f"this machine has no {file.lacking()}")
