"""Why an engine of vLLM died, in one line.

- The cause of a death is said only on the standard error of vLLM's own processes; what reaches the caller is
  "see above". So that output is read on its way to the log, and its last lines are kept.
- The first error that is not itself a report of another one is the cause.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator

KEPT_LINES = 2_000
"""A traceback of every rank of an engine over eight GPUs."""
LONGEST_LINE = 400
_PREFIX = re.compile(
    r"^(?:\([^)]*\)\s*)?(?:(?:ERROR|WARNING|INFO|CRITICAL)\s+\d\d-\d\d \d\d:\d\d:\d\d\s+\[[^\]]*\]\s?)?"
)
_ERROR = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?(?P<name>[A-Z]\w*(?:Error|Exception)): (?P<text>.+)$")
_REPORTS = (
    "engine core initialization failed",
    "enginecore encountered an issue",
    "enginecore failed",
    "workerproc initialization failed",
    "worker failed with error",
    "failed core proc",
    "see root cause above",
    "see stack trace",
    "cancelled",
)
_MEMORY = ("out of memory", "outofmemory", "free memory on device", "no available memory", "kv cache")


def root_cause(lines: Iterable[str]) -> str:
    """The line that says why, without vLLM's prefixes; '' when there is none."""
    for line in lines:
        found = _ERROR.match(_PREFIX.sub("", line.strip()))
        if found and not any(report in found["text"].lower() for report in _REPORTS):
            text = " ".join(f"{found['name']}: {found['text']}".split())
            return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 4] + " ..."
    return ""


def advice(cause: str) -> str:
    """What to do about it; '' when that is not known."""
    if any(word in cause.lower() for word in _MEMORY):
        return (
            "the GPU's memory does not suffice: lower max_model_len, max_num_seqs or gpu_memory_utilization in "
            "--engine-args, or give the engine more GPUs"
        )
    return ""


class StderrTail:
    """Reads what child processes write to standard error, passes it on, and keeps the end of it."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    @contextlib.contextmanager
    def for_children(self) -> Iterator[None]:
        """Processes that are started inside write through here for as long as they live."""
        self._lines.clear()
        original = os.dup(2)
        reading, writing = os.pipe()
        threading.Thread(target=self._pass_on, args=(reading, original), daemon=True).start()
        os.dup2(writing, 2)
        os.close(writing)
        try:
            yield
        finally:
            os.dup2(original, 2)

    def cause(self) -> str:
        """See ``root_cause``."""
        return root_cause(list(self._lines))

    def _pass_on(self, reading: int, original: int) -> None:
        rest = b""
        try:
            while block := os.read(reading, 65536):
                os.write(original, block)
                *whole, rest = (rest + block).split(b"\n")
                self._lines.extend(line.decode("utf-8", "replace") for line in whole)
            if rest:
                self._lines.append(rest.decode("utf-8", "replace"))
        finally:
            os.close(reading)
            os.close(original)
