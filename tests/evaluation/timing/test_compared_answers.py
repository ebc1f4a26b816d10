"""A wrong answer among those of many pairs is found, however late they are compared."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest
import torch

from BackendBench.vllm_backend.evaluation.candidate.harness import Harness
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed
from BackendBench.vllm_backend.evaluation.memory.arena import Attached
from BackendBench.vllm_backend.evaluation.memory.shared_calls import BlockInputs, Buffers
from BackendBench.vllm_backend.evaluation.timing import bench, interval, spot_check
from BackendBench.vllm_backend.evaluation.timing.bench import Bench
from BackendBench.vllm_backend.evaluation.timing.lane import Keep, Lane, Run, nothing
from BackendBench.vllm_backend.evaluation.timing.rehearsal import Rehearsed
from BackendBench.vllm_backend.evaluation.timing.stage import MOST_UNREAD, TimingStage
from BackendBench.vllm_backend.operations.operation import Call, Operation, Workload
from BackendBench.vllm_backend.state.error_type import ErrorType

CPU = torch.device("cpu")
WORKLOAD = Workload(
    "w", "nowhere", lambda device, generator: Call((torch.randn(999, generator=generator),)), 8000
)
OPERATION = Operation("relu", "", "(x)", torch.relu, lambda device, seed: [], lambda device: [WORKLOAD])
PAIRS = MOST_UNREAD + 3
"""Counted ones; one more comes before them."""


class Near:
    """A session whose process is this one."""

    stage, case_names, pid = "", (), os.getpid()

    def __init__(self, function: Callable[..., Any], buffers: Buffers) -> None:
        self._harness = Harness(socket.socketpair()[0])
        self._harness._function = function
        for name, side in (("in", buffers.inputs), ("out", buffers.outputs)):
            self._harness._arenas[name] = Attached(side.tensor, lambda: None)

    async def request(self, do: str, limit: float, **payload: Any) -> dict[str, Any]:
        """What a process would answer."""
        reply = self._harness._handlers[do](payload, [])
        assert "failure" not in reply, reply
        return {**reply, "threads": 0}  # those of this process are the judge's

    def signal(self, number: int) -> None:
        """It is this process."""

    def blamed(self) -> contextlib.nullcontext[None]:
        """Nobody is to blame."""
        return contextlib.nullcontext()


class Side(Lane):
    """A lane that spoils one of its timed blocks. ``gpu``: it is treated as a GPU's, so what is kept is copied."""

    def __init__(self, ready: Bench, gpu: bool, spoiled: int = -1, spoil: str = "") -> None:
        buffers = Buffers(ready.layout.input_bytes, ready.layout.output_bytes, CPU)
        super().__init__(Near(self._call, buffers), buffers, 30.0)  # type: ignore[arg-type]
        self.gpu, self._spoiled, self._spoil, self._timed = gpu, spoiled, spoil, -1

    @property
    def on_gpu(self) -> bool:
        return self.gpu

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        answer = torch.relu(x)
        if self._timed == self._spoiled:
            (x if self._spoil == "inputs" else answer).add_(1.0)
        return answer

    async def run(
        self,
        bench: Bench,
        inputs: BlockInputs,
        count: int,
        keep: Keep = nothing,
        stage: str = "timing",
        watch: bool = False,
        untuned: int | None = None,
        hold_us: float | None = None,
    ) -> Run:
        self._timed += not watch

        def copied(memory: torch.Tensor) -> list[torch.Tensor]:
            return [kept.clone() for kept in keep(memory)]

        keep_so = copied if self.gpu else keep
        return await super().run(bench, inputs, count, keep_so, stage, watch, untuned, hold_us)


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
