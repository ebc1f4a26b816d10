"""Compiling Triton kernels on several threads without a GPU. In a process of its own: it pretends a driver."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("triton")

SCRIPT = """
import json, sys
import torch, triton
from triton.runtime.driver import driver
from BackendBench.vllm_backend.evaluation import triton_support
from tests.evaluation.triton_kernels import PretendedDriver, broken, scale, tuned

driver.set_active(PretendedDriver())
made = []
triton_support._make_launcher = made.append
x, threads = torch.ones(4096), int(sys.argv[1])
found = {}
with triton_support.launches_suppressed(threads) as compiling:
    for n in (4096, 4095, 1, 4096):
        scale[(4,)](x, x, n, BLOCK=1024)
    compiling.finish()
found["variants"] = len(made)
made.clear()
with triton_support.launches_suppressed(threads) as compiling, triton_support.tuning_suspended(0, every=True):
    tuned[(4,)](x, x, 4096)
    compiling.finish()
found["configurations"] = len(made)
try:
    with triton_support.launches_suppressed(threads) as compiling:
        for compiling.turn, n in enumerate((4096, 4095, 1)):
            (broken if n == 4095 else scale)[(4,)](x, x, n, BLOCK=512)
        compiling.finish()
except Exception as error:
    found["error"] = type(error).__name__
found["turn"] = compiling.turn
print(json.dumps(found))
"""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_every_variant_is_compiled_once_and_the_failing_call_is_known(threads):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, threads], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = '{"variants": 3, "configurations": 2, "error": "CompilationError", "turn": 1}'
    assert done.stdout.strip().splitlines()[-1] == expected
