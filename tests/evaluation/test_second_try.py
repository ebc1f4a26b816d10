"""Which failures of a candidate are believed at once, and which only from a second process."""

from __future__ import annotations

import asyncio

import pytest

from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, Failure
from BackendBench.vllm_backend.evaluation.judge import Judge
from BackendBench.vllm_backend.evaluation.trial import Trial
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.task import EvaluationTask

TASK = EvaluationTask(
    id="r/relu/0:0", run="r", operation="relu", code="", hash="0", dsl="triton", target="cuda"
)


class Rehearsed(Judge):
    """Its examinations end as they are told to, and every one is fine after the last of them."""

    def __init__(self, *ends: tuple[ErrorType, bool]) -> None:
        self.ends = list(ends)
        self.tries = 0

    async def _try(self, task: EvaluationTask, source: str, trial: Trial) -> Failure | None:
        self.tries += 1
        if not self.ends:
            return None
        error, hurried = self.ends.pop(0)
        trial.hurried, trial.passed = hurried, 3
        raise CandidateFailed(Failure(error, "rehearsed"))


def tried(*ends: tuple[ErrorType, bool]) -> tuple[int, ErrorType | None]:
    """How often it was examined, and what came of it."""
    judge = Rehearsed(*ends)
    try:
        failure = asyncio.run(judge._try_twice(TASK, "", Trial()))
    except CandidateFailed as error:
        failure = error.failure
    return judge.tries, failure.error_type if failure else None


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
