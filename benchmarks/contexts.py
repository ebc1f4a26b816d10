"""How many CUDA contexts a second this machine makes and ends: by hardware queues, and beside processes that compute.

    python benchmarks/contexts.py [--workers 4] [--seconds 5] [--rounds 2] [--computing 24] [--nice 10] [--out FILE]

Every candidate on a GPU has a process and a context of its own, which the driver makes and ends under one lock: this
bounds verdicts a second whatever else is tuned. Processes are forked from one that has imported torch, make a context
and are killed, as in the judge; all settings take turns. Eight queues are usual, the judge's candidates have one.
Whoever makes a context beside ``--computing`` processes waits for a core like them, and everybody waits for the lock
that he holds; with ``--nice`` those who compute step back, as candidates do while they compile.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
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
from collections.abc import Iterable, Iterator
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
    computing: int
    nice: int
    contexts_per_second: float
    made_ms: float
    """Median from the fork until the context answers."""
    parts_ms: list[float]
    """Medians of what it consists of: the driver's start, torch's, the context, a first tensor."""
    ended_ms: float
    """Median from SIGKILL until the process is reaped."""


@dataclass(frozen=True)
class Made:
    """One context, seconds."""

    made: float
    parts: list[float]
    ended: float


def make(queues: str, writing: int) -> None:
    """In a process of its own: make a context, say what it took, and wait for the end."""
    from cuda.bindings import driver

    os.environ[VARIABLE] = queues
    moments = [time.monotonic()]
    for step in (
        lambda: driver.cuInit(0),
        torch.cuda.init,
        lambda: driver.cuDevicePrimaryCtxRetain(0),
        lambda: torch.zeros(1, device="cuda").sum().item(),
    ):
        step()
        moments.append(time.monotonic())
    os.write(writing, json.dumps([b - a for a, b in itertools.pairwise(moments)]).encode())
    signal.pause()


def one(queues: str) -> Made:
    """Make a process with a context, and end it."""
    reading, writing = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            make(queues, writing)
        finally:
            os._exit(1)
    os.close(writing)
    answered = os.read(reading, 1 << 12)
    os.close(reading)
    made = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not answered:
        raise RuntimeError("a process could not make a context")
    return Made(made - began, json.loads(answered), time.monotonic() - made)


@contextlib.contextmanager
def beside(computing: int, nice: int) -> Iterator[None]:
    """Within this context so many processes compute."""
    pids = []
    try:
        for _ in range(computing):
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
                os.setpriority(os.PRIO_PROCESS, 0, nice)
                memory = bytearray(4 << 20)
                while True:
                    memory[:] = memory[::-1]
            pids.append(pid)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def churn(queues: str, workers: int, seconds: float, computing: int = 0, nice: int = 0) -> Row:
    """``workers`` at a time make and end contexts for ``seconds``."""
    found: list[Made] = []

    def work() -> None:
        while time.monotonic() - began < seconds:
            found.append(one(queues))

    threads = [threading.Thread(target=work) for _ in range(workers)]
    with beside(computing, nice):
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - began
    parts = zip(*(m.parts for m in found), strict=True)
    return Row(
        queues, workers, computing, nice, round(len(found) / took, 2), milliseconds(m.made for m in found),
        [milliseconds(part) for part in parts], milliseconds(m.ended for m in found),
    )  # fmt: skip


def milliseconds(seconds: Iterable[float]) -> float:
    """Their median."""
    return round(statistics.median(seconds) * 1e3, 1)


def main() -> int:
    """Exit code of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=4, help="who make contexts at a time")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each setting and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--computing", type=int, default=24, help="processes that compute beside")
    parser.add_argument("--nice", type=int, default=10, help="theirs, in a setting of its own")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if not Path("/dev/nvidiactl").exists():
        print("no NVIDIA GPU here; contexts are a GPU's", file=sys.stderr)
        return 2
    warnings.filterwarnings(
        "ignore", message=".*fork.*", category=DeprecationWarning
    )  # children only use the GPU
    settings = [
        ("8", 1, 0, 0), ("1", 1, 0, 0), ("8", given.workers, 0, 0), ("1", given.workers, 0, 0),
        ("1", given.workers, given.computing, 0), ("1", given.workers, given.computing, given.nice),
    ]  # fmt: skip
    rows = [
        churn(queues, workers, given.seconds, computing, nice)
        for _ in range(given.rounds)
        for queues, workers, computing, nice in settings
    ]
    table = Table(
        "queues", "at a time", "beside", "nice", "contexts a second", "made, ms",
        "driver, torch, context, tensor, ms", "ended, ms",
    )  # fmt: skip
    for row in rows:
        table.add_row(*(str(value) for value in asdict(row).values()))
    Console(width=120).print(table)
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
