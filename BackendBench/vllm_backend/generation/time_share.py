"""Which part of an engine's time one sample has cost. Pure.

- An engine works on many samples at a time; at each moment those in flight share that moment equally.
- So the parts of all samples add up to the time in which the engine had work; times its GPUs, to GPU-seconds.
- While the engine is paused no time passes: somebody else has the GPU.
- A clock that runs at 1/n while n samples are in flight makes this exact and cheap, whatever comes and goes.
"""

from __future__ import annotations


class TimeShare:
    """See the module's docstring. ``now``: seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._clock = 0.0
        self._now = 0.0
        self._paused = False

    @property
    def in_flight(self) -> int:
        """Samples that are under way."""
        return self._in_flight

    def start(self, now: float, n: int) -> float:
        """``n`` samples begin; returns the mark that they are ended with."""
        self._pass(now)
        self._in_flight += n
        return self._clock

    def end(self, now: float, mark: float) -> float:
        """One sample ends: its seconds."""
        self._pass(now)
        self._in_flight -= 1
        return self._clock - mark

    def drop(self, now: float, n: int) -> None:
        """``n`` samples end without a result; their time is nobody's."""
        self._pass(now)
        self._in_flight -= n

    def pause(self, now: float) -> None:
        """The engine stops."""
        self._pass(now)
        self._paused = True

    def resume(self, now: float) -> None:
        """The engine goes on."""
        self._pass(now)
        self._paused = False

    def _pass(self, now: float) -> None:
        if self._in_flight and not self._paused:
            self._clock += (now - self._now) / self._in_flight
        self._now = now
