"""Verdicts per second of one evaluating worker over a stream of distinct candidates, and where each second went.

    python benchmarks/evaluation_throughput.py [--target cuda|cpu] [--count 200] [--passes 1] [--out FILE]

With ``--out NAME.json`` the worker's log of each pass is kept beside it, NAME.0.log and so on.

- The stream is written by the embedded grammar with fixed shares: 30 % meant to be correct, 1 % hanging, the rest
  wrong, not compiling, out of bounds, or caught by the screen. Same seed, same stream.
- Real parts: a private Redis, one ``worker evaluate`` process, full rigour of timing. The clock runs from the first
  submission to the last commit; the worker is warm before (its start, references included, is printed apart).
- With ``--passes 2`` the stream is judged a second time, with other secret seeds, and every accept or reject is
  compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import redis
from rich.console import Console
from rich.table import Table

from BackendBench.vllm_backend.evaluation import conditions
from BackendBench.vllm_backend.evaluation.settings import JudgeSettings, WorkerSettings
from BackendBench.vllm_backend.generation import grammar
from BackendBench.vllm_backend.generation.grammar.choices import Choices
from BackendBench.vllm_backend.generation.grammar.mistakes import fitting
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.intake import submit_candidate
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.server import PrivateServer
from BackendBench.vllm_backend.state.source import source_hash
from BackendBench.vllm_backend.state.store import KernelStore
from BackendBench.vllm_backend.state.task import EvaluationTask

OPERATIONS = "relu,add,mul,sigmoid,gelu,matmul,softmax,layer_norm,rms_norm,silu"
SHARES = {
    "correct": 0.30, "hang": 0.01, "crash": 0.08, "does not compile": 0.19, "wrong": 0.34, "screened": 0.08,
}  # fmt: skip
"""Of the stream. ``screened``: the source alone shows it; ``wrong`` also has the wrong shapes and dtypes."""
KINDS = {
    "hang": {"infinite_loop"},
    "crash": {"out_of_bounds"},
    "does not compile": {"unknown_function", "argument_missing", "import_forgotten", "import_missing_name"},
    "screened": {
        "syntax_error",
        "cut_off",
        "wrong_name",
        "foreign_import",
        "torch_computes",
        "torch_fallback",
    },
}
HANG = """
import torch
import triton
import triton.language as tl


@triton.jit
def _spin(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + offsets, mask=offsets < n)
    left = n
    while left > 0:
        tl.atomic_add(y_ptr, 0)
        left = tl.maximum(left, {number})
    tl.store(y_ptr + offsets, x, mask=offsets < n)


def {operation}_kernel_impl(x, *args, **kwargs):
    y = torch.zeros_like(x)
    if x.numel():
        _spin[(triton.cdiv(x.numel(), 256),)](x, y, x.numel(), BLOCK=256)
    return y
