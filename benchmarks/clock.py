"""Truth of the clock: a kernel is timed against a byte-identical copy of itself; the ratio should be 1.

    python benchmarks/clock.py [--target cuda|cpu] [--repeats 100] [--seconds 1800] [--out FILE]

Both sides of every timing run the same text, one as the reference of a user's own operation (eager's side), one as
the candidate, through the judge's ordinary path with fresh processes, fresh inputs and other addresses each time.
Printed for each size: the share of repeats within 1 % and 3 % of 1, quantiles of the ratio, and how often the reported
95 % interval holds 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.table import Table

from BackendBench.vllm_backend.evaluation.client import JudgeClient
from BackendBench.vllm_backend.evaluation.failure import InfrastructureFault
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.state.source import source_hash
from BackendBench.vllm_backend.state.task import EvaluationTask
from BackendBench.vllm_backend.state.verdict import Verdict, WorkloadTiming

KERNELS = {
    "cuda": """
import torch
import triton
import triton.language as tl


@triton.jit
def _scale(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(y_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) * 1.5 + 0.25, mask=mask)


def {name}(x):
    y = torch.empty_like(x)
    n = x.numel()
    _scale[(triton.cdiv(n, 1024),)](x, y, n, BLOCK=1024)
    return y
""",
    "cpu": """
import numba
import torch


@numba.njit(parallel=True)
def _scale(x, y):
    for i in numba.prange(x.size):
        y[i] = x[i] * 1.5 + 0.25


def {name}(x):
    y = torch.empty_like(x)
    _scale(x.numpy(), y.numpy())
    return y
""",
}
INPUTS = """

def clock_inputs(seed, device):
    for n in (1, 1023, 4096):
        yield (torch.randn(n, device=device),), {{}}


def clock_workloads(seed, device):
    for n in {sizes}:
        yield f"{{n}} float32", (torch.randn(n, device=device),), {{}}
"""
SIZES = {"cuda": (3 << 18, 1 << 22, 1 << 25, 1 << 27), "cpu": (1 << 16, 1 << 20, 1 << 23)}
"""Elements; on an H200 these take about 5, 11, 64 and 252 us."""


async def judge(target: str, repeats: int, timing: str, limit: float) -> tuple[list[Verdict], float]:
    """The verdicts of ``repeats`` evaluations of one text, of as many as end within ``limit`` seconds."""
    source = KERNELS[target].format(name="clock") + INPUTS.format(sizes=SIZES[target])
    code = KERNELS[target].format(name="clock_kernel_impl")
    client = JudgeClient(JudgeSettings(target=target, timing=timing))  # type: ignore[arg-type]
    await client.start()
    places = asyncio.Semaphore(client.concurrency)
    found: list[Verdict] = []
    started = time.monotonic()

    async def one(number: int) -> None:
        task = EvaluationTask(
            id=f"clock:{number}", run="clock", operation="clock", code=code, hash=source_hash(code),
            dsl="triton" if target == "cuda" else "numba", target=target,  # type: ignore[arg-type]
        )  # fmt: skip
        async with places:
            try:
                found.append(await client.evaluate(task, source))
            except InfrastructureFault as fault:
                print(f"not judged: {fault}", file=sys.stderr)
                return
        print(f"  {len(found)} of {repeats} after {time.monotonic() - started:.0f} s", flush=True)

    try:
        await asyncio.wait([asyncio.ensure_future(one(i)) for i in range(repeats)], timeout=limit)
    finally:
        await client.close()
    return list(found), time.monotonic() - started


def by_size(verdicts: list[Verdict]) -> dict[str, list[WorkloadTiming]]:
    """Timings of each size."""
    found: dict[str, list[WorkloadTiming]] = {}
    for verdict in verdicts:
        for timing in verdict.timings:
            found.setdefault(timing.workload, []).append(timing)
    return found


def rows(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """One row for each size."""
    found = []
    for name, timings in by_size(verdicts).items():
        ratios = sorted(t.speedup for t in timings)
        found.append(
            {
                "workload": name, "repeats": len(ratios),
                "eager_us": round(statistics.median(t.eager_us for t in timings), 2),
                "median": round(statistics.median(ratios), 4),
                "p2.5": round(ratios[int(0.025 * len(ratios))], 4), "p97.5": round(ratios[int(0.975 * len(ratios))], 4),
                "within_1_percent": sum(abs(r - 1) <= 0.01 for r in ratios) / len(ratios),
                "within_3_percent": sum(abs(r - 1) <= 0.03 for r in ratios) / len(ratios),
                "interval_holds_1": sum(t.speedup_low <= 1 <= t.speedup_high for t in timings) / len(ratios),
                "pairs": statistics.median(t.samples for t in timings),
            }
        )  # fmt: skip
    return found


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=["cpu", "cuda"])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument(
        "--seconds", type=float, default=1800.0, help="of all repeats together; what is done by then counts"
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    target = given.target or ("cuda" if Path("/dev/nvidiactl").exists() else "cpu")
    verdicts, seconds = asyncio.run(judge(target, given.repeats, "full", given.seconds))
    if not verdicts:
        sys.exit(f"nothing was judged within {given.seconds:.0f} s: give it more --seconds")
    rejected = [f"{v.error_type}: {v.error[:200]}" for v in verdicts if not v.correct]
    faster = sum(v.faster_than_eager for v in verdicts)
    right = [v for v in verdicts if v.correct]
    found = rows(right)
    table = Table(
        *(found[0] if found else ["nothing"]), title=f"a kernel against itself on {verdicts[0].device}"
    )
    for row in found:
        table.add_row(
            *(
                f"{value:.3g}" if isinstance(value, float) and value <= 1 else str(value)
                for value in row.values()
            )
        )
    console = Console(width=150)
    console.print(table)
    console.print(
        f"{len(verdicts)} evaluations in {seconds:.0f} s; "
        f"said to be faster than eager: {faster}; rejected: {len(rejected)}"
    )
    for line in rejected[:5]:
        console.print(f"  {line}", markup=False)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "date": time.strftime("%Y-%m-%d"), "command": shlex.join(["python", *sys.argv]), "target": target,
            "device": verdicts[0].device, "versions": verdicts[0].versions, "rows": found, "rejected": rejected,
            "ratios": {name: [round(t.speedup, 4) for t in timings] for name, timings in by_size(right).items()},
            "faster_than_eager": faster, "conditions": verdicts[-1].conditions, "seconds": round(seconds, 1),
        }  # fmt: skip
        given.out.write_text(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
