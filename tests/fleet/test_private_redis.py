"""Which Redis is used, and who stops the private one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from BackendBench.vllm_backend.config import ConfigError, RunConfig, resolve
from BackendBench.vllm_backend.fleet.private_redis import (
    SharedServer,
    check,
    given_url,
    open_for_reading,
    open_private,
)
from BackendBench.vllm_backend.state.connection import RedisReadOnly, RedisUnreachable, connect
from BackendBench.vllm_backend.state.server import PortTaken, PrivateServer
from tests.fleet.processes import alive, eventually

ROOT = Path(__file__).parents[2]


def config(**flags: object) -> RunConfig:
    return resolve(RunConfig, flags, environment={})


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ({}, None),
        ({"redis_host": "10.0.0.100"}, "redis://10.0.0.100:6379/0"),
        ({"redis_port": "6380"}, "redis://localhost:6380/0"),
        ({"redis_url": "rediss://h:1/2"}, "rediss://h:1/2"),
        ({"redis_host": "h", "redis_password": "p@ss", "redis_tls": True}, "rediss://:p%40ss@h:6379/0"),
        ({"redis_url": "redis://user@h:1/2", "redis_password": "p"}, "redis://user:p@h:1/2"),
        ({"redis_url": "redis://:***@h:1/2", "redis_password": "p"}, "redis://:p@h:1/2"),
    ],
)
def test_url_of_the_settings(flags: dict[str, object], url: str | None) -> None:
    assert given_url(config(**flags)) == url


def test_url_and_host_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="drop --redis-host"):
        given_url(config(redis_url="redis://h", redis_host="h"))


def test_a_hidden_password_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="BACKENDBENCH_REDIS_PASSWORD"):
        check(config(redis_url="redis://:***@localhost:1/0"))


def test_an_unreachable_redis_is_refused_and_never_replaced() -> None:
    with pytest.raises(RedisUnreachable, match="redis-host"):
        check(config(redis_port="1"))


@pytest.fixture
def replica(redis_url: str, tmp_path: Path) -> Iterator[str]:
    with PrivateServer(tmp_path / "replica") as server, connect(server.url) as client:
        client.config_set("masterauth", "x")
        client.replicaof("127.0.0.1", "1")
        yield server.url
        client.replicaof("NO", "ONE")


def test_a_read_only_redis_is_refused(replica: str) -> None:
    with pytest.raises(RedisReadOnly, match="read-only replica"):
        check(config(redis_url=replica))


def test_the_last_user_stops_the_shared_server(tmp_path: Path) -> None:
    first, second = SharedServer(tmp_path).start(), SharedServer(tmp_path).start()
    assert first.pid == second.pid
    first.stop()
    with connect(second.url) as client:
        client.set("kept", "1")
    second.stop()
    assert not alive(second.pid) if second.pid else PrivateServer.running_url(tmp_path) is None


def test_data_of_an_earlier_run_are_found_again(tmp_path: Path) -> None:
    used = open_private(tmp_path)
    with connect(used.url) as client:
        client.set("kept", "1")
    used.close()
    again = open_for_reading(config(redis_dir=str(tmp_path)), tmp_path)
    with connect(again.url) as client:
        assert client.get("kept") == "1"
    again.close()
    assert PrivateServer.running_url(tmp_path) is None


def test_a_server_whose_user_was_killed_is_taken_over_with_its_data(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import sys, time
        from BackendBench.vllm_backend.fleet.private_redis import SharedServer
        from BackendBench.vllm_backend.state.connection import connect
        server = SharedServer({str(tmp_path)!r}).start()
        connect(server.url).set("kept", "1")
        print(server.pid, flush=True)
        time.sleep(1000)
    """)
    user = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    pid = int(user.stdout.readline())
    os.kill(user.pid, signal.SIGKILL)
    user.wait()
    assert alive(pid)
    used = open_private(tmp_path)
    assert used.server is not None and used.server.pid == pid
    with connect(used.url) as client:
        assert client.get("kept") == "1"
    used.close()
    assert eventually(lambda: not alive(pid))


def revived(server: SharedServer) -> bool:
    try:
        server.revive()
    except PortTaken:
        return False
    return True


def test_a_dead_server_comes_back_on_its_port_with_its_data(tmp_path: Path) -> None:
    server = SharedServer(tmp_path).start()
    url = server.url
    with connect(url) as client:
        client.set("kept", "1")
        client.config_set("appendfsync", "always")
        client.set("kept too", "1")
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: not alive(server.pid))
    assert eventually(lambda: revived(server))
    assert server.url == url
    with connect(url) as client:
        assert client.mget("kept", "kept too") == ["1", "1"]
    server.stop()


def test_nothing_is_started_for_reading_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run in"):
        open_for_reading(config(redis_dir=str(tmp_path / "none")), tmp_path)
    assert not (tmp_path / "none").exists()


def test_the_password_of_the_private_server_is_in_no_message(tmp_path: Path) -> None:
    used = open_private(tmp_path)
    password = redis.Redis.from_url(used.url).connection_pool.connection_kwargs["password"]
    used.close()
    assert len(password) > 20
    assert password not in used.description
