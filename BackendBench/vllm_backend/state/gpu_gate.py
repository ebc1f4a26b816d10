"""Whose turn it is on a GPU that generation and timing share. Locked files of this machine, no server.

- Two files a GPU. ``turn`` is locked by whoever uses the GPU: by engines shared, by a judge that times alone.
  ``wish`` is locked by a judge from the moment when it wants the GPU until it is done.
- A judge locks ``wish``, then waits for ``turn``. An engine looks at ``wish`` every few milliseconds; when it is
  locked the engine pauses, gives its turn back, and takes it again when nobody wishes any more.
- A timing goes before generation: kernels that wait to be timed hold up the feedback for the next prompts. An
  engine that is busy keeps a turn for a moment all the same, else the pauses would eat its time.
- Of timings in a row the judge keeps the GPU from one to the next: otherwise an engine would have a turn between each
  two of them, longer than a timing takes.
- The locks are ``flock``'s: the kernel ends them with their process, however it dies. An engine's own processes
  inherit the worker's lock, so that the GPU is free only when the last of them is gone.
- The folder belongs to one user. Users who share a GPU with each other are not kept apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

LOOK_SECONDS = 0.005
"""Between two looks at a lock: a fifth of an engine's step, and 200 looks a second cost 0.1 % of a core."""
KEPT_SECONDS = 1.0
"""How long a judge keeps the GPU for a timing that was about to come: a few times what it takes until it does."""
LEAST_TURN_SECONDS = 0.25
"""A busy engine's turn: pausing and resuming cost about 40 ms together, so it works five sixths of it."""

Move = Literal["keep", "yield", "take", "wait"]


class GateError(Exception):
    """The folder of the locks cannot be used. One line that says what to do."""


def next_move(*, holding: bool, wished: bool, busy: bool, held_seconds: float) -> Move:
    """What an engine does now. ``busy``: it has work; ``held_seconds``: since its turn began."""
    if not holding:
        return "wait" if wished else "take"
    if not wished:
        return "keep"
    return "keep" if busy and held_seconds < LEAST_TURN_SECONDS else "yield"


def default_folder() -> Path:
    """Where the locks of this user lie: one place for all runs on this machine, whatever their TMPDIR is."""
    shared = Path("/tmp")
    place = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    return place / f"backendbench-gpu-{os.getuid()}"


class JudgeGate:
    """The timing side of one GPU. ``gpu`` '': the GPU is not shared, and nothing is waited for."""

    def __init__(self, gpu: str, folder: Path | None = None) -> None:
        self._files = _Files([gpu] if gpu else [], folder)
        self._kept: contextlib.ExitStack | None = None
        """The locks, between two timings in a row."""

    @contextlib.asynccontextmanager
    async def exclusive(self, follows: Callable[[], bool] = lambda: False) -> AsyncIterator[None]:
        """Have the GPU alone: no engine works while this is held. Raises GateError.

        A cancelled wait leaves nothing locked. ``follows``: asked at the end, whether the next one is about to come;
        then no engine has a turn until it does, or KEPT_SECONDS have passed.
        """
        with contextlib.ExitStack() as held:
            if self._kept is not None:
                held.enter_context(self._kept)
                self._kept = None
            else:
                wish, turn = (held.enter_context(self._files.opened(kind)) for kind in ("wish", "turn"))
                await _until(lambda: _lock_all(wish, fcntl.LOCK_EX))
                await _until(lambda: _lock_all(turn, fcntl.LOCK_EX))
            try:
                yield
            finally:
                if follows():
                    self._keep(held.pop_all())

    def _keep(self, held: contextlib.ExitStack) -> None:
        def give_up() -> None:
            if self._kept is held:
                held.close()
                self._kept = None

        self._kept = held
        asyncio.get_running_loop().call_later(KEPT_SECONDS, give_up)


class EngineGate:
    """The generating side of the GPUs of one engine; () : none of them is shared."""

    def __init__(self, gpus: Sequence[str], folder: Path | None = None) -> None:
        self._files = _Files(sorted(gpus), folder)
        self._turn: contextlib.ExitStack | None = None

    @property
    def shared(self) -> bool:
        """Whether there is anybody to take turns with."""
        return bool(self._files.names)

    @property
    def holding(self) -> bool:
        """Whether it is this engine's turn."""
        return self._turn is not None

    def wished(self) -> bool:
        """Whether a judge wants one of the GPUs, or has it."""
        with self._files.opened("wish") as wish:
            return not _lock_all(wish, fcntl.LOCK_SH)

    def try_take(self) -> bool:
        """Take the turn if nobody has or wants one of the GPUs. Raises GateError."""
        if self.holding:
            return True
        if self.wished():
            return False
        with contextlib.ExitStack() as stack:
            turn = stack.enter_context(self._files.opened("turn"))
            if not _lock_all(turn, fcntl.LOCK_SH):
                return False
            self._turn = stack.pop_all()
        return True

    def give(self) -> None:
        """Give the turn back; the engine must be quiet. Safe to call twice."""
        if self._turn is not None:
            self._turn.close()
            self._turn = None


class _Files:
    """The lock files of some GPUs."""

    def __init__(self, names: Sequence[str], folder: Path | None) -> None:
        self.names = tuple(names)
        self._folder = folder or default_folder()

    @contextlib.contextmanager
    def opened(self, kind: Literal["turn", "wish"]) -> Iterator[list[int]]:
        """Descriptors of the files of this kind; their locks end with the block."""
        with contextlib.ExitStack() as stack:
            if self.names:
                self._make_folder()
            yield [stack.enter_context(_opened(self._path(name, kind))) for name in self.names]

    def _path(self, name: str, kind: str) -> Path:
        return self._folder / f"{name.replace('/', '_')}.{kind}"

    def _make_folder(self) -> None:
        """Nobody else may own it: its owner could lock every GPU for ever."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            found = self._folder.lstat()
        except OSError as error:
            raise GateError(f"no folder for the locks of shared GPUs: {error}") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise GateError(f"{self._folder} belongs to somebody else: remove it")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise GateError(f"the lock of a shared GPU cannot be opened: {error}") from error
    try:
        yield descriptor
    finally:
        # Not left to closing: a child process may have inherited the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock_all(descriptors: Sequence[int], kind: int) -> bool:
    """Lock all of them, or none."""
    for number, descriptor in enumerate(descriptors):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            for locked in descriptors[:number]:
                fcntl.flock(locked, fcntl.LOCK_UN)
            return False
    return True


async def _until(done: Callable[[], bool]) -> None:
    while not done():
        await asyncio.sleep(LOOK_SECONDS)
