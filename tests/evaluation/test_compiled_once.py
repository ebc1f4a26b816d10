"""What the judge does with what sources were compiled to: who begins with which kernels, what is not tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from BackendBench.vllm_backend.evaluation.correctness.compile_cache import CompileCache
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, Failure
from BackendBench.vllm_backend.evaluation.judge import Judge
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.evaluation.trial import Trial
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.task import EvaluationTask

KERNELS = b"kernels"


def task(code: str = "pass", dsl: Any = "triton") -> EvaluationTask:
    return EvaluationTask(
        id="r/relu/0:0", run="r", operation="relu", code=code, hash="0", dsl=dsl, target="cuda"
    )


@dataclass
class Correctness:
    """Remembers which kernels an examination began with."""

    begun: list[bytes] = field(default_factory=list)
    fails: ErrorType | None = None

    async def begin(self, one: Any, gpu: Any = None, spent: float = 0.0, kernels: bytes = b"") -> Any:
        """Loading."""
        self.begun.append(kernels)
        if self.fails is not None:
            raise CandidateFailed(Failure(self.fails, "rehearsed"))
        return SimpleNamespace(deadline=0.0)

    async def run(self, one: Any, left: Any) -> None:
        """All cases are right."""


class Process:
    """That has compiled KERNELS."""

    pid = 1
    stage = ""

    async def request(self, do: str, timeout: float, descriptors: Any = (), **payload: Any) -> dict[str, Any]:
        """Gives them away."""
        assert do == "collect_kernels"
        with open(descriptors[0], "wb", closefd=False) as file:
            file.write(KERNELS)
        return {"bytes": len(KERNELS)}


class Rehearsed(Judge):
    """No process is made and nothing is timed."""

    def __init__(self, timing: Any = "full") -> None:
        self.settings = JudgeSettings(target="cuda", timing=timing, skip_screen=True)
        self.device, self._gpu, self._compiled = torch.device("cpu"), None, CompileCache()
        self.correctness = Correctness()
        self._correctness = self.correctness  # type: ignore[assignment]
        self.prepared: Any = SimpleNamespace(operation=catalog.resolve("relu"), huge=False, benches=[])

        async def prepared(*_: Any, **__: Any) -> Any:
            return self.prepared

        self._references: Any = SimpleNamespace(get=prepared)
        self._lock: Any = None

    @asynccontextmanager
    async def _process(
        self, task: EvaluationTask, prepared: Any, trial: Trial, prefix: str, bare: bool = False
    ) -> AsyncIterator[Any]:
        yield SimpleNamespace(
            session=Process(), task=task, prepared=prepared, trial=trial, prefix=prefix, buffers=None
        )


@pytest.fixture(autouse=True)
def _nothing_is_left_over(monkeypatch: pytest.MonkeyPatch):
    async def refuse(pid: int) -> None:
        """Nothing was started."""

    monkeypatch.setattr("BackendBench.vllm_backend.evaluation.processes.leftovers.refuse", refuse)


def examined(judge: Rehearsed, *prefixes: str, task: EvaluationTask, again: bool = False) -> list[bytes]:
    async def examine() -> None:
        for prefix in prefixes:
            await judge._examine_alone(task, judge.prepared, Trial(again=again), prefix)

    judge.correctness.begun.clear()
    asyncio.run(examine())
    return judge.correctness.begun


def test_a_confirmation_begins_with_what_the_first_examination_compiled():
    judge = Rehearsed()
    assert examined(judge, "", "confirm_", task=task()) == [b"", KERNELS]
    assert examined(judge, "", task=task("another")) == [b""]
    assert examined(judge, "", task=task()) == [KERNELS]


def test_who_is_examined_again_in_doubt_begins_without():
    judge = Rehearsed()
    examined(judge, "", task=task())
    assert examined(judge, "", task=task(), again=True) == [b""]


@pytest.mark.parametrize(("dsl", "timing"), [("numba", "full"), ("triton", "quick")])
def test_nothing_is_collected_where_nobody_would_need_it(dsl: str, timing: str):
    judge = Rehearsed(timing)
    assert examined(judge, "", "", task=task(dsl=dsl)) == [b"", b""]


@pytest.mark.parametrize(
    ("error", "tries"), [(ErrorType.COMPILE_ERROR, 1), (ErrorType.WRONG_VALUES, 2), (ErrorType.TIMEOUT, 2)]
)
def test_what_the_compiler_refused_is_refused_at_once(error: ErrorType, tries: int):
    judge = Rehearsed()
    judge.correctness.fails = error
    for _ in range(2):
        try:
            failure = asyncio.run(judge._try(task(), "", Trial()))
        except CandidateFailed as raised:
            failure = raised.failure
        assert failure == Failure(error, "rehearsed")
    assert len(judge.correctness.begun) == tries
