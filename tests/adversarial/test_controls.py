"""No honest kernel is refused: operation families, styles of writing, odd inputs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.commands import ROOT

from .candidate_files import CandidateFile, judge_settings, load
from .judging import Bench, running, skip_without_needs

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
    skip_without_needs(control)
    verdict = gpu_bench.judge(control, "cuda")
    assert verdict.correct, (verdict.error_type, verdict.failing_case, verdict.error)


@pytest.mark.parametrize("control", CUDA, ids=named)
def test_the_screen_lets_gpu_kernels_pass(control: CandidateFile) -> None:
    assert control.screened() == ""


def test_triton_kernels_compile_for_a_gpu() -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-m", "tests.adversarial.triton_compiles", "compile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_there_are_controls_enough() -> None:
    assert len(CPU) + len(CUDA) >= LEAST_CONTROLS
    assert len({c.operation for c in [*CPU, *CUDA]}) >= 30
