"""Live progress of a run: a table on a terminal, plain lines everywhere else.

- Painting has a thread of its own: neither a stalled terminal nor a Redis that is away delays the coordinator,
  and the display says so while Redis is away or workers drain.
- ``on_tick`` only notes the counters that it is given. When ticks stop coming, what ``Watcher`` reads is shown.
- Ctrl-C does not reach it: signals are the run's; leaving the context restores the terminal.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

import redis
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..fleet import pacing
from ..state.run_state import OperationCounters
from . import view as views
from . import words
from .screen import Screen
from .surroundings import Watcher
from .view import History, View

PAINT_SECONDS = 0.5
"""Pause between two pictures on a terminal."""
LINE_SECONDS = 10.0
"""Pause between two plain lines: a log of an hour stays readable."""
STALE_SECONDS = 2.0
"""Without a tick for this long, the watcher's counters are newer."""
LEAVE_SECONDS = 5.0
"""A terminal that is stopped (Ctrl-S) must not keep a run from ending."""
FRAME_ROWS = 9
"""Lines of the live display that are not operations."""


class Progress:
    """See the module's docstring."""

    def __init__(
        self, screen: Screen, watcher: Watcher, goal: pacing.Goal, deadline: float | None = None
    ) -> None:
        self._screen, self._watcher, self._goal, self._deadline = screen, watcher, goal, deadline
        self._history = History()
        self._counters: list[OperationCounters] = []
        self._ticked = self._began = time.monotonic()
        self._told: dict[str, OperationCounters] = {}
        self._lock = threading.Lock()
        self.phase = ""

    def on_tick(self, counters: Sequence[OperationCounters]) -> None:
        """Note where the run stands; returns at once."""
        with self._lock:
            self._counters, self._ticked = list(counters), time.monotonic()
            # What a resumed run had reached before is no news.
            self._told = self._told or {one.operation: one for one in counters}

    def view(self) -> View:
        """Where the run stands now."""
        now = time.monotonic()
        with self._lock:
            if now - self._ticked > STALE_SECONDS and self._watcher.counters:
                self._counters = self._watcher.counters
            counters = self._counters
        self._history.add(now, counters)
        return views.build(
            counters, self._goal, self._history, self._watcher.surroundings(), now - self._began,
            None if self._deadline is None else self._deadline - now, self.phase,
        )  # fmt: skip

    def tell_news(self) -> None:
        """Say what happened since the last time."""
        counters = self._counters
        for line in views.news(self._told, counters, self._goal):
            self._screen.say(f"[{views.clock(time.monotonic() - self._began)}] {line}")
        self._told = {one.operation: one for one in counters}

    def paint(self, ending: threading.Event) -> None:
        """Until ``ending``: the table, or the lines."""
        if self._screen.progress.is_terminal:
            with self._screen.live() as live:
                self._paint_live(live, ending)
        else:
            self._print_lines(ending)

    def _paint_live(self, live: Live, ending: threading.Event) -> None:
        while True:
            over = ending.wait(PAINT_SECONDS)
            current = self.view()
            self.tell_news()
            room = max(3, self._screen.progress.height - FRAME_ROWS)
            live.update(drawn(current, room), refresh=True)
            if over:
                return

    def _print_lines(self, ending: threading.Event) -> None:
        due = time.monotonic() + LINE_SECONDS
        while not ending.wait(PAINT_SECONDS):
            current = self.view()
            self.tell_news()
            if time.monotonic() >= due:
                due += LINE_SECONDS
                self._screen.say(views.line(current))
        last = self.view()
        self.tell_news()
        self._screen.say(views.line(last))


@contextlib.contextmanager
def shown(
    screen: Screen, client: redis.Redis, run: str, goal: pacing.Goal, deadline: float | None = None
) -> Iterator[Progress]:
    """Progress of ``run`` on ``screen`` while the context lasts. ``deadline``: of ``time.monotonic``."""
    watcher = Watcher(client, run)
    progress = Progress(screen, watcher, goal, deadline)
    if screen.quiet:
        yield progress
        return
    ending = threading.Event()
    painter = threading.Thread(target=progress.paint, args=(ending,), name="progress", daemon=True)
    watcher.start()
    painter.start()
    try:
        yield progress
    finally:
        ending.set()
        painter.join(timeout=LEAVE_SECONDS)
        watcher.stop()


def drawn(view: View, room: int) -> RenderableType:
    """The view as rich draws it, with at most ``room`` operations."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("operation", no_wrap=True)
    table.add_column("", width=12)
    for name in ("generated", "evaluated", "correct", "faster", "best", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    rows, hidden = views.chosen_rows(view, room)
    for row in rows:
        low, high = row.interval or (0.0, 0.0)
        table.add_row(
            row.operation,
            ProgressBar(
                total=max(1, row.budget), completed=row.budget if row.done else row.generated, width=12
            ),
            f"{words.count(row.generated)}/{words.count(row.budget)}",
            words.count(row.evaluated),
            words.count(row.correct),
            words.count(row.faster),
            Text(words.speedup(row.best_speedup), style="green" if low > 1 else ""),
            words.interval(low, high),
            style="dim" if row.done else "",
        )
    if hidden:
        table.add_row(f"and {hidden} more", style="dim")
    return Group(*_heading(view), table)


def _heading(view: View) -> list[RenderableType]:
    first = [
        f"{views.clock(view.elapsed)}",
        f"{view.done} of {len(view.rows)} operations done",
        views.eta_text(view),
    ]
    lines = [" · ".join(part for part in part_list if part) for part_list in (
        first, [views.rates_text(view)], [views.queues_text(view)], [views.gpu_text(g) for g in view.around.gpus],
    )]  # fmt: skip
    made: list[RenderableType] = [Text(""), *(Text(line) for line in lines if line)]
    trouble = [text for text in (view.phase, views.silence(view)) if text]
    if trouble:
        made.insert(1, Text(" · ".join(trouble), style="yellow"))
    return made
