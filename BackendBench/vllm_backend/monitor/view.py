"""Where a run stands, ready to show. Pure: counters, history and surroundings in, a view and its lines out.

- Rates are differences over the last ``WINDOW_SECONDS``, so that a resumed run does not inherit the old ones.
- The ETA is what is left over the rate at which candidates are settled; none is given before there is a rate.
- An operation is called faster only where a kernel's whole interval lies above 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..fleet import pacing
from ..state.run_state import OperationCounters
from . import words

WINDOW_SECONDS = 60.0
"""Long enough that single candidates do not make the rate jump, short enough to show a stall."""
LEAST_SECONDS = 5.0
"""Of history before a rate is given."""
SILENCE_SECONDS = 3.0
"""Redis is called silent after this long without an answer."""
NAMED = 6
"""Operations in a plain line."""


@dataclass(frozen=True)
class GpuUse:
    """One GPU now."""

    name: str
    busy_percent: int
    memory_used: int
    memory_total: int
    """Bytes."""


@dataclass(frozen=True)
class Surroundings:
    """What is seen beside the counters. None: not known."""

    generation_queue: int | None = None
    eval_queue: int | None = None
    generating: int = 0
    """Workers that live."""
    evaluating: int = 0
    gpus: tuple[GpuUse, ...] = ()
    intervals: Mapping[str, tuple[str, float, float]] = field(default_factory=dict)
    """Operation to hash and interval of its best kernel."""
    silent_seconds: float = 0.0
    """How long Redis has not answered."""


@dataclass(frozen=True)
class Row:
    """One operation."""

    operation: str
    budget: int
    generated: int
    evaluated: int
    correct: int
    faster: int
    best_speedup: float
    interval: tuple[float, float] | None
    done: bool


@dataclass(frozen=True)
class View:
    """One look at a run."""

    rows: tuple[Row, ...]
    elapsed: float
    """Seconds since this process took up the run."""
    generated_per_minute: float | None
    evaluated_per_minute: float | None
    eta: float | None
    """Seconds until every operation is done, or until time is up."""
    eta_is_limit: bool
    """The time limit comes before the work is done."""
    around: Surroundings
    phase: str = ""
    """What else goes on: draining."""

    @property
    def done(self) -> int:
        """Operations that are done."""
        return sum(row.done for row in self.rows)


class History:
    """What rates are made of."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, int, int]] = deque()

    def add(self, now: float, counters: Sequence[OperationCounters]) -> None:
        """Note where the run stands at ``now``, seconds of a steady clock."""
        generated, evaluated = sum(c.generated for c in counters), sum(c.evaluated for c in counters)
        self._points.append((now, generated, evaluated, sum(settled(c) for c in counters)))
        while len(self._points) > 2 and self._points[1][0] <= now - WINDOW_SECONDS:
            self._points.popleft()

    def rates(self) -> tuple[float, float, float] | None:
        """Generated, evaluated and settled candidates per second; None before there is enough to tell."""
        if not self._points:
            return None
        first, last = self._points[0], self._points[-1]
        seconds = last[0] - first[0]
        if seconds < LEAST_SECONDS:
            return None
        generated, evaluated, done = ((last[i] - first[i]) / seconds for i in (1, 2, 3))
        return generated, evaluated, done


def settled(counters: OperationCounters) -> int:
    """Candidates that need nothing more."""
    return counters.generated - counters.awaiting_evaluation


def build(
    counters: Sequence[OperationCounters],
    goal: pacing.Goal,
    history: History,
    around: Surroundings,
    elapsed: float,
    seconds_left: float | None = None,
    phase: str = "",
) -> View:
    """The view. ``seconds_left``: until the time limit, None without one."""
    rates = history.rates()
    left = sum(max(0, goal.candidates_per_op - settled(c)) for c in counters if not pacing.done(c, goal))
    eta = left / rates[2] if left and rates and rates[2] > 0 else None
    limited = left > 0 and seconds_left is not None and (eta is None or seconds_left < eta)
    return View(
        rows=tuple(_row(c, goal, around) for c in counters),
        elapsed=elapsed,
        generated_per_minute=60 * rates[0] if rates else None,
        evaluated_per_minute=60 * rates[1] if rates else None,
        eta=max(0.0, seconds_left) if limited and seconds_left is not None else eta,
        eta_is_limit=limited,
        around=around,
        phase=phase,
    )


def _row(counters: OperationCounters, goal: pacing.Goal, around: Surroundings) -> Row:
    hash, low, high = around.intervals.get(counters.operation, ("", 0.0, 0.0))
    return Row(
        operation=counters.operation,
        budget=goal.candidates_per_op,
        generated=counters.generated,
        evaluated=counters.evaluated,
        correct=counters.correct,
        faster=counters.faster,
        best_speedup=counters.best_speedup,
        interval=(low, high) if hash and hash == counters.best_hash else None,
        done=pacing.done(counters, goal),
    )


