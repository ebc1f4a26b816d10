"""The trace of OpInfo's database on disk, so that it costs its seconds once per torch version.

- ``$XDG_CACHE_HOME/backendbench-vllm/opinfo-<torch version>-<law>.json``.
- Written to a neighbouring file and renamed: a reader sees the whole file or none, however many write.
- A cache that is missing, broken or not writable is never an error: the trace is made anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from . import opinfo
from .opinfo import Outcome, Traced

LAW = 1
"""Counted up whenever opinfo.py decides differently; a cache of another law is not read."""


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
        found = tuple(opinfo.trace_all())
        _write(path(), found)
    return found


def counts() -> Counts:
    """Totals for people."""
    everything = traced()
    reasons = Counter(t.outcome.value for t in everything)
    overloads = {t.overload for t in everything if t.overload}
    return Counts(len(everything), reasons[Outcome.MAPPED.value], len(overloads), dict(reasons.most_common()))


def _read(file: Path) -> tuple[Traced, ...] | None:
    try:
        rows = json.loads(file.read_text("utf-8"))["infos"]
        found = tuple(_row(row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found or None


def _row(row: dict[str, Any]) -> Traced:
    fields = {**row, "outcome": Outcome(row["outcome"]), "aliases": tuple(row["aliases"])}
    return Traced(**fields)


def _write(file: Path, found: tuple[Traced, ...]) -> None:
    text = json.dumps({"torch": torch.__version__, "infos": [asdict(t) for t in found]})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")
    except OSError:
        return
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
        Path(name).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
