"""What a candidate is asked on its way through the correctness cases, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import torch

from BackendBench.vllm_backend.evaluation.correctness import case_plan
from BackendBench.vllm_backend.evaluation.correctness import stage as correctness_stage
from BackendBench.vllm_backend.evaluation.correctness.reference_pool import Prepared
from BackendBench.vllm_backend.evaluation.correctness.stage import CorrectnessStage, Floor
from BackendBench.vllm_backend.evaluation.doubt import Hints, most_tries
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed
from BackendBench.vllm_backend.evaluation.memory.arena import Attached
from BackendBench.vllm_backend.evaluation.memory.shared_calls import Buffers
from BackendBench.vllm_backend.evaluation.resources.compiler_places import CompilerPlaces
from BackendBench.vllm_backend.evaluation.resources.device_lock import DeviceLock, Process
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.evaluation.timing import bench
from BackendBench.vllm_backend.evaluation.trial import Examination, Trial
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.task import EvaluationTask
from tests.evaluation.here import Here

CPU = torch.device("cpu")


def examined(
    code: str,
    again: bool = False,
    lock: DeviceLock | None = None,
    session: Here | None = None,
    trial: Trial | None = None,
    around: Callable[[Awaitable[None], DeviceLock], Awaitable[None]] | None = None,
    gpu: dict[str, int] | None = None,
) -> Here:
    """A candidate of relu on its way, as on a GPU but for the device. Raises CandidateFailed."""
    operation = catalog.resolve("relu")
    plan = case_plan.prepare(operation, CPU, 1)
    task = EvaluationTask(
        id="a", run="r", operation="relu", code=code, hash="h", dsl="triton" if gpu else "cuda", target="cuda",
        model="m", timestamp=time.time(),
    )  # fmt: skip
    settings = JudgeSettings(target="cuda", allow_library_calls=True)
    floor = Floor(lock or DeviceLock(), CompilerPlaces(2), "cuda")
    stage = CorrectnessStage(settings, CPU, floor, random.Random(0))
    session, trial = session or Here(), trial or Trial()
    trial.again = again
    buffers = Buffers(*plan.room, CPU)
    prepared = Prepared(operation, plan, [], [])
    one = Examination(session, buffers, task, prepared, trial, "")  # type: ignore[arg-type]

    async def run() -> None:
        progress = await stage.begin(one, gpu)
        assert progress is not None
        await stage.run(one, progress)

    asyncio.run(around(run(), floor.lock) if around else run())
    assert trial.passed == plan.total
    return session


RIGHT = "import torch\ndef relu_kernel_impl(x):\n    return torch.clamp(x, min=0)\n"


class Bare(Here):
    """Has no context, and says of the first call that it returned this."""

    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        self.output = {
            "shape": shape,
            "dtype": "float32",
            "stride": [1] * len(shape),
            "device": "cpu",
            "plain": True,
        }
        self.output |= {"aliases_input": False, "aliases_output": False}

    async def request(self, do: str, limit: float, **payload: Any) -> dict[str, Any]:
        if do != "dry_run":
            return await super().request(do, limit, **{**payload, "bare": False})
        return {"results": [{"structure": "tensors", "outputs": [self.output]}] * payload["needed"]}


def test_whose_first_case_has_another_shape_is_refused_before_it_has_a_context():
    trial = Trial()
    with pytest.raises(CandidateFailed) as refusal:
        examined(RIGHT, session=Bare([7]), trial=trial, gpu={"capability": 90})
    plan = case_plan.prepare(catalog.resolve("relu"), CPU, 1)
    first = plan.chunks[0].cases[0]
    assert refusal.value.failure.error_type is ErrorType.WRONG_SHAPE
    assert refusal.value.failure.case == first.name
    assert (trial.passed, trial.total) == (0, plan.total)


class Watched(DeviceLock):
    """Says how it was used."""

    def __init__(self) -> None:
        super().__init__()
        self.used: list[str] = []

    @asynccontextmanager
    async def shared(self, process: Process | None = None) -> AsyncIterator[None]:
        async with super().shared(process):
            self.used.append("shared")
            yield

    @asynccontextmanager
    async def exclusive(self, timed: bool = False) -> AsyncIterator[None]:
        async with super().exclusive(timed):
            self.used.append("exclusive")
            yield


def test_who_failed_for_what_may_have_been_anothers_doing_has_the_device_alone_for_the_first_cases():
    once, again = Watched(), Watched()
    examined(RIGHT, lock=once)
    examined(RIGHT, again=True, lock=again)
    assert set(once.used) == {"shared"}
    assert again.used == ["exclusive", *once.used[1:]]


class Slow(Here):
    """Answers the first cases only when so many seconds have passed."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.answer = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def request(self, do: str, limit: float, **payload: Any) -> dict[str, Any]:
        if do == "run":
            self.loop = asyncio.get_running_loop()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.answer.wait(), self.seconds)
            self.seconds = 0.0
        return await super().request(do, limit, **payload)


