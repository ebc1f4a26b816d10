"""Calls too large to be kept: drawn for every trial, compared in slices, accuracy judged on secret rows.

What counts as huge is a size, so the tests lower that size; everything else is real.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from BackendBench.vllm_backend.evaluation.correctness import case_plan, huge, outputs
from BackendBench.vllm_backend.evaluation.judge import Judge
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.evaluation.timing import huge_bench
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.operations.operation import Call, Operation
from BackendBench.vllm_backend.state.error_type import ErrorType
from tests.evaluation.test_own_operations import EXAMPLES, GOOD, LIBRARY, task_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_is_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge, "HUGE_BYTES", 1 << 20)
    monkeypatch.setitem(huge.CASE_BYTES, "cpu", 1 << 20)
    monkeypatch.setitem(huge.SAMPLE_BYTES, "cpu", 1 << 18)
    monkeypatch.setattr(huge, "SLICE", 10_007)


def operation(function: Callable[..., Any]) -> Operation:
    return Operation("op", "", "(x)", function, lambda device, seed: [], lambda device: [])


def answered(function: Callable[..., Any], *args: Any) -> tuple[Operation, huge.Answer, list[torch.Tensor]]:
    op, call = operation(function), Call(args)
    result = function(*args)
    expected = [result] if isinstance(result, torch.Tensor) else list(result)
    return op, huge.answer(op, call, expected, random.Random(3)), expected


X = torch.randn(300, 700, generator=torch.Generator().manual_seed(1))
SEPARABLE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "softmax over columns": (lambda x: torch.softmax(x, 1), (X,)),
    "two inputs": (torch.mul, (X, X + 1)),
    "square product": (torch.matmul, (X[:, :300].contiguous(), X[:300, :300].contiguous())),
    "sum over columns": (lambda x: x.sum(1), (X,)),
    "two outputs": (lambda x: x.sort(1), (X,)),
}
INSEPARABLE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "softmax over rows": (lambda x: torch.softmax(x, 0), (X,)),
    "sum of all": (torch.sum, (X,)),
    "cumulative sum": (lambda x: x.cumsum(0), (X,)),
}


@pytest.mark.parametrize("name", SEPARABLE)
def test_rows_stand_for_the_whole_where_eager_agrees(name: str) -> None:
    function, args = SEPARABLE[name]
    op, answer, expected = answered(function, *args)
    assert answer.rows is not None
    assert answer.reference.outputs is not None
    assert outputs.compare(op, [e.clone() for e in expected], expected, answer) is None


@pytest.mark.parametrize("name", INSEPARABLE)
def test_rows_stand_for_nothing_where_they_depend_on_each_other(name: str) -> None:
    function, args = INSEPARABLE[name]
    op, answer, expected = answered(function, *args)
    assert answer.rows is None
    assert outputs.compare(op, [e.clone() for e in expected], expected, answer) is None


@pytest.mark.parametrize("position", [0, 10_006, 10_007, 123_456, X.numel() - 1])
@pytest.mark.parametrize("function", [lambda x: torch.softmax(x, 1), lambda x: torch.softmax(x, 0)])
def test_one_wrong_element_anywhere_is_found_and_named(function: Callable[..., Any], position: int) -> None:
    op, answer, expected = answered(function, X)
    wrong = expected[0].clone()
    wrong.view(-1)[position] = 0.5
    found = outputs.compare(op, [wrong], expected, answer)
    assert found is not None and found.error_type is ErrorType.WRONG_VALUES
    assert str([position // 700, position % 700]) in found.message


def test_a_nan_is_found() -> None:
    op, answer, expected = answered(lambda x: torch.softmax(x, 1), X)
    wrong = expected[0].clone()
    wrong[299, 699] = float("nan")
    found = outputs.compare(op, [wrong], expected, answer)
    assert found is not None and "[299, 699] is nan" in found.message


def test_a_silent_loss_of_precision_is_found_on_the_rows() -> None:
    op, answer, expected = answered(lambda x: torch.exp(x), X)
    rounded = torch.exp(X.to(torch.bfloat16).float() * (1 - 2**-9))
    close = torch.exp(X) * (1 + 2e-4)  # within the rough comparison, far beyond float32
    assert outputs.compare(op, [rounded], expected, answer) is not None
    found = outputs.compare(op, [close], expected, answer)
    assert found is not None and found.error_type is ErrorType.LOW_PRECISION


def test_every_trial_has_values_of_its_own_and_nothing_is_kept() -> None:
    problem = catalog.resolve(str(EXAMPLES / "problem.py"))
    plan = case_plan.prepare(problem, CPU, 1)
    assert plan.total >= huge.TRIALS
    assert all(chunk.huge and not chunk.cases[0].inputs for chunk in plan.chunks)
    first, second = (case_plan.fresh(problem, plan.chunks[0], CPU, s, random.Random(s)) for s in (5, 6))
    assert not torch.equal(first.cases[0].inputs[0], second.cases[0].inputs[0])
    assert first.cases[0].inputs[0].shape == second.cases[0].inputs[0].shape
    (work,) = problem.make_workloads(CPU)
    bench = huge_bench.prepare(problem, work, CPU, 1, 1.0)
    assert bench is not None and bench.calls == 1
    one, two = bench.fresh(random.Random(1), 1), bench.fresh(random.Random(2), 1)
    assert not torch.equal(one.tensors[0][0], two.tensors[0][0])
    first = bench.first()
    produced = problem.reference(*first.inputs.tensors[0])
    assert bench.failure(problem, first, [produced]) is None
    last = bench.last(random.Random(3), 1)
    found = bench.failure(problem, last, [produced])  # the answer to other inputs
    assert found is not None and found.error_type is ErrorType.WRONG_VALUES


@pytest.fixture
def judge() -> Iterator[Callable[[str], Any]]:
    loop = asyncio.new_event_loop()
    made = Judge(JudgeSettings(target="cpu", timing="quick", concurrency=1))
    loop.run_until_complete(made.start())
    problem = catalog.resolve(str(EXAMPLES / "problem.py"))
    yield lambda code: loop.run_until_complete(made.evaluate(task_of(problem, code), problem.source))
    loop.run_until_complete(made.close())
    loop.close()


def test_huge_problems_are_judged_from_end_to_end(judge: Callable[[str], Any]) -> None:
    found = judge(GOOD)
    assert found.correct, found.error
    assert found.cases_passed == found.cases_total >= huge.TRIALS
    assert found.timings[0].candidate_us > 0
    # Right for the first inputs that it sees, stale for all others.
    stale = GOOD.replace("x = x.contiguous()", "self.kept = x = getattr(self, 'kept', x.clone())")
    found = judge(stale)
    assert found.error_type is ErrorType.WRONG_VALUES, found.error
    assert found.cases_passed == 1
    assert judge(LIBRARY).error_type is ErrorType.LIBRARY_CALL
