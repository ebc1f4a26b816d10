"""How many CUDA contexts a second this machine makes and ends, with 8 hardware queues each (usual) and with 1.

    python benchmarks/contexts.py [--workers 8] [--seconds 5] [--rounds 2] [--out FILE]

Every candidate on a GPU has a process and a context of its own, which the driver makes and ends under one lock: this
bounds verdicts a second whatever else is tuned. Processes are forked from one that has imported torch, make a context
and are killed, as in the judge; both settings take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import statistics
import sys
import threading
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

VARIABLE = "CUDA_DEVICE_MAX_CONNECTIONS"


@dataclass(frozen=True)
class Row:
    """One setting, for some seconds."""

    queues: str
    workers: int
    contexts_per_second: float
    made_ms: float
    """Median from the fork until the context answers."""
    ended_ms: float
    """Median from SIGKILL until the process is reaped."""


def one(queues: str) -> tuple[float, float]:
    """Seconds to make a process with a context, and to end it."""
    reading, writing = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.environ[VARIABLE] = queues
        torch.zeros(1, device="cuda")
        torch.cuda.synchronize()
        os.write(writing, b"x")
        signal.pause()
    os.close(writing)
    answered = os.read(reading, 1)
    os.close(reading)
    made = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not answered:
        raise RuntimeError("a process could not make a context")
    return made - began, time.monotonic() - made


def churn(queues: str, workers: int, seconds: float) -> Row:
    """``workers`` at a time make and end contexts for ``seconds``."""
    found: list[tuple[float, float]] = []
    began = time.monotonic()

    def work() -> None:
        while time.monotonic() - began < seconds:
            found.append(one(queues))

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    made, ended = (statistics.median(times) * 1e3 for times in zip(*found, strict=True))
    return Row(queues, workers, round(len(found) / took, 2), round(made, 1), round(ended, 1))


def main() -> int:
    """Exit code of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each setting and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if not Path("/dev/nvidiactl").exists():
        print("no NVIDIA GPU here; contexts are a GPU's", file=sys.stderr)
        return 2
    warnings.filterwarnings(
        "ignore", message=".*fork.*", category=DeprecationWarning
    )  # children only use the GPU
    rows = [
        churn(queues, workers, given.seconds)
        for _ in range(given.rounds)
        for workers in (1, given.workers)
        for queues in ("8", "1")
    ]
    table = Table("queues", "at a time", "contexts a second", "made, ms", "ended, ms")
    for row in rows:
        table.add_row(*(str(value) for value in asdict(row).values()))
    Console(width=100).print(table)
    if given.out:
        about = {
            "date": time.strftime("%Y-%m-%d"), "command": shlex.join(["python", *sys.argv]),
            "device": Path("/proc/driver/nvidia/version").read_text().splitlines()[0],
            "kernel": platform.release(), "rows": [asdict(row) for row in rows],
        }  # fmt: skip
        given.out.write_text(json.dumps(about, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
