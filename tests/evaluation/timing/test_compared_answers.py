"""A wrong answer among those of many pairs is found, however late they are compared."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import torch

from BackendBench.vllm_backend.evaluation.failure import CandidateFailed
from BackendBench.vllm_backend.evaluation.memory.shared_calls import Buffers
from BackendBench.vllm_backend.evaluation.timing import bench, interval, spot_check
from BackendBench.vllm_backend.evaluation.timing.bench import Bench
from BackendBench.vllm_backend.evaluation.timing.lane import Keep, Lane
from BackendBench.vllm_backend.evaluation.timing.rehearsal import Rehearsed
from BackendBench.vllm_backend.evaluation.timing.stage import MOST_UNREAD, TimingStage
from BackendBench.vllm_backend.operations.operation import Call, Operation, Workload
from BackendBench.vllm_backend.state.error_type import ErrorType
from tests.evaluation.here import Here

CPU = torch.device("cpu")
WORKLOAD = Workload(
    "w", "nowhere", lambda device, generator: Call((torch.randn(999, generator=generator),)), 8000
)
OPERATION = Operation("relu", "", "(x)", torch.relu, lambda device, seed: [], lambda device: [WORKLOAD])
PAIRS = MOST_UNREAD + 3
"""Counted ones; one more comes before them."""


class Side(Lane):
    """A lane that spoils one of its timed blocks. ``gpu``: it is treated as a GPU's, so what is kept is copied."""

    def __init__(self, ready: Bench, gpu: bool, spoiled: int = -1, spoil: str = "") -> None:
        buffers = Buffers(ready.layout.input_bytes, ready.layout.output_bytes, CPU)
        session = Here()
        session._harness._function = self._call
        asyncio.run(session.attach(buffers, 30.0))
        super().__init__(session, buffers, 30.0)  # type: ignore[arg-type]
        self.gpu, self._spoiled, self._spoil, self._timed = gpu, spoiled, spoil, -1

    @property
    def on_gpu(self) -> bool:
        return self.gpu

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        answer = torch.relu(x)
        if self._timed == self._spoiled:
            (x if self._spoil == "inputs" else answer).add_(1.0)
        return answer

    async def _exchange(self, keep: Keep, do: str, **payload: Any) -> Any:
        self._timed += do == "block" and not payload["watch"]

        def copied(memory: torch.Tensor) -> list[torch.Tensor]:
            return [kept.clone() for kept in keep(memory)]

        return await super()._exchange(copied if self.gpu else keep, do, **payload)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, all pairs are taken."""
    monkeypatch.setattr(interval, "PATIENCE_SECONDS", 1e6)


def timed(gpu: bool, spoiled: int = -1, spoil: str = "") -> None:
    """Raises CandidateFailed."""
    ready = bench.prepare(OPERATION, WORKLOAD, CPU, 1, bench.BLOCK_US["cpu"] / 2)
    assert ready is not None
    eager, candidate = Side(ready, gpu), Side(ready, gpu, spoiled, spoil)
    stage = TimingStage([eager], candidate, OPERATION, random.Random(4), 1e6)
    asyncio.run(stage._record(ready, Rehearsed(ready.calls, tunes=True), PAIRS))


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("pair", [0, 1, MOST_UNREAD - 1, MOST_UNREAD, PAIRS])
@pytest.mark.parametrize(
    ("spoil", "error"), [("answers", ErrorType.WRONG_VALUES), ("inputs", ErrorType.INPUT_MODIFIED)]
)
def test_one_spoiled_pair_is_found(gpu: bool, pair: int, spoil: str, error: ErrorType):
    with pytest.raises(CandidateFailed) as caught:
        timed(gpu, pair, spoil)
    assert caught.value.failure.error_type is error
    assert "timed" in caught.value.failure.message or "during timing" in caught.value.failure.message


@pytest.mark.parametrize("gpu", [True, False])
def test_every_pair_is_compared_once_and_on_a_gpu_several_at_a_time(
    gpu: bool, monkeypatch: pytest.MonkeyPatch
):
    compared: list[int] = []
    agree = spot_check.agree

    def counted(pairs: Any) -> torch.Tensor:
        compared.append(len(pairs))
        return agree(pairs)

    monkeypatch.setattr(spot_check, "agree", counted)
    timed(gpu)
    assert sum(compared) >= PAIRS + 1
    assert compared[0] == (MOST_UNREAD if gpu else 1)
    assert max(compared) == compared[0]
