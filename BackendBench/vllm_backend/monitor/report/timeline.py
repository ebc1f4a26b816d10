"""What happened when: the clock of a run's work, and the curves of the report. Pure.

- Pauses between a stop and a resume are no work.
- Where the oldest events are gone, what they would have counted is put before the first one that is kept, so that
  the curves end at the counters.
"""

from __future__ import annotations

from dataclasses import dataclass

from .found import Found, improves
from .model import Counts, Moment, Step, Timeline

POINTS = 300
"""Of a curve over time: as many as a plot can show."""
ENDINGS = ("finished", "stopped", "failed")
"""Kinds of the event with which a run ends."""
Point = tuple[float, int, int, int]
"""Seconds of work; generated, evaluated and correct candidates so far."""


@dataclass(frozen=True)
class WorkClock:
    """When the run was at work: spans of moments, the pauses between a stop and a resume left out."""

    spans: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, found: Found) -> WorkClock:
        """From the start, the endings and the resumes. A killed run worked until its last event."""
        spans: list[tuple[float, float]] = []
        begin: float | None = found.run.started
        last = found.run.started
        for event in found.events:
            kind = event.fields.get("kind")
            if kind == "resumed":
                if begin is not None:
                    spans.append((begin, last))
                begin = event.time
            elif kind in ENDINGS and begin is not None:
                spans.append((begin, event.time))
                begin = None
            last = max(last, event.time)
        if begin is not None:
            working = found.run.status == "running" and found.alive
            spans.append((begin, max(begin, found.now if working else found.run.stopped or last)))
        return cls(tuple(spans))

    @property
    def total(self) -> float:
        """Seconds at work."""
        return sum(end - begin for begin, end in self.spans)

    @property
    def end(self) -> float:
        """Moment at which it last worked."""
        return self.spans[-1][1]

    def after(self, moment: float) -> float:
        """Seconds of work until ``moment``."""
        return sum(max(0.0, min(moment, end) - begin) for begin, end in self.spans)


def timeline(found: Found, clock: WorkClock, counts: Counts) -> Timeline:
    """The curves; ``counts``: where they end."""
    events = [e for e in found.events if e.fields.get("kind") in ("candidate", "verdict")]
    generated = counts.generated - sum(e.fields["kind"] == "candidate" for e in events)
    verdicts = [e for e in events if e.fields["kind"] == "verdict"]
    evaluated = counts.evaluated - len(verdicts)
    correct = counts.correct - sum(e.fields.get("correct") == "True" for e in verdicts)
    # A run in progress counts on while its events are read: a small negative rest means nothing.
    points = [(0.0, max(0, generated), max(0, evaluated), max(0, correct))]
    for event in events:
        _, made, judged, right = points[-1]
        if event.fields["kind"] == "candidate":
            made += 1
        else:
            judged, right = judged + 1, right + (event.fields.get("correct") == "True")
        points.append((clock.after(event.time), made, judged, right))
    if events:
        points.append((max(points[-1][0], clock.total), *points[-1][1:]))
    return Timeline(
        complete=generated <= 0 and evaluated <= 0,
        moments=tuple(
            Moment(after=after, generated=made, evaluated=judged, correct=right)
            for after, made, judged, right in _thinned(points)
        ),
        best=_steps(found, clock),
    )


def _steps(found: Found, clock: WorkClock) -> dict[str, tuple[Step, ...]]:
    steps: dict[str, list[Step]] = {}
    best: dict[str, float] = {}
    for event in found.events:
        if event.fields.get("kind") != "verdict" or not improves(best, event):
            continue
        operation, hash = event.fields["operation"], event.fields["hash"]
        kernel = found.kernels.get((operation, hash))
        if kernel is not None:
            step = Step(
                after=clock.after(event.time), speedup=kernel["speedup"], speedup_low=kernel["speedup_low"],
                speedup_high=kernel["speedup_high"], hash=hash,
            )  # fmt: skip
            steps.setdefault(operation, []).append(step)
    return {operation: tuple(found_steps) for operation, found_steps in steps.items()}


def _thinned(points: list[Point]) -> list[Point]:
    """At most about ``POINTS`` of them, first and last kept."""
    if len(points) <= POINTS:
        return points
    stride = -(-len(points) // POINTS)
    return [*points[:-1:stride], points[-1]]
