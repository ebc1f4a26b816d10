"""Kernels for KernelBench problems and for operations that only tracing knows, judged for real on the CPU."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.operations.operation import Operation
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.source import source_hash
from BackendBench.vllm_backend.state.task import EvaluationTask
from BackendBench.vllm_backend.state.verdict import Verdict
from tests.adversarial.judging import Bench, running
from tests.commands import farm

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
GOOD = (EXAMPLES / "problem_kernel.py").read_text("utf-8")
LIBRARY = textwrap.dedent("""
    import torch
    from torch import nn

    class ModelNew(nn.Module):
        def __init__(self, width, scale):
            super().__init__()
            self.linear = nn.Linear(width, width)
            self.scale = scale

        def forward(self, x):
            x = self.linear(x)
            return x * torch.sigmoid(x) * self.scale
""")
DEG2RAD = textwrap.dedent("""
    import numba
    import torch

    @numba.njit
    def _convert(x, y):
        factor = x.dtype.type(0.017453292519943295)
        for i in range(x.size):
            y[i] = x[i] * factor

    def deg2rad_kernel_impl(self):
        x = self.contiguous()
        x = x if x.is_floating_point() else x.to(torch.float32)
        y = torch.empty_like(x)
        _convert(x.view(-1).numpy(), y.view(-1).numpy())
        return y
""")


@pytest.fixture(scope="module")
def problem() -> Operation:
    return catalog.resolve(str(EXAMPLES / "problem.py"))


@pytest.fixture(scope="module")
def judge() -> Iterator[Bench]:
    with running(JudgeSettings(target="cpu", timing="quick", concurrency=1, seed=5)) as bench:
        yield bench


def task_of(operation: Operation, code: str) -> EvaluationTask:
    digest = source_hash(code)
    return EvaluationTask(
        id=digest, run="test", operation=operation.name, code=code, hash=digest, dsl="numba", target="cpu",
        timestamp=time.time(),
    )  # fmt: skip


def verdict(bench: Bench, operation: Operation, code: str) -> Verdict:
    return bench.wait(bench.client.evaluate(task_of(operation, code), operation.source))


def test_the_example_is_accepted_and_timed_on_the_problems_own_input(
    judge: Bench, problem: Operation
) -> None:
    found = verdict(judge, problem, GOOD)
    assert found.correct, found.error
    assert [t.workload for t in found.timings] == ["problem 256x1024 float32"]
    assert found.label == ""


WRONG = {
    "scale forgotten": (("-total)) * scale", "-total))"), ErrorType.WRONG_VALUES),
    "parameters drawn otherwise": (
        ("nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))", "nn.init.ones_(self.weight)"),
        ErrorType.WRONG_VALUES,
    ),
    "constructor takes nothing": (("width: int, scale: float", "width: int"), ErrorType.IMPORT_ERROR),
    "forward returns two": (("return out\n", "return out, out\n"), ErrorType.WRONG_STRUCTURE),
    "an expanded output": (("return out\n", "return out[:1].expand_as(out)\n"), ErrorType.WRONG_STRIDES),
    "no ModelNew": (("class ModelNew", "class Model"), ErrorType.MISSING_FUNCTION),
}


@pytest.mark.parametrize("change", WRONG)
def test_wrong_candidates_of_a_problem_are_rejected(judge: Bench, problem: Operation, change: str) -> None:
    (old, new), error = WRONG[change]
    assert old in GOOD
    found = verdict(judge, problem, GOOD.replace(old, new))
    assert not found.correct
    assert found.error_type is error, found.error


def test_layers_that_are_kept_are_library_calls(judge: Bench, problem: Operation) -> None:
    found = verdict(judge, problem, LIBRARY)
    assert found.error_type is ErrorType.LIBRARY_CALL
    with running(
        JudgeSettings(target="cpu", timing="none", concurrency=1, allow_library_calls=True)
    ) as lenient:
        allowed = verdict(lenient, problem, LIBRARY)
    assert allowed.correct, allowed.error
    assert allowed.label == "library_call"


def test_eager_of_a_traced_operation_runs_in_the_sandbox_without_tracing(judge: Bench) -> None:
    found = verdict(judge, catalog.resolve("deg2rad"), DEG2RAD)
    assert found.correct, found.error
    assert found.timings and found.timings[0].eager_us > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either --operation OP or --problem FILE"),
        (("--operation", "relu", "--problem", str(EXAMPLES / "problem.py")), "either --operation"),
        (("--problem", "no/such.py"), "cannot read no/such.py"),
        (("--problem", str(EXAMPLES / "my_ops.py")), "defines no Model"),
        (("--operation", str(EXAMPLES / "problem.py")), "defines no ModelNew"),
    ],
)
def test_slips_of_the_user_are_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    file = tmp_path / "kernel.py"
    file.write_text("def relu_kernel_impl(x):\n    return x\n", "utf-8")
    assert farm("evaluate", str(file), *arguments, cwd=tmp_path).refused(message)
