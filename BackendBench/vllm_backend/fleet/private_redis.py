"""Which Redis a command uses, and who stops a private one.

- Given by URL, host or port: that one or an error. Nothing given: localhost:6379 if it answers and takes
  writes, else a private server. (A resumed run uses the one that it used before.)
- All runs under one directory share one private server and its data. Every user of it holds a shared lock on
  ``users.lock``; the one that leaves last stops it. A killed process loses its lock, so nobody waits for it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psutil

from ..config import ConfigError, RedisConfig
from ..state.connection import DEFAULT_URL, RedisReadOnly, RedisUnreachable, check_writable, redis_url, shown
from ..state.server import PrivateServer

DEFAULT_DIRECTORY = "redis"


class SharedServer(PrivateServer):
    """A private server that several commands may use at a time; the last one stops it."""

    def __init__(self, directory: Path | str, port: int | None = None) -> None:
        super().__init__(directory, port)
        self._users: int | None = None

    def start(self) -> SharedServer:
        """Start it, or join those who use it. Raises what PrivateServer.start raises."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._users is None:
            self._users = os.open(self.directory / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._users, fcntl.LOCK_SH)
        try:
            super().start()
        except BaseException:
            self._forget()
            raise
        return self

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        try:
            return bool(self.pid) and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def revive(self) -> None:
        """After its death: start it again on the port that its users know. Nothing if it lives.

        Raises PortTaken while the dead one's port is not free yet, ServerError.
        """
        self._wanted_port = self.port
        self.start()

    def stop(self) -> None:
        """Leave it; stop it if nobody else uses it. Safe to call twice."""
        if self._users is None:
            return
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._forget()
            return
        super().stop()
        self._forget()

    def _forget(self) -> None:
        if self._users is not None:
            os.close(self._users)
            self._users = None


@dataclass(frozen=True)
class UsedRedis:
    """The Redis of a command."""

    url: str
    origin: str
    """given, localhost or private."""
    server: SharedServer | None = None

    @property
    def description(self) -> str:
        """For people; without a password."""
        if self.server is not None:
            return f"private Redis on port {self.server.port}, data in {self.server.directory}"
        return f"Redis at {shown(self.url)}"

    def close(self) -> None:
        """Stop the private one, if this was its last user."""
        if self.server is not None:
            self.server.stop()


def given_url(config: RedisConfig) -> str | None:
    """The URL that the settings name, password included; None when they name none. Raises ConfigError."""
    password = config.redis_password.get_secret_value() if config.redis_password else None
    if config.redis_url:
        if config.redis_host or config.redis_port:
            raise ConfigError("--redis-url already holds host and port: drop --redis-host and --redis-port")
        return _with_password(config.redis_url, password)
    if config.redis_host or config.redis_port or config.redis_tls or config.redis_db or password:
        return redis_url(
            config.redis_host or "localhost", config.redis_port or 6379,
            password=password, tls=config.redis_tls, db=config.redis_db,
        )  # fmt: skip
    return None


def _with_password(url: str, password: str | None) -> str:
    parts = urlsplit(url)
    if not password or parts.password not in (None, "***"):
        return url
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{place}"))


def private_directory(config: RedisConfig, runs_dir: Path) -> Path:
    """Where a private server keeps its data."""
    return config.redis_dir or runs_dir / DEFAULT_DIRECTORY


def localhost_works() -> bool:
    """Whether a Redis without a password answers on localhost. Raises RedisReadOnly when it takes no writes."""
    with suppress(RedisUnreachable):
        check_writable(DEFAULT_URL)
        return True
    return False


def check(config: RedisConfig) -> str | None:
    """Before anything is started: the URL to use, or None where a private server is to be started.

    Raises RedisUnreachable, RedisReadOnly, ConfigError.
    """
    url = given_url(config)
    if url is not None:
        if urlsplit(url).password == "***":
            raise ConfigError(
                f"the password of {url} is not kept in run directories: set BACKENDBENCH_REDIS_PASSWORD"
            )
        check_writable(url)
        return url
    return DEFAULT_URL if config.redis_dir is None and localhost_works() else None


def open_redis(config: RedisConfig, runs_dir: Path) -> UsedRedis:
    """The Redis for a command, ready. Raises RedisUnreachable, RedisReadOnly, ServerError, ConfigError."""
    url = check(config)
    if url is not None:
        return UsedRedis(url, "given" if given_url(config) else "localhost")
    return open_private(private_directory(config, runs_dir))


def open_private(directory: Path) -> UsedRedis:
    """The private server of ``directory``, ready. Raises ServerError."""
    server = SharedServer(directory).start()
    return UsedRedis(server.url, "private", server)


def open_for_reading(config: RedisConfig, runs_dir: Path) -> UsedRedis:
    """As ``open_redis``, but never a new, empty private server. Raises ConfigError when there is none at all."""
    url = given_url(config)
    if url is not None:
        check_writable(url)
        return UsedRedis(url, "given")
    directory = private_directory(config, runs_dir)
    if config.redis_dir is None:
        with suppress(RedisReadOnly):
            if localhost_works():
                return UsedRedis(DEFAULT_URL, "localhost")
    if not PrivateServer.has_data(directory):
        raise ConfigError(
            f"no Redis on localhost and no run in {runs_dir}: give --redis-host, or --runs-dir of an earlier run"
        )
    return open_private(directory)
