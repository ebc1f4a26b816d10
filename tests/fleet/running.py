"""Looks at a whole run from outside: its processes, its private Redis, its books."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis

from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.queue import inspect
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.server import PrivateServer
from tests.fleet.processes import marked

# Not timed: what these tests look at does not depend on it, and timing takes most of a verdict's seconds.
SMALL = (
    "--operations",
    "relu,add",
    "--engine",
    "grammar",
    "--target",
    "cpu",
    "--group-size",
    "4",
    "--seed",
    "3",
    "--timing",
    "none",
)


@pytest.fixture(autouse=True)
def nothing_left_running(tmp_path: Path) -> Iterator[None]:
    yield
    left = [p for p in marked(str(tmp_path)) if psutil.pid_exists(p)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def running_redis(folder: Path) -> str | None:
    return PrivateServer.running_url(folder / "runs" / "redis")


@contextmanager
def store_of(folder: Path) -> Iterator[redis.Redis]:
    """The private Redis of the runs in ``folder``, running or not."""
    with PrivateServer(folder / "runs" / "redis") as server, connect(server.url) as client:
        yield client


def the_run(folder: Path) -> Path:
    (found,) = [path for path in (folder / "runs").iterdir() if (path / "run.json").exists()]
    return found


def verdicts(folder: Path) -> int:
    """Verdicts so far of the run that works in ``folder``."""
    url = running_redis(folder)
    if url is None:
        return 0
    with connect(url) as client:
        return int(client.llen(Keys.COMPLETED_TASKS))  # type: ignore[arg-type]


def workers(run: subprocess.Popen[str], role: str = "") -> list[psutil.Process]:
    """The worker processes of a run, without their guards."""
    found = []
    for process in psutil.Process(run.pid).children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if "worker" in words and role in " ".join(words) and not any(w.endswith("guard.py") for w in words):
            found.append(process)
    return found


def output(folder: Path) -> str:
    return (folder / "out.txt").read_text() + (folder / "err.txt").read_text()


def check_books(client: redis.Redis, run: str, budget: int) -> None:
    """Every sample that was asked for ended exactly once and was counted once."""
    for queue in (Keys.EVAL_QUEUE, Keys.GENERATION_QUEUE):
        state = inspect(client, queue)
        assert (state.waiting, state.claims, state.malformed) == (0, [], 0)
    ids = [json.loads(text)["task_id"] for text in client.lrange(Keys.COMPLETED_TASKS, 0, -1)]  # type: ignore[union-attr]
    assert len(set(ids)) == len(ids)
    evaluated = 0
    for counters in RunStore(client).counters(run):
        assert counters.requested == counters.generated == budget
        assert counters.generated == counters.queued + counters.duplicates + counters.unusable
        assert counters.evaluated == counters.queued
        assert counters.abandoned == 0
        kernels = client.smembers(Keys.op_kernels(counters.operation))
        assert len(kernels) == counters.evaluated  # type: ignore[arg-type]
        stats = client.hgetall(Keys.op_stats(counters.operation))
        assert int(stats["total"]) == counters.evaluated  # type: ignore[index]
        correct = [client.hget(Keys.kernel(counters.operation, k), "correct") for k in kernels]  # type: ignore[union-attr]
        assert correct.count("True") == counters.correct
        evaluated += counters.evaluated
    assert len(ids) == evaluated