def news(
    before: Mapping[str, OperationCounters], now: Sequence[OperationCounters], goal: pacing.Goal
) -> list[str]:
    """What happened between two looks that deserves a line of its own."""
    lines = []
    for one in now:
        old = before.get(one.operation)
        if old is None:
            continue
        if one.correct and not old.correct:
            lines.append(
                f"{one.operation}: first correct kernel, after {words.count(one.evaluated)} evaluated"
            )
        if one.faster and not old.faster:
            best = words.speedup(one.best_speedup)
            lines.append(f"{one.operation}: first kernel faster than eager, best so far {best}")
        if pacing.reached_target(one, goal) and not pacing.reached_target(old, goal):
            lines.append(f"{one.operation}: target speedup reached, {words.speedup(one.best_speedup)}")
        elif pacing.done(one, goal) and not pacing.done(old, goal):
            best = f"best {words.speedup(one.best_speedup)}" if one.best_speedup else f"{one.correct} correct"
            lines.append(f"{one.operation}: done, {words.count(one.evaluated)} evaluated, {best}")
    return lines


def line(view: View) -> str:
    """All of a view in one line, for logs and pipes."""
    total = sum(row.budget for row in view.rows)
    parts = [
        f"{_sum(view, 'generated')}/{words.count(total)} generated, {_sum(view, 'evaluated')} evaluated, "
        f"{_sum(view, 'correct')} correct, {_sum(view, 'faster')} faster",
        rates_text(view),
        queues_text(view),
        eta_text(view),
        leaders(view),
    ]
    parts = [part for part in (view.phase, silence(view), *parts) if part]
    return f"[{clock(view.elapsed)}] " + "; ".join(parts)


def rates_text(view: View) -> str:
    """Candidates per minute; '' before they are known."""
    if view.generated_per_minute is None or view.evaluated_per_minute is None:
        return ""
    return (
        f"{words.decimal(view.generated_per_minute, 2)} generated and "
        f"{words.decimal(view.evaluated_per_minute, 2)} evaluated per minute"
    )


def queues_text(view: View) -> str:
    """Queue depths and workers; '' before they are known."""
    around = view.around
    if around.eval_queue is None or around.generation_queue is None:
        return ""
    return (
        f"queues: {around.generation_queue} groups, {around.eval_queue} candidates; "
        f"workers: {around.generating} generating, {around.evaluating} evaluating"
    )


def eta_text(view: View) -> str:
    """How long it will take; '' before that is known."""
    if view.eta is None or view.phase:
        return ""
    return f"time is up in {clock(view.eta)}" if view.eta_is_limit else f"about {clock(view.eta)} left"


def silence(view: View) -> str:
    """'' while Redis answers."""
    seconds = view.around.silent_seconds
    return f"Redis has not answered for {seconds:.0f} s" if seconds >= SILENCE_SECONDS else ""


def gpu_text(gpu: GpuUse) -> str:
    """One GPU in a few words."""
    gib = 1 << 30
    return (
        f"{gpu.name} {gpu.busy_percent} % busy, {gpu.memory_used / gib:.0f}/{gpu.memory_total / gib:.0f} GiB"
    )


def leaders(view: View) -> str:
    """The best speedups so far, fastest first."""
    timed = sorted((row for row in view.rows if row.best_speedup), key=lambda row: -row.best_speedup)
    shown = ", ".join(f"{row.operation} {words.speedup(row.best_speedup)}" for row in timed[:NAMED])
    more = f" and {len(timed) - NAMED} more" if len(timed) > NAMED else ""
    return f"best: {shown}{more}" if shown else ""


def chosen_rows(view: View, room: int) -> tuple[list[Row], int]:
    """As many rows as there is room for, those at work first, in their order; and how many are left out."""
    if len(view.rows) <= room:
        return list(view.rows), 0
    active = [r for r in view.rows if not r.done and r.generated]
    others = [r for r in view.rows if r.done or not r.generated]
    others.sort(key=lambda r: (r.generated == 0, -r.best_speedup))
    chosen = {id(r) for r in [*active, *others][: max(0, room - 1)]}
    return [r for r in view.rows if id(r) in chosen], len(view.rows) - len(chosen)


def clock(seconds: float) -> str:
    """``4:05`` or ``1:02:03``."""
    whole = int(seconds)
    text = f"{whole // 60 % 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{text:0>5}" if whole >= 3600 else text


def _sum(view: View, name: str) -> str:
    return words.count(sum(getattr(row, name) for row in view.rows))