@pytest.mark.parametrize(("seconds", "busy"), [(0.15, True), (0.15, False), (0.3, False), (0.6, False)])
def test_who_answers_the_first_cases_late_is_waited_for(
    seconds: float, busy: bool, monkeypatch: pytest.MonkeyPatch
):
    hurry(monkeypatch)
    monkeypatch.setattr(correctness_stage, "is_quiet", lambda device: not busy)
    session = Slow(seconds)
    examined(RIGHT, session=session)
    assert not session.killed


def test_an_answer_that_comes_while_the_device_is_looked_at_counts(monkeypatch: pytest.MonkeyPatch):
    session = Slow(3600.0)
    hurry(monkeypatch)
    looks: list[None] = []

    def busy(device: torch.device) -> bool:
        looks.append(None)
        if len(looks) == correctness_stage.BUSY_LOOKS:
            assert session.loop is not None
            session.loop.call_soon_threadsafe(session.answer.set)
            time.sleep(0.1)
        return False

    monkeypatch.setattr(correctness_stage, "is_quiet", busy)
    examined(RIGHT, session=session)
    assert (len(looks), session.killed) == (correctness_stage.BUSY_LOOKS, False)


@pytest.mark.parametrize(
    ("busy", "after", "believed"),
    [
        ([True], False, True),
        ([True], True, False),
        ([False], False, False),
        ([True] * 5 + [False], False, False),
    ],
)
def test_a_hang_is_believed_where_the_device_is_busy_until_the_candidate_is_gone(
    busy: list[bool], after: bool, believed: bool, monkeypatch: pytest.MonkeyPatch
):
    session, trial = Slow(3600.0), Trial()
    hurry(monkeypatch)
    looks = itertools.cycle(busy)
    monkeypatch.setattr(
        correctness_stage, "is_quiet", lambda device: not (after if session.is_gone else next(looks))
    )
    with pytest.raises(CandidateFailed) as caught:
        examined(RIGHT, session=session, trial=trial)
    assert caught.value.failure.error_type is ErrorType.TIMEOUT
    assert trial.hurried is not believed
    assert most_tries(ErrorType.TIMEOUT, Hints(trial.hurried), "cuda") == (1 if believed else 2)


