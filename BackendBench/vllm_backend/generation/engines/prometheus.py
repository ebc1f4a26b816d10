"""What a vLLM server says of its load, out of the text of its ``/metrics``. Pure.

Other servers publish other metrics or none: then nothing is known, and nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from .base import Pressure

_LINE = re.compile(r"^(?P<name>vllm:[a-z_]+)(?:\{[^}]*\})? (?P<value>\S+)", re.MULTILINE)
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
PREEMPTIONS = ("vllm:num_preemptions_total", "vllm:num_preemptions")


def pressure_of(text: str) -> Pressure | None:
    """The load of one server; None when the text says nothing of it. Several engines of a server are added up."""
    values: dict[str, list[float]] = {}
    for match in _LINE.finditer(text):
        try:
            value = float(match["value"])
        except ValueError:
            continue
        if math.isfinite(value):
            values.setdefault(match["name"], []).append(value)
    if RUNNING not in values:
        return None
    usage = [v for name in KV_CACHE for v in values.get(name, [])]
    preemptions = next((values[name] for name in PREEMPTIONS if name in values), None)
    return Pressure(
        running=int(sum(values[RUNNING])),
        waiting=int(sum(values.get(WAITING, []))),
        kv_cache_usage=max(usage) if usage else None,
        preemptions=int(sum(preemptions)) if preemptions is not None else None,
    )


def together(pressures: Iterable[Pressure]) -> Pressure:
    """Several servers as one: requests and preemptions add up, the fullest cache counts."""
    found = list(pressures)
    usage = [p.kv_cache_usage for p in found if p.kv_cache_usage is not None]
    preemptions = [p.preemptions for p in found if p.preemptions is not None]
    return Pressure(
        running=sum(p.running for p in found),
        waiting=sum(p.waiting for p in found),
        kv_cache_usage=max(usage) if usage else None,
        preemptions=sum(preemptions) if preemptions else None,
    )
