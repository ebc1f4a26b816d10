"""What to do when a worker's process has ended. Pure: how it ended and how long it lived in, a decision out.

- Exit 0: it was asked to leave; it stays away.
- Exit 2: it cannot work as configured; another start would end the same way.
- Anything else: start it again. Deaths soon after a start are answered with growing pauses, and too many of
  them in a row with giving up, so that a broken machine does not spin for ever.
- Killed from outside (SIGKILL, SIGTERM) is no sign of a broken program: more patience before giving up.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

CONFIG_EXIT = 2
SOON_SECONDS = 30.0
"""Loading torch on a busy machine takes up to this; a worker that lived longer has worked."""
GIVE_UP_AFTER = 5
"""Soon deaths in a row: chance does not repeat that often."""
GIVE_UP_AFTER_KILLS = 25
"""The same for kills from outside; it is reached by a machine whose memory is too small, not by an operator."""
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 15.0

_KILLS = {128 + signal.SIGKILL, 128 + signal.SIGTERM}


@dataclass(frozen=True)
class Decision:
    """``again`` after ``pause`` seconds; ``left``: as asked; ``give_up``: with the reason."""

    action: Literal["again", "left", "give_up"]
    pause: float = 0.0
    reason: str = ""


class RestartLaw:
    """The history of one worker; see the module's docstring."""

    def __init__(self) -> None:
        self.restarts = 0
        self._soon = 0
        self._soon_kills = 0

    def ended(self, exit_code: int, lived_seconds: float) -> Decision:
        """Decide after an end. ``exit_code``: as the guard gives it, 128 + signal for a signal."""
        if exit_code == 0:
            return Decision("left")
        if exit_code == CONFIG_EXIT:
            return Decision("give_up", reason="it cannot work as configured")
        if lived_seconds >= SOON_SECONDS:
            self._soon = self._soon_kills = 0
        elif exit_code in _KILLS:
            self._soon_kills += 1
        else:
            self._soon += 1
        if self._soon >= GIVE_UP_AFTER or self._soon_kills >= GIVE_UP_AFTER_KILLS:
            count = self._soon + self._soon_kills
            how = describe(exit_code)
            return Decision(
                "give_up", reason=f"it died {count} times in a row soon after its start, last by {how}"
            )
        self.restarts += 1
        pause = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (self._soon + self._soon_kills))
        return Decision("again", pause=pause)


def describe(exit_code: int) -> str:
    """``exit code 1`` or ``SIGKILL``."""
    if exit_code > 128:
        try:
            return signal.Signals(exit_code - 128).name
        except ValueError:
            pass
    return f"exit code {exit_code}"
