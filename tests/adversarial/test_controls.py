"""No honest kernel is refused: operation families, styles of writing, odd inputs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from .candidate_files import CandidateFile, judge_settings, load
from .judging import Bench, running

CPU, CUDA = load("controls", "cpu"), load("controls", "cuda")
LEAST_CONTROLS = 60


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with running(judge_settings("cpu", "controls")) as found:
        yield found


@pytest.fixture(scope="module")
def gpu_bench() -> Iterator[Bench]:
    with running(judge_settings("cuda", "controls")) as found:
        yield found


def named(file: CandidateFile) -> str:
    return file.name


@pytest.mark.parametrize("control", CPU, ids=named)
def test_on_the_cpu(control: CandidateFile, bench: Bench) -> None:
    assert control.screened() == ""
    verdict = bench.judge(control, "cpu")
    assert verdict.correct, (verdict.error_type, verdict.failing_case, verdict.error)
    assert verdict.timings


@pytest.mark.gpu
@pytest.mark.parametrize("control", CUDA, ids=named)
def test_on_a_gpu(control: CandidateFile, gpu_bench: Bench) -> None:
    if "nvcc" in control.named("needs") and not shutil.which("nvcc"):
        pytest.skip("this machine has no nvcc")
    verdict = gpu_bench.judge(control, "cuda")
    assert verdict.correct, (verdict.error_type, verdict.failing_case, verdict.error)


@pytest.mark.parametrize("control", CUDA, ids=named)
def test_the_screen_lets_gpu_kernels_pass(control: CandidateFile) -> None:
    assert control.screened() == ""


def test_there_are_controls_enough() -> None:
    assert len(CPU) + len(CUDA) >= LEAST_CONTROLS
    assert len({c.operation for c in [*CPU, *CUDA]}) >= 30
