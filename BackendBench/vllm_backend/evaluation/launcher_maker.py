"""Makes Triton's launchers in the warm server, one after the other, beside its other work.

A child compiles each into a folder that no candidate sees, the server loads it from there. Only where candidates have
a mount namespace of their own: elsewhere they could write into that folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections import deque


class LauncherMaker:
    """See the module's docstring. ``pidfd`` becomes readable when the child is done; -1: there is none."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._waiting: deque[list[str]] = deque()
        self._making: list[str] = []
        self._pid = 0
        self.pidfd = -1

    def want(self, signature: list[str]) -> None:
        """A launcher for these arguments, some time."""
        self._waiting.append(signature)

    def begin(self) -> bool:
        """Start on the next one; whether a child has been started. Without memory or processes it is left out."""
        if self.pidfd >= 0 or not self._waiting:
            return False
        self._making = self._waiting.popleft()
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="backendbench-launchers-")
            self._pid = os.fork()
        except OSError:
            return False
        if self._pid == 0:
            self._child(self._folder.name)
        try:
            self.pidfd = os.pidfd_open(self._pid)
        except OSError:
            self._end()
            return False
        return True

    def finish(self) -> None:
        """The child is done: load what it made. Where it failed, candidates go on compiling this one themselves."""
        _, status = os.waitpid(self._pid, 0)
        os.close(self.pidfd)
        self.pidfd = -1
        if status == 0 and self._folder is not None:
            self._build(self._folder.name)

    def close(self) -> None:
        """Stop, and leave nothing."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
            self._end()
        if self._folder is not None:
            self._folder.cleanup()

    def _end(self) -> None:
        """The child and its compiler."""
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _child(self, folder: str) -> None:
        """Never returns. Its temporary files lie in the folder, and it leads a group, so that nothing survives."""
        status = 1
        try:
            os.setsid()
            tempfile.tempdir = folder
            status = 0 if self._build(folder) else 1
        finally:
            os._exit(status)

    def _build(self, folder: str) -> bool:
        """Make it, or load what was made."""
        from .launcher_stubs import install
        from .triton_support import own_cache

        try:
            with own_cache(folder):
                install().build(self._making)
        except Exception:
            return False
        return True
