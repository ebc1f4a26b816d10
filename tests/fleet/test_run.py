"""The main job with its real parts, ended in every way that a user can end it. Nothing is left or counted twice."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.server import PrivateServer
from tests.commands import farm, start
from tests.fleet.processes import eventually, marked
from tests.fleet.running import (
    SMALL,
    check_books,
    nothing_left_running,
    output,
    running_redis,
    store_of,
    the_run,
    verdicts,
    workers,
)

__all__ = ["nothing_left_running"]  # a fixture of every test here

pytestmark = pytest.mark.slow


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