"""
"""The grammar writes no Triton kernel that hangs; this one does on every input that is not empty."""
START_SECONDS = 300.0
MOST_COMPLAINTS = 10
RUN = "throughput"


@dataclass(frozen=True)
class Item:
    """One candidate of the stream and what it was written to be."""

    task: EvaluationTask
    kind: str
    mistake: str


def stream(count: int, operations: list[str], target: str, seed: int) -> list[Item]:
    """``count`` distinct candidates with the shares of SHARES."""
    dsl: Any = "triton" if target == "cuda" else "numba"
    rng = random.Random(seed)
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * count))]
    kinds = (kinds + ["wrong"] * count)[:count]
    rng.shuffle(kinds)
    seen: set[str] = set()
    items: list[Item] = []
    while len(items) < count:
        kind, operation = kinds[len(items)], operations[len(items) % len(operations)]
        mistake = _mistake(kind, operation, dsl, rng)
        written = grammar.write_with(operation, dsl, target, Choices(rng), rng, mistake=mistake)  # type: ignore[arg-type]
        code = written.code
        if kind == "hang" and target == "cuda":
            mistake, code = "infinite_loop", HANG.format(operation=operation, number=1 + len(items))
        digest = source_hash(code)
        if digest in seen:
            continue
        seen.add(digest)
        task = EvaluationTask(
            id=f"{RUN}/{operation}/0:{len(items)}", run=RUN, operation=operation, code=code, hash=digest,
            dsl=dsl, target=target, model="grammar", timestamp=time.time(),  # type: ignore[arg-type]
        )  # fmt: skip
        items.append(Item(task, kind, mistake))
    return items


def _mistake(kind: str, operation: str, dsl: str, rng: random.Random) -> str:
    if kind == "correct":
        return ""
    special = set().union(*KINDS.values())
    possible = [rule.name for rule in fitting(grammar.FACTS[operation], dsl)]
    fits = [m for m in possible if (m in KINDS[kind] if kind in KINDS else m not in special and m != "slow")]
    return rng.choice(sorted(fits or [m for m in possible if m not in special]))


def judge(
    items: list[Item], judge_settings: JudgeSettings, limit: float, kept_log: Path | None
) -> dict[str, Any]:
    """One pass: a fresh Redis and a fresh worker. Returns wall seconds and the verdicts by hash. ``kept_log``: where
    the worker's log goes, which says why a judge was replaced."""
    with tempfile.TemporaryDirectory() as folder, PrivateServer(Path(folder)) as server:
        client = connect(server.url)
        names = sorted({item.task.operation for item in items})
        RunStore(client).create(RUN, names, {})
        settings = WorkerSettings(
            worker_id=f"{RUN}/evaluate-0", redis_url=server.url, judge=judge_settings, operations=tuple(names)
        )
        began = time.monotonic()
        path = kept_log or Path(folder) / "worker.log"
        with path.open("w+") as log, _worker(settings, log) as worker:
            _until(
                lambda: client.hget(Keys.worker(settings.worker_id), "state") == "idle",
                START_SECONDS,
                worker,
                log,
            )
            start_seconds = time.monotonic() - began
            began = time.monotonic()
            for item in items:
                scripts.run(client, submit_candidate(item.task))
            done_at = _watch(client, items, limit, worker, log)
            complaints = _complaints(log)
        kernels = {k["hash"]: k for name in names for k in KernelStore(client=client).kernels(name)}
        return {
            "start_seconds": start_seconds,
            "seconds": done_at[-1] if len(done_at) >= len(items) else limit,
            "done_at": done_at,
            "kernels": kernels,
            "complaints": complaints,
        }


