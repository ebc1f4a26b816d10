"""Every way in which a Redis can be unfit ends as one typed line without a password."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from BackendBench.vllm_backend.state.connection import (
    RedisReadOnly,
    RedisUnreachable,
    check_writable,
    connect,
    explain,
    redis_url,
    shown,
    typed_errors,
)
from BackendBench.vllm_backend.state.server import PrivateServer

CERTIFICATE = Path(__file__).parent / "tls" / "certificate.pem"
KEY = CERTIFICATE.with_name("key.pem")


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def password_of(url: str) -> str:
    return url.partition("//:")[2].partition("@")[0]


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({}, "redis://localhost:6379/0"),
        ({"host": "10.0.0.100", "port": 6380, "db": 2}, "redis://10.0.0.100:6380/2"),
        ({"host": "::1"}, "redis://[::1]:6379/0"),
        ({"tls": True}, "rediss://localhost:6379/0"),
        ({"password": "p@ss/word:1"}, "redis://:p%40ss%2Fword%3A1@localhost:6379/0"),
        ({"password": "x", "username": "me"}, "redis://me:x@localhost:6379/0"),
    ],
)
def test_the_url_of_its_parts(parts: dict, url: str) -> None:
    assert redis_url(**parts) == url


def test_a_password_with_every_awkward_character_arrives() -> None:
    password = "p@ss/w:rd?#%& é"
    arguments = connect(redis_url(password=password)).connection_pool.connection_kwargs
    assert arguments["password"] == password


@pytest.mark.parametrize("password", ["secret", "p@ss/word"])
def test_no_password_is_shown(password: str) -> None:
    url = redis_url("host", 1, password=password, username="me")
    assert shown(url) == "redis://me:***@host:1/0"
    assert shown("redis://host:1/0") == "redis://host:1/0"


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://localhost:port/0", ""])
def test_a_url_that_makes_no_sense(url: str) -> None:
    with pytest.raises(RedisUnreachable, match="no Redis URL: write redis://HOST:PORT/DB"):
        connect(url)


def test_a_writable_server_is_fit_and_stays_empty(redis_url: str, redis_client: redis.Redis) -> None:
    check_writable(redis_url)
    assert redis_client.keys() == []


def test_nobody_answers() -> None:
    with closing(socket.socket()) as unused:  # bound and not listening: refused, and nobody else can take it
        unused.bind(("127.0.0.1", 0))
        url = f"redis://:secret@127.0.0.1:{unused.getsockname()[1]}/0"
        with pytest.raises(RedisUnreachable, match=r"does not answer: start redis-server") as caught:
            check_writable(url)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_something_else_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                    client.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(RedisUnreachable, match="give another"):
            check_writable(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")


@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
def test_a_missing_or_wrong_password(redis_url: str, login: str) -> None:
    with pytest.raises(
        RedisUnreachable, match="refuses the login: give --redis-url redis://:PASSWORD@"
    ) as caught:
        check_writable(f"redis://{login}127.0.0.1:{port_of(redis_url)}/0")
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


def test_a_read_only_replica(tmp_path: Path) -> None:
    with PrivateServer(tmp_path) as server, connect(server.url) as client:
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(RedisReadOnly, match="is a read-only replica: give the address of its primary"):
            check_writable(server.url)
        with pytest.raises(RedisReadOnly), typed_errors(server.url):  # during a run, too
            client.set("x", 1)
        client.replicaof("NO", "ONE")
        check_writable(server.url)


def test_a_user_who_may_not_write(tmp_path: Path) -> None:
    with PrivateServer(tmp_path) as server, connect(server.url) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+ping")
        with pytest.raises(RedisReadOnly, match="does not let this user write"):
            check_writable(f"redis://reader:pw@127.0.0.1:{server.port}/0")


def test_a_full_server(tmp_path: Path) -> None:
    with PrivateServer(tmp_path) as server, connect(server.url) as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(RedisReadOnly, match="refuses writes: mend the server"):
            check_writable(server.url)


def test_an_error_of_a_command_is_not_the_servers(redis_url: str, redis_client: redis.Redis) -> None:
    redis_client.set("text", "x")
    with pytest.raises(redis.ResponseError), typed_errors(redis_url):
        redis_client.lpush("text", "y")
    assert explain(redis.ResponseError("WRONGTYPE"), redis_url) is None


def test_a_restart_of_the_server_is_not_noticed(tmp_path: Path) -> None:
    server = PrivateServer(tmp_path).start()
    with connect(server.url) as client:
        client.set("x", "1")
        server.stop()
        again = PrivateServer(tmp_path, port=server.port)
        starting = threading.Thread(target=again.start)
        starting.start()
        try:
            assert client.get("x") == "1"
        finally:
            starting.join()
            again.stop()


def test_replies_are_text_whatever_bytes_are_stored(redis_client: redis.Redis) -> None:
    redis_client.set("x", b"\xff\xfe")
    assert isinstance(redis_client.get("x"), str)


# -- TLS: a real handshake, in front of the real server -------------------------------------------------
@contextmanager
def tls_in_front_of(port: int) -> Iterator[int]:
    """A port that speaks TLS and passes on to the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                client = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def test_tls_with_a_certificate_that_is_trusted(redis_url: str) -> None:
    with tls_in_front_of(port_of(redis_url)) as port:
        secure = f"rediss://:{password_of(redis_url)}@localhost:{port}/0"
        check_writable(f"{secure}?ssl_ca_certs={CERTIFICATE}")
        with connect(secure, ssl_ca_certs=str(CERTIFICATE)) as client:
            assert client.ping()


def test_tls_with_a_certificate_that_is_not(redis_url: str) -> None:
    with tls_in_front_of(port_of(redis_url)) as port, pytest.raises(RedisUnreachable, match="certificate"):
        check_writable(f"rediss://localhost:{port}/0")


def test_tls_where_the_server_speaks_none(redis_url: str) -> None:
    with pytest.raises(RedisUnreachable):
        check_writable(f"rediss://localhost:{port_of(redis_url)}/0")
