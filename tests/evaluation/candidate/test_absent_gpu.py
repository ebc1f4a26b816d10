"""Compiling before there is a context: the same kernels, and nothing that is believed for the wrong reason."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from BackendBench.vllm_backend.evaluation.candidate import absent_gpu
from BackendBench.vllm_backend.evaluation.correctness.compiling import MENDED_BY_A_CONTEXT
from BackendBench.vllm_backend.evaluation.failure import from_exception
from BackendBench.vllm_backend.state.error_type import ErrorType

pytest.importorskip("triton")

OPERATIONS = ("relu", "add", "softmax", "matmul", "where", "mean", "layer_norm")


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
    assert absent == found["present"][operation]


@pytest.mark.parametrize("module", ["does not compile", "is tuned and does not compile"])
def test_a_kernel_that_does_not_compile_is_told_by_the_compilers_word(found: dict[str, Any], module: str):
    failure = found["modules"][module]["failure"]
    assert failure["type"] == "CompilationError"
    assert "lood" in failure["message"]


@pytest.mark.parametrize("module", ["plain", "tells tensors by their addresses", "enters the only GPU"])
def test_who_keeps_nothing_of_what_is_pretended_goes_on(found: dict[str, Any], module: str):
    assert set(found["modules"][module]) == {"kernels"}


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