class _worker:
    def __init__(self, settings: WorkerSettings, log: Any) -> None:
        self._settings, self._log = settings, log

    def __enter__(self) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "BackendBench.vllm_backend",
            "worker",
            "evaluate",
            "--settings-json",
            "-",
        ]
        path = os.pathsep.join(
            p for p in (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")) if p
        )
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(self._settings.model_dump_json())
        self._process.stdin.close()
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _until(true: Any, seconds: float, worker: subprocess.Popen[str], log: Any) -> None:
    end = time.monotonic() + seconds
    while not true():
        if worker.poll() is not None or time.monotonic() > end:
            log.flush()
            log.seek(0)
            sys.exit(f"the worker did not get there:\n{log.read()[-4000:]}")
        time.sleep(0.05)


def _complaints(log: Any) -> list[str]:
    """What the worker said that was no verdict: a fault costs time, and is not to be found in any stage."""
    log.flush()
    log.seek(0)
    return [line.strip()[:500] for line in log if '"level": "info"' not in line and line.strip()]


def _watch(
    client: redis.Redis, items: list[Item], limit: float, worker: subprocess.Popen[str], log: Any
) -> list[float]:
    """Seconds at which the n-th verdict stood in Redis."""
    done: list[float] = []
    began = time.monotonic()

    def all_there() -> bool:
        there: Any = client.llen(Keys.COMPLETED_TASKS)
        while len(done) < there:
            done.append(time.monotonic() - began)
            if len(done) % 20 == 0:
                print(f"  {len(done)} of {len(items)} after {done[-1]:.1f} s", flush=True)
        return int(there) >= len(items)

    try:
        _until(all_there, limit, worker, log)
    except SystemExit as stopped:
        print(f"  not all were judged: {str(stopped)[:2000]}", flush=True)
        for item in items:
            if not client.exists(Keys.kernel(item.task.operation, item.task.hash)):
                print(f"  without a verdict: {item.task.operation} {item.kind} {item.mistake}")
        if not done:
            raise
    return done


def summary(items: list[Item], outcome: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one pass."""
    kernels, seconds = outcome["kernels"], outcome["seconds"]
    stages: dict[str, list[float]] = defaultdict(list)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    surprises = []
    for item in items:
        kernel = kernels.get(item.task.hash)
        if kernel is None:
            outcomes[item.kind]["not judged"] += 1
            continue
        result = "accepted" if kernel["correct"] else kernel["error_type"]
        outcomes[item.kind][result] += 1
        if (item.kind == "correct") != kernel["correct"]:
            what = f"{item.task.operation} {item.mistake or 'meant to be correct'}: {result}"
            surprises.append(f"{what} {kernel['failing_case']} {kernel['error'][:300]}")
        for stage, spent in kernel["stage_seconds"].items():
            stages[stage].append(spent)
    exclusive = sum(sum(v) for k, v in stages.items() if k.endswith("timing"))
    largest_gap = max(
        (b - a for a, b in zip(outcome["done_at"], outcome["done_at"][1:], strict=False)), default=0.0
    )
    return {
        "verdicts": len(kernels), "seconds": round(seconds, 2), "verdicts_per_second": round(len(kernels) / seconds, 3),
        "worker_start_seconds": round(outcome["start_seconds"], 1),
        "exclusive_share": round(exclusive / seconds, 3), "largest_gap_seconds": round(largest_gap, 2),
        "stages": {k: {"seconds": round(sum(v), 2), "candidates": len(v), "mean_ms": round(1e3 * sum(v) / len(v), 1),
                       "max_s": round(max(v), 2)} for k, v in sorted(stages.items())},
        "outcomes": {k: dict(v) for k, v in outcomes.items()}, "surprises": surprises,
        "complaints": outcome["complaints"],
    }  # fmt: skip


def show(result: dict[str, Any], console: Console) -> None:
    """The tables."""
    console.print(
        f"{result['verdicts']} verdicts in {result['seconds']} s: [bold]{result['verdicts_per_second']} verdicts/s[/]; "
        f"device in exclusive use {100 * result['exclusive_share']:.0f} % of the time; longest time without a verdict "
        f"{result['largest_gap_seconds']} s; worker ready after {result['worker_start_seconds']} s"
    )
    table = Table(
        "stage", "seconds", "candidates", "mean ms", "max s", title="where the seconds went (in parallel)"
    )
    for stage, row in result["stages"].items():
        table.add_row(stage, *(f"{row[k]}" for k in ("seconds", "candidates", "mean_ms", "max_s")))
    console.print(table)
    table = Table("written as", "outcomes")
    for kind, outcomes in result["outcomes"].items():
        table.add_row(kind, ", ".join(f"{k} {v}" for k, v in sorted(outcomes.items(), key=lambda p: -p[1])))
    console.print(table)
    for surprise in result["surprises"]:
        console.print(f"  surprise: {surprise}", markup=False, highlight=False)
    for complaint in result["complaints"][:MOST_COMPLAINTS]:
        console.print(f"  the worker: {complaint}", markup=False, highlight=False)


def differences(items: list[Item], passes: list[dict[str, Any]]) -> Iterator[str]:
    """Candidates whose verdict changed between passes."""
    for item in items:
        found = [p["kernels"][item.task.hash] for p in passes if item.task.hash in p["kernels"]]
        if len({k["correct"] for k in found}) > 1:
            results = [
                "accepted" if k["correct"] else f"{k['error_type']} ({k['error'][:120]})" for k in found
            ]
            yield f"{item.task.operation} {item.kind} {item.mistake}: {' / '.join(results)}"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", choices=["cpu", "cuda"])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--operations", default=OPERATIONS)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds for one pass")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    target = given.target or ("cuda" if Path("/dev/nvidiactl").exists() else "cpu")
    console = Console(width=120)
    items = stream(given.count, given.operations.split(","), target, given.seed)
    passes, results = [], []
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
    for number in range(given.passes):
        kept_log = given.out and given.out.with_suffix(f".{number}.log")
        passes.append(judge(items, JudgeSettings(target=target), given.limit, kept_log))
        results.append(summary(items, passes[-1]))
        show(results[-1], console)
    first = next(iter(passes[0]["kernels"].values()))
    document: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"), "command": shlex.join(["python", *sys.argv]), "target": target,
        "device": first["device"], "versions": first["versions"], "cores": conditions.available_cores(),
        "count": given.count,
        "operations": given.operations, "seed": given.seed, "passes": results,
    }  # fmt: skip
    if given.passes > 1:
        document["differences"] = list(differences(items, passes))
        console.print(f"accept/reject differs between passes for {len(document['differences'])} candidates")
        for line in document["differences"]:
            console.print(f"  {line}", markup=False)
    if given.out:
        given.out.write_text(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