def test_who_is_not_the_only_one_there_is_not_believed_to_hang(monkeypatch: pytest.MonkeyPatch):
    session, trial = Slow(3600.0), Trial()
    hurry(monkeypatch)
    monkeypatch.setattr(correctness_stage, "is_quiet", lambda device: session.is_gone)

    async def beside_another(run: Awaitable[None], lock: DeviceLock) -> None:
        async with lock.shared():
            await run

    with pytest.raises(CandidateFailed):
        examined(RIGHT, session=session, trial=trial, lock=DeviceLock(sole=0.1), around=beside_another)
    assert trial.hurried


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short limits."""
    monkeypatch.setattr(correctness_stage, "FIRST_CASES_SECONDS", 0.1)
    monkeypatch.setattr(correctness_stage, "ALONE_SECONDS", 0.1)
    monkeypatch.setattr(correctness_stage, "STUCK_SECONDS", 0.8)
    monkeypatch.setattr(correctness_stage, "BUSY_LOOKS", 20)
    monkeypatch.setattr(correctness_stage, "LOOK_SECONDS", 0.01)


@pytest.mark.parametrize("settled", [True, False])
def test_an_error_that_may_be_an_earlier_calls_has_no_case(settled: bool):
    """Here as the harness has it where a GPU is found broken when it is waited for."""
    session = Here()
    session._harness._function = lambda x: 1 / 0
    operation = catalog.resolve("relu")
    chunk = case_plan.prepare(operation, CPU, 1).chunks[0]
    session._harness._arenas["in"] = Attached(torch.zeros(1 << 20, dtype=torch.uint8), lambda: None)
    payload = {
        "calls": chunk.layout.request(),
        "forbidden": [],
        "turns": [0] * len(chunk.cases),
        "settled": settled,
    }
    own: dict[str, Any] = session._harness._run(payload, [])
    assert own["failed_at"] == 0

    def broken() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    session._harness._synchronize = broken  # type: ignore[method-assign]
    earlier: dict[str, Any] = session._harness._run(payload, [])
    assert ("failed_at" in earlier) is settled


LATE = """
import torch
calls = 0
def relu_kernel_impl(x):
    global calls
    calls += 1
    y = torch.clamp(x, min=0)
    return y + 1 if calls == {call} else y
"""


@pytest.mark.parametrize("again", [False, True])
def test_many_calls_are_waited_for_once_but_the_first_ones_and_those_of_a_second_examination(again: bool):
    asked = examined(RIGHT, again).asked
    assert all(limit > 10 for limit, _, _ in asked)
    assert [settled for _, _, settled in asked] == [True] + [again] * (len(asked) - 2) + [False]
    assert asked[-1][1] > 100


@pytest.mark.parametrize("call", [60, 121, 197])
def test_one_wrong_answer_among_many_is_found(call: int):
    """With a few secret ones of these calls compared, hardly one of them was."""
    with pytest.raises(CandidateFailed) as caught:
        examined(LATE.format(call=call))
    assert caught.value.failure.error_type is ErrorType.WRONG_VALUES
    assert "again and again" in caught.value.failure.message


def test_the_time_for_which_a_process_was_stopped_does_not_count():
    class StoppedForLong(Here):
        async def attach(self, buffers: Buffers, limit: float) -> None:
            await super().attach(buffers, limit)
            self.rested += 1000.0

    trial = Trial()
    session = examined(RIGHT, session=StoppedForLong(), trial=trial)
    assert session.asked[0][0] > 1000.0
    assert trial.seconds["wait"] >= 1000.0
    assert sum(trial.seconds.values()) < 1000.0


@pytest.mark.parametrize(("timing", "compiled"), [("full", 2), ("quick", 1), ("none", 0)])
def test_only_workloads_that_are_timed_are_compiled(timing: str, compiled: int):
    operation = catalog.resolve("relu")
    made = [bench.prepare(operation, work, CPU, 1, 1000.0) for work in operation.make_workloads(CPU)]
    benches = [ready for ready in made if ready is not None][:2]
    settings = JudgeSettings(target="cuda", timing=timing)  # type: ignore[arg-type]
    stage = CorrectnessStage(settings, CPU, Floor(DeviceLock(), CompilerPlaces(2), "cuda"), random.Random(0))
    task = EvaluationTask(
        id="a", run="r", operation="relu", code=RIGHT, hash="h", dsl="triton", target="cuda", model="m",
        timestamp=time.time(),
    )  # fmt: skip
    prepared = Prepared(operation, case_plan.prepare(operation, CPU, 1), benches, [])
    one = Examination(Here(), None, task, prepared, Trial(), "")  # type: ignore[arg-type]
    progress = asyncio.run(stage.begin(one))
    assert progress is not None
    names = {ready.workload.name for ready in benches}
    assert sum(call.name in names for call in progress.calls) == compiled
