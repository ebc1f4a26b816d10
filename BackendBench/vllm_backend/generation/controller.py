"""How many groups one worker keeps in flight. A pure state machine: it owns no task, no client and no clock.

It looks at the engine's pressure and at the evaluators' queue once a step:
- It begins with a few groups, or with half of what the engine says that it can work on at a time.
- *Grow*: the limit is in use and nothing waits in the engine: double it, until the engine was full once; from
  then on add a little.
- *Trim*: more waits in the engine than a small reserve: what waits there only grows old. Take a little away.
- *Cut*: the engine threw work away (preemptions), or its KV cache is full while requests wait: take a third away
  and do not grow for a while.
- *Hold*: more candidates wait for evaluation than the evaluators digest in the set time: claim nothing, until
  they are clearly below. Groups in flight go on; memory stays bounded and prompts see fresh feedback.
- An engine that says nothing of itself keeps the first limit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .engines.base import Pressure

STEP_SECONDS = 1.0
"""Time between two looks: an engine's step takes 10-50 ms, so what was claimed before has arrived by then."""
FIRST_GROUPS = 4
"""Where it begins: with groups of eight 32 sequences, from which doubling reaches 512 in four seconds."""
BEGIN = 0.5
"""Part of an engine's own limit to begin with: memory may allow fewer than it says, and twice as many is one step."""
MOST_GROUPS = 512
"""More than any engine runs at a time, even at one candidate a group."""
GROWTH = 0.05
"""Part of the limit added in a step once the engine was full: back at the old rate within seconds of a trim."""
RESERVE = 0.25
"""Sequences that may wait, as a part of those running: when one ends the next is there; each more adds latency."""
TRIM = 0.1
"""Part of the limit taken away when more waits: groups end by themselves, so small steps suffice."""
CUT = 0.33
KV_FULL = 0.97
"""Share of the KV cache above which waiting means that memory, not compute, is short."""
COOL_SECONDS = 10.0
"""After a cut: the sequences that caused it need about as long to end."""
FLOOR_DEPTH = 64
"""Candidates that may wait whatever the rate: evaluators that are just starting have none yet."""
RESUME = 0.5
"""Part of the allowed depth below which a hold ends; the gap keeps it from flapping."""
RATE_SECONDS = 30.0
"""Window of the evaluators' rate: some dozens of verdicts on one GPU, a few on a CPU."""


@dataclass(frozen=True)
class Observation:
    """What the controller knows at one moment."""

    now: float
    """Seconds of any monotonic clock."""
    groups: int
    """Groups in flight in this worker."""
    pressure: Pressure
    eval_depth: int
    """Candidates that wait for evaluation, of all workers."""
    verdicts_per_second: float
    """Of all evaluators together."""


class GroupController:
    """See the module's docstring. ``fixed`` > 0 sets the limit by hand; holding remains."""

    def __init__(self, fixed: int = 0, digest_seconds: float = 60.0) -> None:
        self._fixed = fixed
        self._digest = digest_seconds
        self._limit = float(fixed or FIRST_GROUPS)
        self._was_full = False
        self._cool_until = float("-inf")
        self._preemptions: int | None = None
        self.holding = False
        """Whether the evaluators are behind."""

    def begin(self, sequences: int, group_size: int) -> None:
        """The engine can work on ``sequences`` samples at a time (0: unknown). Does nothing once it was seen full."""
        if not self._fixed and not self._was_full:
            self._set(max(self._limit, BEGIN * sequences / max(1, group_size)))

    @property
    def limit(self) -> int:
        """Groups that may be in flight."""
        return max(1, int(self._limit))

    def room(self, groups: int) -> int:
        """Groups that may be claimed now, with this many in flight."""
        return 0 if self.holding else max(0, self.limit - groups)

    def look(self, seen: Observation) -> None:
        """One step of the law."""
        self._look_at_evaluators(seen)
        if not self._fixed:
            self._look_at_engine(seen)

    def _look_at_evaluators(self, seen: Observation) -> None:
        allowed = max(FLOOR_DEPTH, seen.verdicts_per_second * self._digest)
        if self.holding:
            self.holding = seen.eval_depth > allowed * RESUME
        else:
            self.holding = seen.eval_depth > allowed

    def _look_at_engine(self, seen: Observation) -> None:
        pressure = seen.pressure
        preempted = self._preempted(pressure)
        starved = (pressure.kv_cache_usage or 0.0) >= KV_FULL and pressure.waiting > 0
        if preempted or starved:
            if seen.now >= self._cool_until:
                self._set(self._limit * (1 - CUT))
                self._cool_until = seen.now + COOL_SECONDS
            self._was_full = True
        elif pressure.waiting > RESERVE * pressure.running:
            # From what is really in flight: the limit may lie far above it.
            self._set(min(self._limit, seen.groups) * (1 - TRIM))
            self._was_full = True
        elif pressure.waiting == 0 and self._in_use(seen) and seen.now >= self._cool_until:
            grown = self._limit * (1 + GROWTH) if self._was_full else self._limit * 2
            self._set(max(grown, self._limit + 1))

    def _preempted(self, pressure: Pressure) -> bool:
        before, self._preemptions = self._preemptions, pressure.preemptions
        return before is not None and pressure.preemptions is not None and pressure.preemptions > before

    def _in_use(self, seen: Observation) -> bool:
        return seen.pressure.running > 0 and seen.groups >= self.limit

    def _set(self, limit: float) -> None:
        self._limit = min(float(MOST_GROUPS), max(1.0, limit))


class Rate:
    """Events per second over the last RATE_SECONDS, from a counter that only grows."""

    def __init__(self, window: float = RATE_SECONDS) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, count: int) -> float:
        """The counter stands at ``count``; the rate up to now. A counter that fell (an emptied store) starts anew."""
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, count))
        # One entry older than the window stays: the rate is over the whole of it.
        while len(self._seen) > 2 and self._seen[1][0] <= now - self._window:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        return (count - self._seen[0][1]) / seconds if seconds > 0 else 0.0
