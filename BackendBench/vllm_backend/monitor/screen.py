"""Where a run talks to its user: standard output and error, that may be a terminal, a pipe, or gone.

- A reader that left (``| head``, a closed terminal) silences the stream; it never ends the run.
- ``--json``: standard output holds the report alone, everything else goes to standard error.
- ``--quiet``: no progress and no remarks; the report and what went wrong are still shown.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from .report.model import Report
from .report.terminal import show
from .report.write import NAMES, as_json

PLAIN_WIDTH = 160
"""Columns where the output is no terminal: tables stay readable in a log."""


class Patient:
    """A text stream that falls silent when its reader is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.gone = False

    def write(self, text: str) -> int:
        """Write, or nothing."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, or nothing."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Any) -> None:
        if self.gone:
            return
        try:
            action()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.gone = True
            # Python flushes the stream once more at its end, and would complain then.
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Screen:
    """What the user of ``run`` sees."""

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool = False, quiet: bool = False) -> None:
        self._out, self._err = console(out), console(err)
        self._as_json = as_json
        self.quiet = quiet
        self.progress = self._err if as_json else self._out
        """Where progress goes."""

    def say(self, text: str) -> None:
        """A remark; above the live table, if there is one."""
        if not self.quiet:
            self.progress.print(Text(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """What went wrong; always shown, on standard error."""
        self._err.print(Text(text), soft_wrap=True)

    @contextlib.contextmanager
    def live(self) -> Iterator[Live]:
        """A place that is drawn again and again, below the remarks."""
        with Live(
            console=self.progress, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        ) as live:
            yield live

    def report(self, report: Report, directory: Path) -> None:
        """The end of a run."""
        if self._as_json:
            self._out.file.write(as_json(report))
            self._out.file.flush()
        else:
            show(report, self._out)
        self.say(f"report: {', '.join(str(directory / name) for name in reversed(NAMES))}")


def console(stream: TextIO) -> Console:
    """rich's console over ``stream``; plain text of a fixed width where it is no terminal."""
    patient: Any = Patient(stream)
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=patient, width=width, highlight=False, soft_wrap=False)
