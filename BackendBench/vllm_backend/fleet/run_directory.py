"""The directory of one run: its settings, its logs, its report, and a lock that says whether the run lives.

    config.yaml   the settings as resolved, without secrets; ``--config`` reads it
    run.json      what a resume needs: the run's id, which Redis, versions
    logs/         one structured log per process
    report.*      written at the end
    redis         the data of the private Redis, a link where several runs share it

The lock is held by the running process and goes with it, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..config import ConfigError, RunConfig, dump

NAME_OPERATIONS = 3
"""Operations that make up a run's name when none is given; more would make an unreadable path."""


@dataclass
class RunRecord:
    """``run.json``."""

    run: str
    redis: str
    """given, localhost or private."""
    redis_directory: str = ""
    """Data of the private Redis."""
    host: str = field(default_factory=socket.gethostname)
    created: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    python: str = field(default_factory=platform.python_version)


class RunDirectory:
    """One run's directory, locked while this object is open."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @classmethod
    def create(cls, config: RunConfig, operations: list[str]) -> RunDirectory:
        """A new directory, locked. Raises ConfigError when it holds a run already."""
        path = config.run_dir or _free(config.runs_dir, config.name or _name(operations))
        if (path / "run.json").exists():
            raise ConfigError(
                f"{path} holds a run already: go on with `run --resume {path}` or give another --run-dir"
            )
        try:
            (path / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot make the run directory {path}: {error.strerror}: give another --run-dir"
            ) from None
        directory = cls(path)
        directory._take()
        return directory

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """An earlier run's directory, locked. Raises ConfigError when there is none or its run still works."""
        if not (path / "run.json").is_file():
            raise ConfigError(
                f"{path} is no run directory: give one that holds run.json, for example under runs/"
            )
        directory = cls(path)
        directory._take()
        return directory

    @property
    def name(self) -> str:
        """Last part of the path; the id of the run as far as it is free."""
        return self.path.name

    @property
    def logs(self) -> Path:
        """Where the processes write."""
        return self.path / "logs"

    @property
    def config_file(self) -> Path:
        """The settings as resolved."""
        return self.path / "config.yaml"

    def write_config(self, config: RunConfig) -> None:
        """Keep the settings, without secrets."""
        self.config_file.write_text(dump(config), "utf-8")

    def write_record(self, record: RunRecord) -> None:
        """Keep ``run.json``, all of it or none."""
        draft = self.path / "run.json.new"
        draft.write_text(json.dumps(asdict(record), indent=2), "utf-8")
        draft.replace(self.path / "run.json")

    def read_record(self) -> RunRecord:
        """Read ``run.json``. Raises ConfigError."""
        return read_record(self.path)

    def link_redis(self, data: Path) -> None:
        """Show the private Redis' data inside the run directory."""
        link = self.path / "redis"
        if not link.exists() and data != link:
            with contextlib.suppress(OSError):
                link.symlink_to(os.path.relpath(data, self.path), target_is_directory=True)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Take a new directory away again; what a user put into it stays."""
        self.close()
        (self.path / "run.lock").unlink(missing_ok=True)
        for folder in (self.logs, self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _take(self) -> None:
        descriptor = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConfigError(
                f"the run in {self.path} is still working: stop it first (backendbench-vllm stop)"
            ) from None
        self._lock = descriptor


def read_record(path: Path) -> RunRecord:
    """``run.json`` of a run directory. Raises ConfigError."""
    try:
        values: dict[str, Any] = json.loads((path / "run.json").read_text("utf-8"))
        return RunRecord(**values)
    except (OSError, ValueError, TypeError):
        raise ConfigError(f"{path} is no run directory: its run.json is missing or broken") from None


def lives(path: Path) -> bool:
    """Whether a process works on the run of this directory now."""
    try:
        descriptor = os.open(path / "run.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _name(operations: list[str]) -> str:
    shown = "-".join(operations[:NAME_OPERATIONS])
    more = len(operations) - NAME_OPERATIONS
    return shown + (f"-and-{more}-more" if more > 0 else "")


def _free(runs_dir: Path, name: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path, count = runs_dir / f"{stamp}-{name}", 1
    while path.exists():
        count += 1
        path = runs_dir / f"{stamp}-{name}-{count}"
    return path
