"""Whether speedups are the same when generation shares the device with the judge.

    python benchmarks/shared_gpu.py [--target cuda|cpu] [--repeats 3] [--model DIR] [--out FILE]

- The same kernels, written by hand, of several families, are judged ``--repeats`` times while the device is free, then
  while a generating worker on the same device has more to do than it can, then free again. Judge, worker, engine and
  the gate between them (state/gpu_gate.py) are the farm's own; every timing is in full.
- The engine is the small model (through vLLM on a GPU where vLLM is installed), or ``--model`` through vLLM. Its
  candidates are thrown away.
- Printed for each kernel: the median speedup of both, with the interval of that verdict, their ratio, whether
  the intervals overlap, and the ratio of the kernel's own times. Over all: geometric means, and what was generated
  meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import redis
from rich.console import Console
from rich.table import Table

from BackendBench.vllm_backend.evaluation.client import JudgeClient
from BackendBench.vllm_backend.evaluation.conditions import available_cores
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings
from BackendBench.vllm_backend.fleet.devices import visible_gpus
from BackendBench.vllm_backend.fleet.layout import CPU_GATE
from BackendBench.vllm_backend.generation.settings import EngineSettings, GenerationSettings
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.intake import request_group
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.server import PrivateServer
from BackendBench.vllm_backend.state.source import source_hash
from BackendBench.vllm_backend.state.task import Dsl, EvaluationTask, GenerationTask, Target
from BackendBench.vllm_backend.state.verdict import Verdict

ROOT = Path(__file__).parents[1]
CONTROLS = ROOT / "tests" / "adversarial" / "controls"
KERNELS = {
    "cuda": (
        ("relu", "triton_relu"), ("add", "triton_add_alpha"), ("gelu", "triton_gelu_both_formulas"),
        ("softmax", "triton_softmax_row_in_registers"), ("layer_norm", "triton_layer_norm_row_in_registers"),
        ("sum", "triton_sum_rows"), ("mm", "triton_mm_grouped_autotuned"),
    ),
    "cpu": (
        ("relu", "numba_relu_parallel"), ("add", "numba_add_alpha"), ("softmax", "numba_softmax"),
        ("layer_norm", "numba_layer_norm_welford"),
    ),
}  # fmt: skip
"""Operation and file of the honest kernels that the tests judge."""
LOAD = ("relu", "add", "softmax", "layer_norm")
"""What the generating worker writes meanwhile."""
RUN = "load"
GROUP_SIZE = 16
GROUPS_WAITING = 64
"""More than an engine takes in at a time: it never runs dry."""
START_SECONDS = 300.0
WARM_SECONDS = 5.0
"""Generation alone, before anything is judged."""


@dataclass(frozen=True)
class Place:
    """The device that both sides use."""

    target: Target
    gate: str
    gpus: tuple[int, ...] = ()
    """Its memory, bytes; (): no GPU."""
    visible: str = ""

    @property
    def dsl(self) -> Dsl:
        """Of the kernels for it."""
        return "triton" if self.target == "cuda" else "numba"


def place(target: str | None) -> Place:
    """The first visible GPU, or these cores."""
    gpus = visible_gpus()
    if target == "cpu" or not gpus:
        return Place("cpu", CPU_GATE)
    return Place("cuda", gpus[0].uuid, (gpus[0].memory_bytes,), gpus[0].visible)


# -- generation -----------------------------------------------------------------------------------------------
class Load:
    """A generating worker that always has work, and a Redis of its own."""

    def __init__(
        self, client: redis.Redis, process: asyncio.subprocess.Process, log: Path, on: Place
    ) -> None:
        self._client, self._process, self._log, self._on = client, process, log, on
        self._numbers = count()

    def generated(self) -> int:
        """Candidates so far."""
        return sum(int(self._client.hget(Keys.run_stats(RUN, name), "generated") or 0) for name in LOAD)  # type: ignore[arg-type]

    async def keep_busy(self) -> None:
        """Refill its queue, empty the other one; for ever."""
        while True:
            waiting: Any = self._client.llen(Keys.GENERATION_QUEUE)
            for number in (next(self._numbers) for _ in range(GROUPS_WAITING - waiting)):
                task = GenerationTask(
                    id=f"{RUN}/{number}", run=RUN, operation=LOAD[number % len(LOAD)], n=GROUP_SIZE,
                    dsl=self._on.dsl, target=self._on.target, policy="rejection", seed=number, temperature=1.2,
                    top_p=1.0,
                )  # fmt: skip
                scripts.run(self._client, request_group(task))
            self._client.delete(Keys.EVAL_QUEUE)
            await asyncio.sleep(0.1)

    async def until_busy(self) -> None:
        """Wait for its first candidates."""
        end = time.monotonic() + START_SECONDS
        while not self.generated():
            if self._process.returncode is not None or time.monotonic() > end:
                sys.exit(f"the generating worker did not start:\n{self._log.read_text()[-4000:]}")
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def load(on: Place, engine: EngineSettings) -> AsyncIterator[Load]:
    """A generating worker on the device, busy."""
    with tempfile.TemporaryDirectory() as folder, PrivateServer(Path(folder)) as server:
        settings = GenerationSettings(worker_id=f"{RUN}/generate-0", redis_url=server.url, engine=engine)
        log = Path(folder) / "generate.log"
        with log.open("w") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "BackendBench.vllm_backend.cli", "worker", "generate", "--settings-json", "-",
                stdin=subprocess.PIPE, stdout=out, stderr=out, env=_environment(on),
            )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(settings.model_dump_json().encode())
        process.stdin.close()
        made = Load(connect(server.url), process, log, on)
        feeding = asyncio.ensure_future(made.keep_busy())
        try:
            await made.until_busy()
            yield made
        finally:
            feeding.cancel()
            for _ in range(2):  # the second: leave now
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await asyncio.sleep(0.5)
            await process.wait()


def _environment(on: Place) -> dict[str, str]:
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    return {**os.environ, "PYTHONPATH": path, **({"CUDA_VISIBLE_DEVICES": on.visible} if on.visible else {})}


def engine_settings(on: Place, model: str) -> EngineSettings:
    """The engine on that device, which a judge uses too."""
    return EngineSettings(
        name="vllm" if model else "embedded", model=model, gpu_memory_bytes=on.gpus, gpu_gates=(on.gate,),
        gpus_shared=bool(on.gpus),
    )  # fmt: skip


# -- judging --------------------------------------------------------------------------------------------------
async def judged(
    client: JudgeClient, on: Place, operations: Sequence[str], repeats: int
) -> dict[str, list[Verdict]]:
    """Verdicts by file; every kernel ``repeats`` times."""
    places = asyncio.Semaphore(client.concurrency)

    async def one(operation: str, name: str, number: int) -> Verdict:
        code = (CONTROLS / f"{name}.py").read_text("utf-8")
        task = EvaluationTask(
            id=f"shared/{name}:{number}", run="shared", operation=operation, code=code, hash=source_hash(code),
            dsl=on.dsl, target=on.target,
        )  # fmt: skip
        async with places:
            return await client.evaluate(task)

    kernels = [(o, n) for o, n in KERNELS[on.target] if not operations or o in operations]
    names = [(o, n, i) for i in range(repeats) for o, n in kernels]
    verdicts = await asyncio.gather(*(one(*name) for name in names))
    found: dict[str, list[Verdict]] = {}
    for (_, name, _), verdict in zip(names, verdicts, strict=True):
        found.setdefault(name, []).append(verdict)
    return found


@dataclass
class Measured:
    """The verdicts of both, and what was generated meanwhile."""

    free: dict[str, list[Verdict]]
    shared: dict[str, list[Verdict]]
    alone_per_minute: float
    """Candidates a minute before anything was judged."""
    meanwhile: int
    seconds: float
    """Of judging beside generation."""
    free_seconds: float


async def measure(on: Place, engine: EngineSettings, operations: Sequence[str], repeats: int) -> Measured:
    """Free, shared, free."""
    client = JudgeClient(JudgeSettings(target=on.target, gpu_gate=on.gate))
    await client.start()
    try:
        print("free", flush=True)
        await judged(client, on, operations, 1)  # references and compiled kernels: both sides find them made
        began = time.monotonic()
        free = await judged(client, on, operations, (repeats + 1) // 2)
        free_seconds = time.monotonic() - began
        print("generation starts", flush=True)
        async with load(on, engine) as busy:
            print("shared", flush=True)
            before, began = busy.generated(), time.monotonic()
            await asyncio.sleep(WARM_SECONDS)
            alone = 60 * (busy.generated() - before) / (time.monotonic() - began)
            before, began = busy.generated(), time.monotonic()
            shared = await judged(client, on, operations, repeats)
            meanwhile, seconds = busy.generated() - before, time.monotonic() - began
        if rest := repeats // 2:
            began = time.monotonic()
            for name, verdicts in (await judged(client, on, operations, rest)).items():
                free[name] += verdicts
            free_seconds += time.monotonic() - began
    finally:
        await client.close()
    return Measured(free, shared, alone, meanwhile, seconds, free_seconds)


# -- numbers --------------------------------------------------------------------------------------------------
def middle(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The accepted verdict of median speedup (the lower of two)."""
    accepted = sorted((v for v in verdicts if v.correct and v.speedup > 0), key=lambda v: v.speedup)
    return accepted[(len(accepted) - 1) // 2] if accepted else None


def rows(found: Measured) -> list[dict[str, Any]]:
    """One entry a kernel; those that one side rejected hold its reason alone."""
    return [_row(name, found.free[name], found.shared[name]) for name in found.free]


def _row(name: str, free: Sequence[Verdict], shared: Sequence[Verdict]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kernel": name,
        "operation": free[0].operation,
        "repeats": [len(free), len(shared)],
    }
    rejected = [v for v in (*free, *shared) if not v.correct]
    entry["rejected"] = [f"{v.error_type.value}: {v.error[:200]}" for v in rejected if v.error_type]
    a, b = middle(free), middle(shared)
    if a is None or b is None:
        return entry
    times = [
        statistics.median(v.timings[i].candidate_us for v in shared if v.timings)
        / statistics.median(v.timings[i].candidate_us for v in free if v.timings)
        for i in range(len(a.timings))
    ]
    for side, verdict in (("free", a), ("shared", b)):
        entry[side] = {"speedup": verdict.speedup, "low": verdict.speedup_low, "high": verdict.speedup_high}
    entry["ratio"] = b.speedup / a.speedup
    entry["overlap"] = a.speedup_low <= b.speedup_high and b.speedup_low <= a.speedup_high
    entry["time_ratio"] = math.exp(statistics.fmean(map(math.log, times)))
    return entry


def totals(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over all kernels that both sides accepted."""
    whole = [one for one in entries if "ratio" in one]
    if not whole:
        return {"kernels": 0}
    return {
        "kernels": len(whole),
        "ratio": math.exp(statistics.fmean(math.log(one["ratio"]) for one in whole)),
        "time_ratio": math.exp(statistics.fmean(math.log(one["time_ratio"]) for one in whole)),
        "largest_deviation": max(abs(one["ratio"] - 1) for one in whole),
        "overlapping": sum(one["overlap"] for one in whole),
    }


def show(document: dict[str, Any], console: Console) -> None:
    """The table."""
    table = Table(
        "kernel", "free", "shared", "shared / free", "intervals overlap", "kernel's time, shared / free",
        title=f"speedups on {document['device']}, free and shared with {document['engine']}",
    )  # fmt: skip
    for one in document["rows"]:
        if "ratio" not in one:
            table.add_row(one["kernel"], "rejected", "; ".join(one["rejected"])[:60], "", "", "")
            continue
        sides = (
            f"{s['speedup']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for s in (one["free"], one["shared"])
        )
        overlap = "yes" if one["overlap"] else "no"
        table.add_row(one["kernel"], *sides, f"{one['ratio']:.3f}", overlap, f"{one['time_ratio']:.3f}")
    console.print(table)
    whole = document["totals"]
    if whole["kernels"]:
        console.print(
            f"{whole['kernels']} kernels: speedup shared / free {whole['ratio']:.4f}, largest deviation "
            f"{100 * whole['largest_deviation']:.1f} %, {whole['overlapping']} intervals overlap; kernels' times "
            f"{whole['time_ratio']:.4f}"
        )
    console.print(
        f"generated meanwhile: {document['generated_meanwhile']} candidates in {document['shared_seconds']} s of "
        f"judging ({document['generated_alone_per_minute']} a minute alone); judging the free device took "
        f"{document['free_seconds']} s"
    )


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=["cpu", "cuda"])
    parser.add_argument("--operations", default="", help="of the kernels; default: all of them")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="", help="directory of a model for vLLM; default: the small one")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    on = place(given.target)
    wanted = [name for name in given.operations.split(",") if name]
    if unknown := set(wanted) - {operation for operation, _ in KERNELS[on.target]}:
        parser.error(f"--operations: no kernel here for {', '.join(sorted(unknown))}")
    found = asyncio.run(measure(on, engine_settings(on, given.model), wanted, given.repeats))
    first = next(iter(found.free.values()))[0]
    entries = rows(found)
    document = {
        "date": time.strftime("%Y-%m-%d"), "command": shlex.join(["python", *sys.argv]), "target": on.target,
        "device": first.device, "versions": first.versions, "cores": available_cores(),
        "engine": given.model or "the small model", "repeats": given.repeats, "rows": entries,
        "totals": totals(entries), "generated_meanwhile": found.meanwhile,
        "generated_alone_per_minute": round(found.alone_per_minute),
        "shared_seconds": round(found.seconds, 1), "free_seconds": round(found.free_seconds, 1),
    }  # fmt: skip
    show(document, Console(width=150))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
