"""The trace of OpInfo's database on disk, so that it costs its seconds once per torch version.

- ``$XDG_CACHE_HOME/backendbench-vllm/opinfo-<torch version>-<law>.json``.
- Written to a neighbouring file and renamed: a reader sees the whole file or none, however many write.
- A cache that is missing, broken or not writable is never an error: the trace is made anew.
- Tracing runs in a process of its own: one thread, no GPU, and what torch writes to stderr about odd samples is
  nobody's concern. Where no process can be started it runs here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from . import opinfo
from .opinfo import Outcome, Traced

LAW = 2
"""Counted up whenever opinfo.py decides differently; a cache of another law is not read."""

MOST_SECONDS = 600
"""For a trace; it takes 10 on one free core."""


@dataclass(frozen=True)
class Counts:
    """How much of the database is covered."""

    total: int
    mapped: int
    overloads: int
    """Distinct overloads of the mapped ones."""
    reasons: dict[str, int]
    """Every outcome with its number, most frequent first."""


def folder() -> Path:
    """Where the cache lies; need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "backendbench-vllm"


def path() -> Path:
    """The cache of this torch."""
    version = re.sub(r"[^\w.+-]", "_", torch.__version__)
    return folder() / f"opinfo-{version}-{LAW}.json"


@cache
def traced() -> tuple[Traced, ...]:
    """Every OpInfo with its outcome: from the cache, or traced now and cached."""
    found = _read(path())
    if found is None:
        found = _trace_apart() or tuple(opinfo.trace_all())
        _write(path(), found)
    return found


def main() -> None:
    """Trace and print: the command of the process that traces."""
    print(_text(opinfo.trace_all()))


def _trace_apart() -> tuple[Traced, ...] | None:
    """The trace made by a process of its own; None where that fails."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", f"from {__name__} import main; main()"]
    try:
        done = subprocess.run(
            command, env=surroundings, capture_output=True, text=True, timeout=MOST_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    return _parsed(lines[-1]) if lines else None


def counts() -> Counts:
    """Totals for people."""
    everything = traced()
    reasons = Counter(t.outcome.value for t in everything)
    overloads = {t.overload for t in everything if t.overload}
    return Counts(len(everything), reasons[Outcome.MAPPED.value], len(overloads), dict(reasons.most_common()))


def _read(file: Path) -> tuple[Traced, ...] | None:
    try:
        return _parsed(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _parsed(text: str) -> tuple[Traced, ...] | None:
    try:
        found = tuple(_row(row) for row in json.loads(text)["infos"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found or None


def _text(found: Sequence[Traced]) -> str:
    return json.dumps({"torch": torch.__version__, "infos": [asdict(t) for t in found]})


def _row(row: dict[str, Any]) -> Traced:
    fields = {**row, "outcome": Outcome(row["outcome"]), "aliases": tuple(row["aliases"])}
    return Traced(**fields)


def _write(file: Path, found: tuple[Traced, ...]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    except OSError:
        return
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(_text(found))
        Path(name).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
