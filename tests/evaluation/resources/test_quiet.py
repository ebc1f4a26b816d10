"""Whether somebody else works on a GPU, with a process that does."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from BackendBench.vllm_backend.evaluation.resources.quiet import is_quiet

WORKS = """
import sys, torch
torch.zeros(1, device="cuda")
print("ready", flush=True)
sys.stdin.readline()
for _ in range({kernels}):
    torch.cuda._sleep({cycles})
print("queued", flush=True)
sys.stdin.readline()
"""


@pytest.mark.gpu
@pytest.mark.parametrize(("kernels", "cycles"), [(1, 20_000_000_000), (500, 2_000_000)])
def test_a_gpu_is_quiet_until_somebody_else_works_there_and_after_he_was_killed(kernels: int, cycles: int):
    device = torch.device("cuda")
    code = WORKS.format(kernels=kernels, cycles=cycles)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        assert sum(is_quiet(device) for _ in range(20)) >= 15  # the machine may disturb some
        print("", file=other.stdin, flush=True)
        other.stdout.readline()
        assert not any(is_quiet(device) for _ in range(20))
        other.kill()
    assert sum(is_quiet(device) for _ in range(20)) >= 15
