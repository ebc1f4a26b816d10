"""One KernelBench problem of any size, judged as ``evaluate --problem`` judges it: seconds a candidate, warm.

    python benchmarks/problem.py [--rows 4096] [--columns 393216] [--target cuda|cpu] [--repeats 3] [--out FILE]

- The problem is ``relu`` over float32, the candidate one kernel in Triton or Numba; KernelBench's own evaluator takes
  5 correctness and 100 timing trials of it.
- The first verdict (references made, kernel compiled) is printed apart; the others are warm: another text each time,
  the same judge. Printed are wall seconds, the stages, and the largest memory in use on the GPU.
- Default size: the largest power-of-two number of rows of ``--columns`` that takes a tenth of the memory, at most 4096.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
from rich.console import Console
from rich.table import Table

from BackendBench.vllm_backend.evaluation.client import JudgeClient
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.fleet.devices import visible_gpus
from BackendBench.vllm_backend.operations import problem
from BackendBench.vllm_backend.operations.operation import Operation
from BackendBench.vllm_backend.state.source import source_hash
from BackendBench.vllm_backend.state.task import EvaluationTask, Target
from BackendBench.vllm_backend.state.verdict import Verdict

PROBLEM = """
import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.relu(x)


def get_inputs():
    return [torch.rand({rows}, {columns})]


def get_init_inputs():
    return []
"""
KERNELS = {
    "cuda": """
import torch
import triton
import triton.language as tl
from torch import nn


@triton.jit
def _relu(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    tl.store(y_ptr + offsets, tl.where(x < 0, 0.0, x), mask=mask)


class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        n = x.numel()
        _relu[(triton.cdiv(n, {block}),)](x, y, n, BLOCK={block})
        return y
""",
    "cpu": """
import numba
import torch
from torch import nn


@numba.njit(parallel=True)
def _relu(x, y):
    for i in numba.prange(x.size):
        y[i] = 0.0 if x[i] < 0.0 else x[i]


class ModelNew(nn.Module):
    block = {block}

    def forward(self, x):
        y = torch.empty_like(x)
        _relu(x.view(-1).numpy(), y.view(-1).numpy())
        return y
""",
}
BLOCKS = (1024, 2048, 4096, 512, 8192)
"""Each gives another text, so that nothing is remembered from one candidate to the next."""
SHARE = 10
"""Input, output and their copies on both sides of a timing, and eager's, are about nine tensors."""
WATCH_SECONDS = 0.02


class MemoryWatch(threading.Thread):
    """Largest memory in use while it runs: of the GPU, all processes together; on a CPU of this process's tree."""

    def __init__(self, target: Target, index: int) -> None:
        super().__init__(daemon=True)
        self._target, self._index, self._over = target, index, threading.Event()
        self.peak = 0

    def run(self) -> None:
        """Look again and again."""
        while not self._over.wait(WATCH_SECONDS):
            self.peak = max(self.peak, self._used())

    def stop(self) -> int:
        """Bytes."""
        self._over.set()
        self.join()
        return self.peak

    def _used(self) -> int:
        if self._target == "cuda":
            import pynvml

            pynvml.nvmlInit()
            return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(self._index)).used)
        return psutil.virtual_memory().total - psutil.virtual_memory().available


def memory(target: Target) -> int:
    """Bytes that the device has."""
    return visible_gpus()[0].memory_bytes if target == "cuda" else psutil.virtual_memory().available


def fitting_rows(target: Target, columns: int) -> int:
    """The default number of rows."""
    rows = 4096
    while rows > 1 and rows * columns * 4 > memory(target) / SHARE:
        rows //= 2
    return rows


def task(operation: Operation, target: Target, number: int) -> EvaluationTask:
    """Candidate ``number``."""
    code = KERNELS[target].replace("{block}", str(BLOCKS[number % len(BLOCKS)]))
    return EvaluationTask(
        id=f"problem/{number}", run="benchmark", operation=operation.name, code=code, hash=source_hash(code),
        dsl="triton" if target == "cuda" else "numba", target=target, timestamp=time.time(),
    )  # fmt: skip


async def judged(operation: Operation, target: Target, repeats: int) -> list[tuple[float, Verdict]]:
    """Seconds and verdict of each candidate; the first is cold. Raises InfrastructureFault."""
    client = JudgeClient(JudgeSettings(target=target, concurrency=1))
    found = []
    try:
        await client.start()
        for number in range(repeats + 1):
            started = time.perf_counter()
            verdict = await client.evaluate(task(operation, target, number), operation.source)
            found.append((time.perf_counter() - started, verdict))
    finally:
        await client.close()
    return found


def shown(name: str, seconds: float, verdict: Verdict) -> list[str]:
    """One row of the table."""
    stages = ", ".join(f"{k} {v:.2f}" for k, v in verdict.stage_seconds.items() if v >= 0.005)
    result = f"{verdict.speedup:.3f}x" if verdict.correct else f"{verdict.error_type}: {verdict.error[:80]}"
    return [name, f"{seconds:.2f}", result, f"{verdict.cases_passed}/{verdict.cases_total}", stages]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int)
    parser.add_argument("--columns", type=int, default=393216)
    parser.add_argument("--target", choices=["cpu", "cuda"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if min(given.columns, given.repeats, given.rows or 1) < 1:
        parser.error("--rows, --columns and --repeats are at least 1")
    if given.target == "cuda" and not visible_gpus():
        parser.error("--target cuda needs an NVIDIA GPU and none is visible")
    target: Target = given.target or ("cuda" if visible_gpus() else "cpu")
    rows = given.rows or fitting_rows(target, given.columns)
    operation = problem.from_text("problem", PROBLEM.format(rows=rows, columns=given.columns))
    watch = MemoryWatch(target, 0)
    before = watch._used()
    watch.start()
    found = asyncio.run(judged(operation, target, given.repeats))
    peak = watch.stop() - before
    table = Table("candidate", "seconds", "speedup", "cases", "stages (s)")
    for number, (seconds, verdict) in enumerate(found):
        table.add_row(*shown("cold" if number == 0 else f"warm {number}", seconds, verdict))
    warm = statistics.median(seconds for seconds, _ in found[1:])
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(
        f"{rows}x{given.columns} float32, {rows * given.columns * 4 / 1e9:.2f} GB, {found[0][1].device}"
    )
    console.print(table)
    console.print(f"median of the warm ones {warm:.2f} s; largest memory in use {peak / 1e9:.1f} GB")
    if given.out:
        given.out.write_text(
            json.dumps(summary(found, rows, given.columns, target, warm, peak), indent=2) + "\n"
        )
    return 0 if all(verdict.correct for _, verdict in found) else 1


def summary(
    found: list[tuple[float, Verdict]], rows: int, columns: int, target: Target, warm: float, peak: int
) -> dict[str, Any]:
    """What ``--out`` holds."""
    last = found[-1][1]
    return {
        "benchmark": "problem", "date": time.strftime("%Y-%m-%d"), "command": "python " + " ".join(sys.argv),
        "device": last.device, "versions": last.versions, "cores": len(os.sched_getaffinity(0)),
        "target": target, "rows": rows,
        "columns": columns, "dtype": "float32", "warm_seconds": warm, "peak_bytes": peak,
        "candidates": [
            {
                "seconds": seconds, "correct": v.correct, "error": v.error, "speedup": v.speedup,
                "cases": v.cases_total, "stages": v.stage_seconds, "timings": [t.model_dump() for t in v.timings],
            }
            for seconds, v in found
        ],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
