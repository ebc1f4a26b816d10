"""The main job with its real parts, ended in every way that a run can end. Nothing is left or counted twice."""

from __future__ import annotations

import json
import os
import random
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
from tests.commands import SCRIPT, farm, start
from tests.fleet.processes import eventually, marked

pytestmark = pytest.mark.slow

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


@pytest.mark.timeout(600)  # every start of a worker loads torch
def test_ten_kills_of_any_worker_and_every_task_ends_once(tmp_path: Path) -> None:
    rng = random.Random(5)
    run = start(
        *SMALL, "--candidates-per-op", "12", "--timing", "quick", cwd=tmp_path, program=SCRIPT
    )  # fmt: skip
    killed: list[str] = []
    try:
        while len(killed) < 10:
            assert eventually(lambda: workers(run) or run.poll() is not None, 120)
            assert run.poll() is None, f"ended after {killed}: {output(tmp_path)}"
            # The first kill hits evaluate, the second generate; then whoever chance names.
            role = ["evaluate", "generate", ""][min(len(killed), 2)]
            found = workers(run, role)
            if not found:
                continue
            victim = rng.choice(found)
            killed.append("evaluate" if "evaluate" in victim.cmdline() else "generate")
            victim.kill()
            # At any moment: while it starts, while it claims, while it judges, times, or commits.
            psutil.wait_procs([victim], timeout=10)
            before = verdicts(tmp_path)
            eventually(lambda: verdicts(tmp_path) > before, rng.uniform(0, 6))  # noqa: B023
        assert run.wait(280) == 0, output(tmp_path)
    finally:
        run.kill()
        run.wait()
    assert {"evaluate", "generate"} == set(killed)
    assert not marked(str(tmp_path))
    directory = the_run(tmp_path)
    log = (directory / "logs" / "run.log").read_text()
    assert "SIGKILL" in log  # the deaths were seen, and the workers started again
    with store_of(tmp_path) as client:
        check_books(client, directory.name, 12)


def test_ctrl_c_drains_reports_and_resumes(tmp_path: Path) -> None:
    run = start("run", *SMALL, "--candidates-per-op", "24", cwd=tmp_path)
    assert eventually(lambda: verdicts(tmp_path) >= 2 or run.poll() is not None, 120)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) == 130, output(tmp_path)
    directory = the_run(tmp_path)
    assert not marked(str(tmp_path))
    assert (directory / "report.html").exists()
    with store_of(tmp_path) as client:
        stopped = RunStore(client).get(directory.name)
        assert stopped is not None and stopped.status == "stopped"
        assert client.llen(Keys.EVAL_QUEUE) == client.llen(Keys.GENERATION_QUEUE) == 0

    done = farm("run", "--resume", directory, cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    with store_of(tmp_path) as client:
        check_books(client, directory.name, 24)


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    run = start("run", *SMALL, "--candidates-per-op", "200", "--drain-seconds", "1000", cwd=tmp_path)
    assert eventually(lambda: verdicts(tmp_path) >= 1 or run.poll() is not None, 120)
    for process in workers(run):
        process.suspend()  # it cannot drain
    run.send_signal(signal.SIGINT)
    assert eventually(lambda: "once more" in output(tmp_path), 30)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130, output(tmp_path)
    assert not marked(str(tmp_path))


def test_kill_9_of_the_whole_run_and_resume(tmp_path: Path) -> None:
    run = start("run", *SMALL, "--candidates-per-op", "12", cwd=tmp_path)
    assert eventually(lambda: verdicts(tmp_path) >= 2 or run.poll() is not None, 120)
    everybody = workers(run)
    run.kill()
    run.wait()
    _, alive = psutil.wait_procs(everybody, timeout=30)
    assert not alive
    directory = the_run(tmp_path)
    assert running_redis(tmp_path)  # it outlives the run on purpose, and the resumed one takes it over
    done = farm("run", "--resume", directory, cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert running_redis(tmp_path) is None
    with store_of(tmp_path) as client:
        check_books(client, directory.name, 12)


def test_two_runs_share_the_private_redis_and_the_last_one_stops_it(tmp_path: Path) -> None:
    first = start(
        "run",
        "--operations",
        "relu",
        "--engine",
        "grammar",
        "--target",
        "cpu",
        "--candidates-per-op",
        "4",
        "--timing",
        "none",
        cwd=tmp_path,
    )
    assert eventually(lambda: verdicts(tmp_path) >= 1 or first.poll() is not None, 120)
    done = farm(
        "run",
        "--operations",
        "add",
        "--engine",
        "grammar",
        "--target",
        "cpu",
        "--candidates-per-op",
        "4",
        "--timing",
        "none",
        cwd=tmp_path,
    )
    assert done.code == 0, done.out + done.err
    assert first.wait(120) == 0, output(tmp_path)
    assert running_redis(tmp_path) is None
    with store_of(tmp_path) as client:
        assert {client.scard(Keys.op_kernels(op)) > 0 for op in ("relu", "add")} == {True}  # type: ignore[operator]


def test_stop_from_another_terminal(tmp_path: Path) -> None:
    run = start("run", *SMALL, "--candidates-per-op", "200", cwd=tmp_path)
    assert eventually(lambda: verdicts(tmp_path) >= 1 or run.poll() is not None, 120)
    done = farm("stop", "--wait", cwd=tmp_path)
    assert done.code == 0, done.err
    assert run.wait(60) == 0, output(tmp_path)
    assert "asked to stop" in output(tmp_path)


def test_no_password_is_in_the_run_directory_or_the_logs(tmp_path: Path) -> None:
    with PrivateServer(tmp_path / "server") as server:
        password = server.url.partition("//:")[2].partition("@")[0]
        done = farm(
            "run", "--operations", "relu", "--engine", "grammar", "--target", "cpu", "--candidates-per-op", "4",
            "--timing", "none",
            "--redis-url", server.url,
            cwd=tmp_path, BACKENDBENCH_API_KEY="hunter2-key",
        )  # fmt: skip
        assert done.code == 0, done.out + done.err
        with connect(server.url) as client:
            stored = json.dumps(client.hgetall(Keys.run(the_run(tmp_path).name)))
    assert password not in done.out + done.err + stored
    for file in the_run(tmp_path).rglob("*"):
        text = file.read_bytes() if file.is_file() else b""
        assert password.encode() not in text and b"hunter2" not in text, file
