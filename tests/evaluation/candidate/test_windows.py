"""Room between a GPU process's memory and its windows of shared and local memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from BackendBench.vllm_backend.evaluation.candidate import windows


def taken() -> int:
    """Bytes of this process's addresses that nobody may read."""
    spans = (line.split() for line in Path("/proc/self/maps").read_text().splitlines())
    ends = (span[0].split("-") for span in spans if span[1].startswith("---"))
    return sum(int(end, 16) - int(begin, 16) for begin, end in ends)


def test_it_takes_addresses_and_no_memory_for_as_long_as_it_is_held():
    before, memory = taken(), psutil.Process().memory_info().rss
    room = windows.take_addresses()
    assert room is not None
    assert taken() - before >= windows.ROOM_BYTES
    assert psutil.Process().memory_info().rss - memory < 1 << 20
    room.close()
    assert taken() - before < windows.ROOM_BYTES


def test_where_addresses_are_limited_there_is_none():
    code = (
        "import resource\n"
        "from BackendBench.vllm_backend.evaluation.candidate import windows\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34))\n"
        "print(windows.take_addresses())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "None", done.stderr[-2000:]


DISTANCES = """
import json
import socket
import torch
from BackendBench.vllm_backend.evaluation.candidate.harness import Harness

mine, _ = socket.socketpair()
harness = Harness(mine)
reply = harness._setup({"target": "cuda", "device_index": 0, "memory_fraction": 0.5}, [])
from tests.evaluation.candidate.triton_kernels import windows

found = torch.zeros(2, dtype=torch.int64, device="cuda")
windows[(1,)](found)
tensors = [found, *(torch.empty(1 << size, dtype=torch.uint8, device="cuda") for size in (10, 20, 25, 30))]
print(json.dumps([abs(t.data_ptr() - window) for t in tensors for window in found.tolist()]))
"""


@pytest.mark.gpu
def test_what_is_allocated_lies_far_from_both():
    done = subprocess.run([sys.executable, "-c", DISTANCES], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert min(json.loads(done.stdout.strip().splitlines()[-1])) >= windows.ROOM_BYTES
