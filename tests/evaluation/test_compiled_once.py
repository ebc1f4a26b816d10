"""Who begins with the kernels that were compiled for a first examination, and who gives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from BackendBench.vllm_backend.evaluation.judge import Judge
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.evaluation.trial import Examination, Trial
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.state.task import EvaluationTask

KERNELS = b"kernels"


def task(dsl: Any = "triton") -> EvaluationTask:
    return EvaluationTask(
        id="r/relu/0:0", run="r", operation="relu", code="pass", hash="0", dsl=dsl, target="cuda"
    )


@dataclass
class Correctness:
    """Remembers what an examination began with."""

    begun: list[bytes] = field(default_factory=list)

    async def begin(self, one: Any, gpu: Any = None, spent: float = 0.0) -> Any:
        """Loading."""
        self.begun.append(one.trial.kernels)
        return SimpleNamespace(deadline=0.0)

    async def run(self, one: Any, left: Any) -> None:
        """All cases are right."""


class Process:
    """That has compiled KERNELS."""

    pid = 1
    rested = 0.0
    stage = ""
    asked: ClassVar[list[str]] = []

    async def request(self, do: str, timeout: float, descriptors: Any = (), **payload: Any) -> dict[str, Any]:
        """Gives them away."""
        self.asked.append(do)
        with open(descriptors[0], "wb", closefd=False) as file:
            file.write(KERNELS)
        return {"bytes": len(KERNELS)}


class Rehearsed(Judge):
    """No process is made and nothing is timed."""

    def __init__(self, timing: Any = "full", benches: Any = (None,)) -> None:
        self.settings = JudgeSettings(target="cuda", timing=timing)
        self._gpu = None
        self.correctness = Correctness()
        self._correctness = self.correctness  # type: ignore[assignment]
        self.prepared: Any = SimpleNamespace(
            operation=catalog.resolve("relu"), huge=False, benches=list(benches)
        )

    @asynccontextmanager
    async def _process(
        self, task: EvaluationTask, prepared: Any, trial: Trial, prefix: str, bare: bool = False
    ) -> AsyncIterator[Any]:
        session: Any = Process()
        yield Examination(session, None, task, prepared, trial, prefix)  # type: ignore[arg-type]

    async def _time(self, one: Examination) -> None:
        pass


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of processes before it was looked whether they have left something behind."""
    before: list[str] = []

    async def refuse(pid: int) -> None:
        before.extend(Process.asked)

    Process.asked.clear()
    monkeypatch.setattr("BackendBench.vllm_backend.evaluation.processes.leftovers.refuse", refuse)
    return before


def kept(judge: Rehearsed, prefix: str = "", dsl: str = "triton", again: bool = False) -> bytes:
    """What one examination leaves for the next."""
    trial = Trial(again=again)
    asyncio.run(judge._examine_alone(task(dsl), judge.prepared, trial, prefix))
    return trial.kernels


def test_a_first_examination_leaves_its_kernels_for_the_confirmation():
    judge, trial = Rehearsed(), Trial()
    for prefix in ("", "confirm_"):
        asyncio.run(judge._examine_alone(task(), judge.prepared, trial, prefix))
    assert judge.correctness.begun == [b"", KERNELS]
    assert Process.asked == ["collect_kernels"]


def test_what_is_left_running_is_looked_for_before(refused: list[str]):
    assert kept(Rehearsed()) == KERNELS
    assert refused == []


@pytest.mark.parametrize("other", [{"prefix": "confirm_"}, {"dsl": "numba"}, {"again": True}])
def test_nothing_is_collected_where_nobody_would_need_it(other: dict[str, Any]):
    assert kept(Rehearsed(), **other) == b""


def test_nothing_is_collected_where_nothing_is_timed_or_nothing_is_confirmed():
    assert kept(Rehearsed(benches=())) == b""
    assert kept(Rehearsed(timing="quick")) == b""
