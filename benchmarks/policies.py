"""Reprompting against plain rejection: the same model and number of candidates, several seeds.

    python benchmarks/policies.py --folder DIR [--operations NAMES] [--candidates-per-op 32] [--seeds 0,1,2] \\
        [--out FILE] [-- FLAGS OF run ...]

- Every policy and seed is a whole ``run`` with a kernel store of its own below ``--folder``: nothing that one found
  helps another. A run that finished there is not done again, so a benchmark that was stopped goes on.
- Each visible GPU takes runs of its own, with its share of the cores; without a GPU they come one after another.
- *Acceptance*: correct kernels of all candidates that were generated; duplicates and unusable ones count as not
  accepted. *Best speedup*: geometric mean over the operations for which every run found a correct kernel. The spread
  is the smallest and the largest over the seeds.
- What comes after ``--`` goes to every run, for example ``-- --engine embedded --temperature 1.2 --top-p 1``.

A few minutes on two cores, with the small model on the CPU:

    python benchmarks/policies.py --folder /tmp/policies --operations relu,add,softmax --candidates-per-op 16 \\
        --seeds 0 --out policies-cpu.json -- --engine embedded
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.table import Table

from BackendBench.vllm_backend.evaluation.conditions import available_cores
from BackendBench.vllm_backend.fleet.devices import visible_gpus

ROOT = Path(__file__).parents[1]
OPERATIONS = "relu,gelu,add,softmax,layer_norm,sum"
POLICIES = ("rejection", "reprompt")


@dataclass(frozen=True)
class Job:
    """One run."""

    policy: str
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.policy}-{self.seed}"


@dataclass(frozen=True)
class Lane:
    """Where runs go one after another."""

    gpu: str
    """For CUDA_VISIBLE_DEVICES; '': none."""
    cores: frozenset[int]


def lanes() -> list[Lane]:
    """One a GPU, with an equal share of the cores; one alone without a GPU."""
    names = [gpu.visible for gpu in visible_gpus()] or [""]
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // len(names))
    return [Lane(name, frozenset(cores[i * each : (i + 1) * each] or cores)) for i, name in enumerate(names)]


def jobs(seeds: Sequence[int]) -> list[Job]:
    """All runs; both policies of a seed before the next seed, so that a part of them compares as well."""
    return [Job(policy, seed) for seed in seeds for policy in POLICIES]


def report_of(folder: Path, job: Job) -> dict[str, Any] | None:
    """The report of a run that finished; None where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / job.name / "report.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if found["state"] == "finished" else None


def carry_out(job: Job, lane: Lane, given: argparse.Namespace) -> None:
    """Do a run, unless it is done. Raises RuntimeError when it fails."""
    if report_of(given.folder, job):
        return
    place = given.folder / job.name
    shutil.rmtree(place, ignore_errors=True)
    command = [
        sys.executable, "-m", "BackendBench.vllm_backend", "run", "--quiet", "--policy", job.policy,
        "--seed", str(job.seed), "--operations", given.operations,
        "--candidates-per-op", str(given.candidates_per_op), "--group-size", str(given.group_size),
        "--run-dir", str(place), "--redis-dir", str(given.folder / f"redis-{job.name}"), *given.flags,
    ]  # fmt: skip
    shutil.rmtree(given.folder / f"redis-{job.name}", ignore_errors=True)
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    environment = {**os.environ, "PYTHONPATH": path}
    if lane.gpu:
        environment["CUDA_VISIBLE_DEVICES"] = lane.gpu
    with (given.folder / f"{job.name}.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            command, env=environment, stdout=log, stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, lane.cores),
        )  # fmt: skip
    if done.returncode or not report_of(given.folder, job):
        raise RuntimeError(
            f"{job.name} did not finish (exit code {done.returncode}): see {given.folder}/{job.name}.log"
        )


def carry_out_all(given: argparse.Namespace) -> list[str]:
    """Do all runs, as many at a time as there are lanes. Returns what went wrong."""
    free: SimpleQueue[Lane] = SimpleQueue()
    places = lanes()
    for lane in places:
        free.put(lane)

    def one(job: Job) -> str:
        lane = free.get()
        began = time.monotonic()
        try:
            carry_out(job, lane, given)
        except RuntimeError as error:
            return str(error)
        finally:
            free.put(lane)
        print(f"{job.name} done after {time.monotonic() - began:.0f} s", flush=True)
        return ""

    with ThreadPoolExecutor(len(places)) as pool:
        return [problem for problem in pool.map(one, jobs(given.seeds)) if problem]


