"""Has who compiles wait for who needs a core now."""

from __future__ import annotations

import contextlib
import os


def step_back(nice: int) -> None:
    """Have this thread, and what it starts, wait where others want a core, the more so the larger ``nice`` (0 to 19).
    On Linux the call is about a thread."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
