"""What a user gets wrong ends as one line that says what to do, exit code 2, and nothing left running."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.server import PrivateServer
from tests.commands import SCRIPT, farm
from tests.fleet.processes import eventually, marked


@pytest.fixture(autouse=True)
def nothing_left_running(tmp_path: Path) -> Iterator[None]:
    """No process that was started in the test's directory outlives the test."""
    yield
    assert eventually(lambda: not marked(str(tmp_path)), 10)


def nothing_made(folder: Path) -> bool:
    """No run directory and no Redis data."""
    return not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--operations", "rellu"], ["rellu", "relu"]),
        (["--operations", "relu,", "--candidates-per-op", "0"], ["--candidates-per-op", "greater than 0"]),
        (["--candidates-per-op", "many"], ["--candidates-per-op", "many"]),
        (["--policy", "magic"], ["--policy", "reprompt"]),
        (["--colour", "red"], ["--colour", "--help"]),
        (["--redis-port", "1"], ["Redis at", "redis-server"]),
        (["--redis-url", "http://localhost"], ["Redis URL"]),
        (["--redis-url", "redis://localhost:1", "--redis-host", "x"], ["drop --redis-host"]),
        (["--generation-gpus", "zero"], ["--generation-gpus", "0-3"]),
        (["--evaluation-gpus", "63"], ["GPU 63 does not exist"]),
        (["--engine", "openai"], ["--endpoint URL"]),
        (["--engine", "vllm"], ["--model"]),
        (["--endpoint", "http://localhost:1/v1"], ["localhost:1"]),
        (["--config", "none.yaml"], ["none.yaml"]),
        (["--resume", "runs/none"], ["runs/none", "run directory"]),
        (["--operations", "my_ops.py:mine"], ["my_ops.py"]),
        (["--target", "cpu", "--dsl", "triton"], ["--dsl triton", "numba"]),
        (["extra"], ["extra"]),
    ],
)
def test_run_refuses(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    assert farm("run", *arguments, cwd=tmp_path).refused(*words)
    assert nothing_made(tmp_path)


def test_a_model_that_cannot_run_here_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    done = farm(
        "--model",
        "/no/such/model",
        "--operations",
        "relu",
        cwd=tmp_path,
        program=SCRIPT,
        CUDA_VISIBLE_DEVICES="",
    )
    assert done.refused("/no/such/model", "GPU", "--endpoint")
    assert nothing_made(tmp_path)


def test_a_port_that_somebody_else_took(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                client.close()

        threading.Thread(target=answer, daemon=True).start()
        done = farm("run", "--operations", "relu", "--redis-port", str(port), cwd=tmp_path)
    assert done.refused(str(port), "another")
    assert nothing_made(tmp_path)


def test_a_read_only_redis(tmp_path: Path) -> None:
    with PrivateServer(tmp_path / "replica") as server, connect(server.url) as client:
        client.replicaof("127.0.0.1", "1")
        done = farm("run", "--operations", "relu", "--redis-url", server.url, cwd=tmp_path)
        assert done.refused("read-only replica", "primary")
        assert server.url.split(":")[2].split("@")[0] not in done.err  # the password
        client.replicaof("NO", "ONE")
    assert nothing_made(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.py", "--operation", "relu"], ["none.py"]),
        (["empty.py", "--operation", "relu"], ["empty.py", "relu_kernel_impl(", "def"]),
        (["empty.py", "--operation", "rellu"], ["rellu", "relu"]),
        (["empty.py"], ["--operation"]),
        (["binary.py", "--operation", "relu"], ["binary.py", "UTF-8"]),
        (["empty.py", "--operation", "relu", "--compile-seconds", "-1"], ["--compile-seconds"]),
    ],
)
def test_evaluate_refuses(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00")
    assert farm("evaluate", *arguments, cwd=tmp_path).refused(*words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stats", "relu", "--redis-port", "1"], ["Redis at"]),
        (["best", "relu", "--limit", "0"], ["--limit"]),
        (["status", "--redis-port", "1"], ["Redis at"]),
        (["export", "out", "--redis-port", "1"], ["Redis at"]),
        (["stop", "nobody", "--redis-port", "1"], ["Redis at"]),
        (["report", "none"], ["none"]),
        (["worker", "evaluate", "--redis-port", "1"], ["Redis at"]),
        (["worker", "generate", "--redis-port", "1"], ["Redis at"]),
        (["worker", "evaluate", "--evaluation-gpus", "63"], ["GPU 63 does not exist"]),
        (["worker", "paint"], ["paint"]),
        (["brew"], ["brew"]),
    ],
)
def test_other_commands_refuse(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    assert farm(*arguments, cwd=tmp_path).refused(*words)
    assert nothing_made(tmp_path)


def test_an_unknown_operation_names_the_nearest(tmp_path: Path, redis_url: str) -> None:
    assert farm("stats", "sofmax", "--redis-url", redis_url, cwd=tmp_path).refused("sofmax", "softmax")
