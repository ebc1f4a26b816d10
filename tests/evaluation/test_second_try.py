"""Which failures of a candidate are believed at once, and which only from a second process."""

from __future__ import annotations

import asyncio

import pytest
import torch

from BackendBench.vllm_backend.evaluation.doubt import Hints, most_tries
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, Failure, InfrastructureFault
from BackendBench.vllm_backend.evaluation.judge import Judge
from BackendBench.vllm_backend.evaluation.memory.arena import CudaError
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.evaluation.timing import roofline
from BackendBench.vllm_backend.evaluation.trial import Trial
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.task import EvaluationTask, Target

TASK = EvaluationTask(
    id="r/relu/0:0", run="r", operation="relu", code="", hash="0", dsl="triton", target="cuda"
)


class Rehearsed(Judge):
    """Its examinations end as they are told to, and every one is fine after the last of them."""

    def __init__(self, target: Target, *ends: tuple[ErrorType, bool] | Exception) -> None:
        self.settings = JudgeSettings(target=target)
        self.device = torch.device(target)
        self.ends = list(ends)
        self.tries = self.rooms = 0

    async def _try(self, task: EvaluationTask, source: str, trial: Trial) -> Failure | None:
        self.tries += 1
        if not self.ends:
            return None
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        trial.hurried = trial.unplaced = end[1]
        self.began_with = trial.kernels
        trial.passed, trial.kernels = 3, b"of the first process"
        raise CandidateFailed(Failure(end[0], "rehearsed"))

    async def _make_room(self) -> None:
        self.rooms += 1


def tried(*ends: tuple[ErrorType, bool], target: Target = "cpu") -> tuple[int, ErrorType | None]:
    """How often it was examined, and what came of it."""
    judge = Rehearsed(target, *ends)
    try:
        failure = asyncio.run(judge._try_until_believed(TASK, "", Trial()))
    except CandidateFailed as error:
        failure = error.failure
    return judge.tries, failure.error_type if failure else None


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 196.00 MiB"),
    CudaError("the CUDA driver answered CUDA_ERROR_OUT_OF_MEMORY"),
    InfrastructureFault("eager's process failed: OutOfMemoryError: CUDA out of memory."),
]


def test_who_is_examined_again_compiles_again():
    judge = Rehearsed("cpu", *[(ErrorType.CRASH, False)] * 2)
    with pytest.raises(CandidateFailed):
        asyncio.run(judge._try_until_believed(TASK, "", Trial()))
    assert (judge.tries, judge.began_with) == (2, b"")


@pytest.mark.parametrize("error", FULL)
def test_a_gpu_that_is_full_is_waited_for_and_is_nobodys_failure(error: Exception):
    judge = Rehearsed("cuda", error, error, error)
    assert asyncio.run(judge._try_until_believed(TASK, "", Trial())) is None
    assert (judge.tries, judge.rooms) == (4, 3)
    judge = Rehearsed("cuda", *[error] * 9)
    with pytest.raises(InfrastructureFault, match="full"):
        asyncio.run(judge._try_until_believed(TASK, "", Trial()))
    assert judge.tries == 4


def test_other_faults_are_not_waited_for():
    for target, error in (("cuda", InfrastructureFault("the warm server died")), ("cpu", FULL[0])):
        judge = Rehearsed(target, error)  # type: ignore[arg-type]
        with pytest.raises(type(error)):
            asyncio.run(judge._try_until_believed(TASK, "", Trial()))
        assert (judge.tries, judge.rooms) == (1, 0)


class Pool:
    """Of processes, as far as the end of an evaluation asks."""

    def __init__(self, broken: bool) -> None:
        self.broken = broken


@pytest.mark.parametrize("error", [ErrorType.TIMEOUT, ErrorType.WRONG_VALUES])
def test_no_failure_is_believed_once_nobody_wakes_or_ends_processes_any_more(error: ErrorType):
    judge = Rehearsed("cpu", *[(error, False)] * 9)
    judge._pool = Pool(broken=True)  # type: ignore[assignment]
    with pytest.raises(InfrastructureFault, match="warm server"):
        asyncio.run(judge.evaluate(TASK))
    judge = Rehearsed("cpu", *[(error, False)] * 9)
    judge._pool = Pool(broken=False)  # type: ignore[assignment]
    judge.threads, judge.ceilings = 1, roofline.measure(judge.device)
    assert asyncio.run(judge.evaluate(TASK)).error_type is error


@pytest.mark.parametrize(("times", "believed"), [(1, None), (3, None), (4, ErrorType.OUT_OF_MEMORY)])
def test_who_runs_out_of_a_gpus_memory_is_believed_only_when_there_was_room(
    times: int, believed: ErrorType | None
):
    found = tried(*[(ErrorType.OUT_OF_MEMORY, False)] * times, target="cuda")
    assert found == (min(4, times + 1), believed)


@pytest.mark.parametrize("error", [ErrorType.CRASH, ErrorType.OUT_OF_MEMORY, ErrorType.CLOCK_TAMPERING])
def test_what_the_machine_may_have_done_is_tried_again(error):
    assert tried((error, False)) == (2, None)
    assert tried((error, False), (error, False)) == (2, error)


def test_a_time_out_is_tried_again_only_where_the_limit_was_short():
    assert tried((ErrorType.TIMEOUT, True)) == (2, None)
    assert tried((ErrorType.TIMEOUT, True), (ErrorType.TIMEOUT, True)) == (2, ErrorType.TIMEOUT)
    assert tried((ErrorType.TIMEOUT, False)) == (1, ErrorType.TIMEOUT)


def test_a_wrong_value_is_believed_at_once_whatever_the_limit():
    assert tried((ErrorType.WRONG_VALUES, True)) == (1, ErrorType.WRONG_VALUES)


@pytest.mark.parametrize("error", [ErrorType.RUNTIME_ERROR, ErrorType.ILLEGAL_MEMORY_ACCESS])
def test_an_error_of_a_gpu_that_is_no_cases_is_looked_for_a_second_time(error):
    assert tried((error, True), (error, False)) == (2, error)
    assert tried((error, False)) == (1, error)
    assert most_tries(error, Hints(unplaced=True), "cuda") == 2
    assert most_tries(error, Hints(hurried=True), "cuda") == 1