def row(job: Job, report: dict[str, Any]) -> dict[str, Any]:
    """What one run came to."""
    counts = report["counts"]
    best = {
        o["operation"]: {k: o["best"][k] for k in ("speedup", "speedup_low", "speedup_high")}
        for o in report["operations"]
        if o["best"] and o["best"]["speedup"] > 0
    }
    return {
        "policy": job.policy, "seed": job.seed,
        **{name: counts[name] for name in ("generated", "duplicates", "unusable", "evaluated", "correct", "faster")},
        "acceptance": counts["correct"] / counts["generated"] if counts["generated"] else 0.0,
        "acceptance_of_evaluated": counts["correct"] / counts["evaluated"] if counts["evaluated"] else 0.0,
        "best": best, "work_seconds": report["work_seconds"], "failures": report["failures"],
    }  # fmt: skip


def geometric_mean(values: Sequence[float]) -> float:
    """0 of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else 0.0


def common_operations(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Operations with a correct, timed kernel in every run."""
    found = [set(one["best"]) for one in rows]
    return sorted(set.intersection(*found)) if found else []


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a policy: mean, smallest and largest over its seeds."""
    common = common_operations(rows)
    entries = []
    for policy in POLICIES:
        mine = [one for one in rows if one["policy"] == policy]
        if not mine:
            continue
        speedups = [geometric_mean([one["best"][name]["speedup"] for name in common]) for one in mine]
        entry: dict[str, Any] = {"policy": policy, "seeds": len(mine)}
        for name in ("generated", "duplicates", "unusable", "evaluated", "correct", "faster"):
            entry[name] = sum(one[name] for one in mine)
        spread = {
            "acceptance": [one["acceptance"] for one in mine],
            "acceptance_of_evaluated": [one["acceptance_of_evaluated"] for one in mine],
            "best_speedup": speedups,
        }
        for name, values in spread.items():
            entry[name] = {"mean": sum(values) / len(values), "low": min(values), "high": max(values)}
        entries.append(entry)
    return entries


def by_operation(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Best speedups of each operation by policy, one for each seed; None where no kernel was right."""
    names = sorted({name for one in rows for name in one["best"]})
    return [
        {
            "operation": name,
            **{
                policy: [one["best"].get(name, {}).get("speedup") for one in rows if one["policy"] == policy]
                for policy in POLICIES
            },
        }
        for name in names
    ]


def show(document: dict[str, Any], console: Console) -> None:
    """The tables."""
    table = Table(
        "policy", "seeds", "generated", "correct", "accepted, %", "of the evaluated, %", "best speedup",
        title=f"{document['device']}; best speedup over {', '.join(document['common_operations']) or 'nothing'}",
    )  # fmt: skip
    for one in document["policies"]:
        shares = [_spread(one[name], 100, 1) for name in ("acceptance", "acceptance_of_evaluated")]
        counts = (str(one[name]) for name in ("seeds", "generated", "correct"))
        table.add_row(one["policy"], *counts, *shares, _spread(one["best_speedup"], 1, 3))
    console.print(table)
    table = Table("operation", *POLICIES, title="best speedup, one number a seed")
    for one in document["operations"]:
        cells = (" ".join("-" if v is None else f"{v:.3f}" for v in one[policy]) for policy in POLICIES)
        table.add_row(one["operation"], *cells)
    console.print(table)


def _spread(value: dict[str, float], factor: float, digits: int) -> str:
    mean, low, high = (f"{factor * value[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def documented(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that is written, of the runs that are done."""
    done = [(job, report_of(given.folder, job)) for job in jobs(given.seeds)]
    reports = [report for _, report in done if report]
    rows = [row(job, report) for job, report in done if report]
    devices = [device for report in reports for device in report["devices"]]
    return {
        "date": time.strftime("%Y-%m-%d"), "command": shlex.join(["python", *sys.argv]),
        "device": devices[0]["device"] if devices else "", "versions": devices[0]["versions"] if devices else {},
        "cores": available_cores(), "engine": reports[0]["engine"]["statement"] if reports else "",
        "candidates_per_op": given.candidates_per_op, "group_size": given.group_size, "flags": given.flags,
        "runs": rows, "common_operations": common_operations(rows), "policies": summary(rows),
        "operations": by_operation(rows),
    }  # fmt: skip


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; what stands behind ``--`` as ``flags``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the runs lie; kept")
    parser.add_argument("--operations", default=OPERATIONS)
    parser.add_argument("--candidates-per-op", type=int, default=32)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument(
        "--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2]
    )
    parser.add_argument(
        "--only-report", action="store_true", help="start nothing; say what the finished runs came to"
    )
    parser.add_argument("--out", type=Path)
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    given = parser.parse_args(arguments[:end])
    given.flags = list(arguments[end + 1 :])
    return given


def main() -> int:
    """Exit code: 0, or 1 where a run failed; what is done is written all the same."""
    given = parse(sys.argv[1:])
    given.folder = given.folder.resolve()
    given.folder.mkdir(parents=True, exist_ok=True)
    problems = [] if given.only_report else carry_out_all(given)
    document = documented(given)
    show(document, Console(width=150))
    for problem in problems:
        print(problem, file=sys.stderr)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
