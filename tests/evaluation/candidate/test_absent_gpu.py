"""Compiling before there is a context: the same kernels, and nothing that is believed for the wrong reason."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from BackendBench.vllm_backend.evaluation.candidate import absent_gpu
from BackendBench.vllm_backend.evaluation.correctness import case_plan, outputs
from BackendBench.vllm_backend.evaluation.correctness.case_plan import Chunk
from BackendBench.vllm_backend.evaluation.correctness.compiling import MENDED_BY_A_CONTEXT, returned
from BackendBench.vllm_backend.evaluation.correctness.progress import Progress
from BackendBench.vllm_backend.evaluation.correctness.stage import refuse_what_it_returns
from BackendBench.vllm_backend.evaluation.correctness.steps import Step
from BackendBench.vllm_backend.evaluation.failure import CandidateFailed, from_exception
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.state.error_type import ErrorType

pytest.importorskip("triton")

OPERATIONS = ("relu", "add", "softmax", "matmul", "where", "mean", "layer_norm")


@cache
def first_chunk(operation: str) -> Chunk:
    return case_plan.prepare(catalog.resolve(operation), torch.device("cpu"), 1).chunks[0]


def on_this_device(reply: dict[str, Any]) -> dict[str, Any]:
    """As if the answers that these are held against were a GPU's."""
    text = json.dumps(reply)
    assert '"cpu"' not in text
    result: dict[str, Any] = json.loads(text.replace('"cuda"', '"cpu"'))
    return result


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.evaluation.candidate.compiled_without_gpu", *OPERATIONS],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_kernels_are_those_that_real_tensors_need(found: dict[str, Any], operation: str):
    absent = found["absent"][operation]
    assert absent["kernels"]
    assert absent["kernels"] == found["present"][operation]["kernels"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_right_kernel_returns_is_known_without_memory(found: dict[str, Any], operation: str):
    cases = first_chunk(operation).cases
    described = on_this_device(found["absent"][operation])
    assert "results" not in found["present"][operation]
    assert len(described["results"]) == len(cases)
    assert [outputs.contract(described, n, case.expected) for n, case in enumerate(cases)] == [None] * len(
        cases
    )


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("plain", None),
        ("returns another shape", ErrorType.WRONG_SHAPE),
        ("returns another dtype", ErrorType.WRONG_DTYPE),
        ("returns its input", ErrorType.ALIASED_OUTPUT),
        ("returns nothing", ErrorType.WRONG_STRUCTURE),
        ("returns two", ErrorType.WRONG_STRUCTURE),
        ("returns an expanded tensor", ErrorType.WRONG_STRIDES),
    ],
)
def test_what_a_wrong_kernel_returns_is_told_as_it_will_be(
    found: dict[str, Any], module: str, expected: ErrorType | None
):
    described = on_this_device(found["modules"][module])
    failure = outputs.contract(described, 0, first_chunk("relu").cases[0].expected)
    assert (failure and failure.error_type) == expected


def test_nothing_is_said_where_the_wrapper_was_refused_a_value(found: dict[str, Any]):
    assert set(found["modules"]["guesses where it gets no value"]) == {"kernels"}


@pytest.mark.parametrize(
    "entry", [3, {}, {"structure": "tensors", "outputs": [{}]}, {"structure": "tensors", "outputs": 7}]
)
def test_a_malformed_description_is_no_description(entry: Any):
    left = Progress(0.0, 1.0, steps=[Step([first_chunk("relu")])], returned=[entry])
    with pytest.raises(CandidateFailed) as refusal:
        refuse_what_it_returns(left)
    assert refusal.value.failure.error_type is ErrorType.PROTOCOL_VIOLATION


def test_a_stride_that_is_infinite_is_no_stride():
    output = {
        "shape": [2, 3],
        "dtype": "float32",
        "stride": [float("inf"), 1],
        "device": "cpu",
        "plain": True,
    }
    reply = {"results": [{"structure": "tensors", "outputs": [output]}]}
    failure = outputs.contract(reply, 0, [torch.empty(2, 3)])
    assert failure is not None and failure.error_type is ErrorType.PROTOCOL_VIOLATION


def test_nothing_is_said_of_tensors_with_memory(found: dict[str, Any]):
    assert set(found["modules"]["returns a constant"]["results"]) == {None}


