"""The lines that users type, verbatim. What a test may set is the environment: small budgets, no GPU."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from BackendBench.vllm_backend.state.server import find_server_binary
from tests.commands import ROOT, Done, environment
from tests.fleet.processes import eventually, marked

RUN = "python scripts/run_vllm_prototype.py"
RUN_14B = (
    'python scripts/run_vllm_prototype.py --model "Qwen/Qwen2.5-14B-Instruct" '
    '--operations "relu,add,mul,sigmoid" --candidates-per-op 50'
)
RUN_7B = (
    'python scripts/run_vllm_prototype.py --model "Qwen/Qwen2.5-7B-Instruct" '
    '--operations "matmul,softmax,layernorm" --redis-host "10.0.0.100" --candidates-per-op 100'
)
FROM_PYTHON = """
from BackendBench.vllm_backend import KernelStore
store = KernelStore()
stats = store.get_operation_stats("relu")
store.get_best_kernels("relu", limit=5)
"""
ITS_RESULTS = """
assert stats["total_attempts"] >= stats["successful_attempts"] > 0
assert 0 < stats["success_rate"] <= 1
assert stats["best_speedup"] >= stats["avg_speedup"] > 0
best = store.get_best_kernels("relu", limit=5)
assert 0 < len(best) <= 5
assert [k["speedup"] for k in best] == sorted((k["speedup"] for k in best), reverse=True)
assert all("relu_kernel_impl" in k["code"] and len(k["hash"]) == 64 for k in best)
"""
REDIS_CLI = ["LLEN eval_queue", "LLEN completed_tasks", 'KEYS "shutdown:*"', 'HGETALL "op_stats:relu"']


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def typed(line: str, path: Path, **more: str) -> Done:
    """Type a line into a shell in the checkout, with ``path`` first on the PATH."""
    env = environment(PATH=f"{path}{os.pathsep}{os.environ['PATH']}", **more)
    done = subprocess.run(
        line,
        shell=True,
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=290,
        stdin=subprocess.DEVNULL,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of the lines: this Python, and a redis-server where the machine has none."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (folder / "python").chmod(0o755)
    if shutil.which("redis-server") is None:
        (folder / "redis-server").symlink_to(find_server_binary())
    return folder


@pytest.fixture
def redis_server(commands: Path, tmp_path: Path) -> Iterator[redis.Redis]:
    """``redis-server``, as typed: on its default port."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 6379)) == 0:
            pytest.skip("something listens on port 6379 of this machine already")
    env = environment(PATH=f"{commands}{os.pathsep}{os.environ['PATH']}")
    server = subprocess.Popen(
        "exec redis-server", shell=True, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL
    )
    client = redis.Redis(decode_responses=True)
    try:
        assert eventually(lambda: answers(client), 20)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def redis_cli(line: str, commands: Path, client: redis.Redis) -> list[str]:
    """What redis-cli prints, by redis-cli where it is installed, else the same command over the protocol."""
    if shutil.which("redis-cli"):
        done = typed(f"redis-cli {line}", commands)
        assert done.code == 0, done.err
        return done.out.splitlines()
    reply = client.execute_command(*shlex.split(line))
    if isinstance(reply, dict):
        return [text for pair in reply.items() for text in pair]
    return [str(part) for part in reply] if isinstance(reply, list) else [str(reply)]


@pytest.mark.slow
def test_redis_server_the_run_redis_cli_and_the_python_lines(
    redis_server: redis.Redis, commands: Path, tmp_path: Path
) -> None:
    small = {
        "BACKENDBENCH_CANDIDATES_PER_OP": "8",
        "BACKENDBENCH_OPERATIONS": "relu,add",
        "BACKENDBENCH_TARGET": "cpu",
        "BACKENDBENCH_SEED": "1",
        "BACKENDBENCH_RUNS_DIR": str(tmp_path / "runs"),
    }
    done = typed(RUN, commands, **small)
    assert done.code == 0, done.out + done.err
    assert "small language model" in done.out
    (run,) = [path for path in (tmp_path / "runs").iterdir() if (path / "run.json").exists()]
    assert {"report.html", "report.json", "report.md"} <= {path.name for path in run.iterdir()}

    waiting, completed, shutdowns, stats = [redis_cli(line, commands, redis_server) for line in REDIS_CLI]
    assert waiting == ["0"]
    assert int(completed[0]) > 0
    assert [line for line in shutdowns if line] == []
    fields = dict(zip(stats[::2], stats[1::2], strict=True))
    assert int(fields["total"]) >= int(fields["successful"]) > 0
    assert float(fields["best_speedup"]) > 0 and float(fields["avg_speedup"]) > 0

    lines = typed(f"python - <<'EOT'\n{FROM_PYTHON}\n{ITS_RESULTS}\nEOT", commands)
    assert lines.code == 0, lines.err
    assert not marked(str(tmp_path / "runs"))


@pytest.mark.skipif(has_gpu(), reason="this machine may be able to run the model")
@pytest.mark.parametrize("line", [RUN_14B, RUN_7B])
def test_a_model_on_a_machine_that_cannot_run_it(line: str, commands: Path, tmp_path: Path) -> None:
    done = typed(line, commands, BACKENDBENCH_RUNS_DIR=str(tmp_path / "runs"))
    assert done.refused("Qwen/Qwen2.5-", "GPU", "requirements-vllm.txt", "--endpoint")
    assert not (tmp_path / "runs").exists()


def test_pip_install_of_the_requirements(tmp_path: Path) -> None:
    """In an environment that sees the packages of this one, so that only the project itself is new."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (here,) = {path for path in sys.path if path.endswith("site-packages")}
    (site / "beside.pth").write_text(here + "\n")
    (tmp_path / "env" / "bin" / "pip").write_text(f'#!/bin/sh\nexec {python} -m pip "$@"\n')
    (tmp_path / "env" / "bin" / "pip").chmod(0o755)
    copy = tmp_path / "checkout"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "__pycache__")
    )
    env = environment(PATH=f"{tmp_path}/env/bin{os.pathsep}{os.environ['PATH']}", PYTHONPATH="")
    done = subprocess.run(
        "pip install -r requirements.txt",
        shell=True,
        cwd=copy,
        env=env,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "Installing collected packages: backendbench-vllm" in done.stdout
    found = subprocess.run(
        [tmp_path / "env" / "bin" / "backendbench-vllm", "--version"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith("backendbench-vllm"), found.stderr
