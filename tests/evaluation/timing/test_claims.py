"""Times that no clock says, and what a result does when it goes."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
import torch

from BackendBench.vllm_backend.evaluation.candidate.harness import Harness
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, InfrastructureFault
from BackendBench.vllm_backend.evaluation.memory import shared_calls
from BackendBench.vllm_backend.evaluation.memory.arena import Attached
from BackendBench.vllm_backend.evaluation.processes.session import Session
from BackendBench.vllm_backend.evaluation.timing.lane import claims
from BackendBench.vllm_backend.operations.operation import Call
from BackendBench.vllm_backend.state.error_type import ErrorType


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "0", "-1", "1e308", "1e-320", "1" + "0" * 400]
)
def test_a_time_that_no_clock_says_is_tampering(text: str):
    with pytest.raises(CandidateFailed) as caught:
        claims(json.loads(f'{{"times_us": [5.0, {text}]}}'), 2, "w")
    assert caught.value.failure.error_type is ErrorType.CLOCK_TAMPERING


@pytest.mark.parametrize("times", [None, [], [5.0], [5.0, "5"], [5.0, None], {"0": 5.0, "1": 5.0}])
def test_times_of_another_form_are_a_violation(times: Any):
    with pytest.raises(CandidateFailed) as caught:
        claims({"times_us": times}, 2, "w")
    assert caught.value.failure.error_type is ErrorType.PROTOCOL_VIOLATION


def test_honest_times_are_taken_as_they_are():
    assert claims({"times_us": [5, 0.25]}, 2, "w") == [5.0, 0.25]


@pytest.mark.parametrize(("trusted", "error"), [(False, CandidateFailed), (True, InfrastructureFault)])
def test_of_eagers_process_nonsense_is_a_fault_and_no_verdict(trusted: bool, error: type[Exception]):
    loop = asyncio.new_event_loop()
    session = Session("", 0, socket.socket(), loop.create_future(), lambda: None)
    loop.close()
    session.trusted = trusted
    with pytest.raises(error), session.blamed():
        claims({"times_us": [0]}, 1, "w")


def test_what_a_result_does_when_it_goes_is_done_before_the_reply():
    happened: list[str] = []

    class Goes:
        def __del__(self) -> None:
            happened.append("gone")

    def kernel(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        y.note = Goes()  # type: ignore[attr-defined]
        return y

    layout = shared_calls.lay_out([(Call((torch.zeros(3),)), [torch.zeros(3)]) for _ in range(2)])
    harness = Harness(socket.socketpair()[0])
    harness._function = kernel
    for name, size in (("in", layout.input_bytes), ("out", layout.output_bytes)):
        harness._arenas[name] = Attached(torch.zeros(size, dtype=torch.uint8), lambda: None)
    request = {
        "calls": layout.request(), "flush_bytes": 0, "deliver_later": False, "watch": False, "forbidden": [],
        "untuned": None,
    }  # fmt: skip
    reply = harness._block(request, [])
    assert len(reply["results"]) == 2
    assert happened == ["gone", "gone"]
