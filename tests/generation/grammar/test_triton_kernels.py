"""Triton kernels that are meant to be right compile for sm_90 and are right in Triton's interpreter, without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from BackendBench.vllm_backend.generation import grammar

pytest.importorskip("triton")

ALL = bool(os.environ.get("BACKENDBENCH_ALL_STYLES"))
ROOT = Path(__file__).parents[3]
INTERPRETED = "relu 1 gelu 2 add 3 where 0 softmax 1 layer_norm 2 mean 0 cumsum 1 addmm 2 batch_norm 0"
COMPILED = "tanh 0 atan2 1 softmax 2 rms_norm 0 argmax 0 matmul 1"
"""Operation and seed by turns; all operations and styles are checked with BACKENDBENCH_ALL_STYLES=1 (an hour)."""


def _run(what: str, pairs: str, seconds: int = 250) -> None:
    command = [sys.executable, "-m", "tests.generation.grammar.triton_alone", what, *pairs.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert done.stdout.count("ok") >= len(pairs.split()) // 2


def test_values_by_the_interpreter() -> None:
    _run("interpret", INTERPRETED)


def test_they_compile_for_a_gpu() -> None:
    _run("compile", COMPILED)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", ["interpret", "compile"])
@pytest.mark.parametrize("operation", grammar.known("triton") if ALL else [])
def test_every_style(operation: str, what: str) -> None:
    _run(what, f"{operation} all", 3500)