@pytest.mark.parametrize(
    ("number", "wrong", "refused"),
    [(0, {"dtype": "float64"}, True), (1, {"dtype": "float64"}, False), (0, None, False), (0, {}, False)],
)
def test_only_the_first_case_settles_it_without_a_gpu(
    found: dict[str, Any], number: int, wrong: dict[str, Any] | None, refused: bool
):
    chunk = first_chunk("relu")
    returned = list(on_this_device(found["modules"]["plain"])["results"])
    if wrong is None:
        returned[number] = None
    else:
        (output,) = returned[number]["outputs"]
        returned[number] = {**returned[number], "outputs": [{**output, **wrong}]}
    left = Progress(0.0, 1.0, steps=[Step([chunk])], returned=returned)
    if not refused:
        refuse_what_it_returns(left)
        return
    with pytest.raises(CandidateFailed) as refusal:
        refuse_what_it_returns(left)
    assert refusal.value.failure.case == chunk.cases[0].name
    left.compiled = False  # it begins anew
    refuse_what_it_returns(left)


@pytest.mark.parametrize("reply", [{}, {"results": 3}, {"results": [1]}, {"results": [1, 2, 3]}])
def test_a_description_of_another_number_of_calls_says_nothing(reply: dict[str, Any]):
    assert returned(reply, 2) == [None, None]


@pytest.mark.parametrize("module", ["does not compile", "is tuned and does not compile"])
def test_a_kernel_that_does_not_compile_is_told_by_the_compilers_word(found: dict[str, Any], module: str):
    failure = found["modules"][module]["failure"]
    assert failure["type"] == "CompilationError"
    assert "lood" in failure["message"]


@pytest.mark.parametrize("module", ["plain", "tells tensors by their addresses", "enters the only GPU"])
def test_who_keeps_nothing_of_what_is_pretended_goes_on(found: dict[str, Any], module: str):
    assert set(found["modules"][module]) == {"kernels", "results"}


@pytest.mark.parametrize(
    "module",
    [
        "keeps a workspace", "keeps a figure", "keeps the driver", "keeps a storage", "asks for the GPU in a call",
        "asks for the GPU when loaded", "makes a stream",
    ],
)  # fmt: skip
def test_who_keeps_something_or_asks_for_a_gpu_begins_anew(found: dict[str, Any], module: str):
    assert found["modules"][module]["anew"] is True
    assert "failure" not in found["modules"][module]


def test_a_module_that_does_not_load_is_told_by_what_it_raised(found: dict[str, Any]):
    failure = from_exception(found["modules"]["fails when loaded"]["failure"])
    assert failure.error_type is ErrorType.IMPORT_ERROR


def test_who_fills_the_memory_ends_and_may_try_a_real_one(found: dict[str, Any]):
    failure = from_exception(found["modules"]["fills the memory"]["failure"])
    assert failure.error_type is ErrorType.OUT_OF_MEMORY
    assert failure.error_type in MENDED_BY_A_CONTEXT


@pytest.mark.parametrize("module", ["asks for a value", "asks the driver"])
def test_what_only_a_real_gpu_answers_is_no_complaint_of_the_compilers(found: dict[str, Any], module: str):
    assert found["modules"][module]["failure"]["type"] not in ("CompilationError", "OutOfResources")


def test_nobody_has_asked_for_the_real_driver(found: dict[str, Any]):
    assert found["before"]
    assert found["after"]


def test_nothing_is_left_as_it_was_not():
    before = torch.Tensor.data_ptr
    with absent_gpu.absent(dict.fromkeys(("capability", "warpSize"), 32)):
        tensor = torch.empty(1000, device="cuda")
        assert tensor.as_strided((9,), (1,), 3).data_ptr() - tensor.data_ptr() == 12
        assert tensor.data_ptr() % 512 == 0
    assert "data_ptr" not in vars(FakeTensor)
    assert torch.Tensor.data_ptr is before
    assert absent_gpu.some_kept()
    del tensor
    assert not absent_gpu.some_kept()
    assert type(torch.empty(1)) is torch.Tensor


ASLEEP = """
import json
import torch
from cuda.bindings import driver
from tests.evaluation.candidate.compiled_without_gpu import MODULES, compiled
from tests.pretended_driver import HOPPER

place = [0, [7, 9], [9, 1], "float32"]
request = {"call": {"args": [{"t": 0}], "kwargs": {}}, "in": [place], "out": [place]}
reply = compiled("relu", MODULES["plain"], [request], HOPPER)
assert reply["kernels"], reply
error, _ = driver.cuDeviceGetCount()
found = [error == driver.CUresult.CUDA_ERROR_NOT_INITIALIZED]
torch.zeros(1, device="cuda")
error, _ = driver.cuDeviceGetCount()
found.append(error == driver.CUresult.CUDA_SUCCESS)
print(json.dumps(found))
"""


@pytest.mark.gpu
def test_cudas_driver_is_not_woken_where_there_is_a_gpu():
    done = subprocess.run(
        [sys.executable, "-c", ASLEEP], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.strip().splitlines()[-1]) == [True, True]
