"""What a vLLM engine in this process says of its load, kept for whoever asks. Pure; no vLLM is imported.

- vLLM calls ``record`` after every step of an engine; ``pressure`` is the last of it, summed over the engines of
  a data-parallel group. Nothing is asked, so asking costs nothing.
- vLLM calls its statistics unstable: what a version does not have counts as unknown, never as an error.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .base import Pressure
from .prometheus import together


@dataclass
class _One:
    """One engine of the group."""

    running: int = 0
    waiting: int = 0
    kv_cache_usage: float | None = None
    preemptions: int = 0


@dataclass
class EngineLoad:
    """See the module's docstring. Takes the place of a stat logger of vLLM."""

    steps: int = 0
    """Reports so far: a counter that stands still while there is work shows an engine that hangs."""
    last_step: float = field(default_factory=time.monotonic)
    """``time.monotonic`` of the last report."""
    prompt_tokens: int = 0
    generated_tokens: int = 0
    prefix_queries: int = 0
    """Tokens of prompts that were looked up in the prefix cache."""
    prefix_hits: int = 0
    """Of these, tokens that were found there."""
    _engines: dict[int, _One] = field(default_factory=dict)

    def __call__(self, _config: Any, _index: Any = 0) -> EngineLoad:
        """As vLLM's factory of stat loggers: the same object for every engine of the group."""
        return self

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, *_: Any, engine_idx: int = 0, **__: Any
    ) -> None:
        """One step, as vLLM reports it; either part may be None."""
        self.steps += 1
        self.last_step = time.monotonic()
        one = self._engines.setdefault(engine_idx, _One())
        if scheduler_stats is not None:
            one.running = int(getattr(scheduler_stats, "num_running_reqs", 0))
            one.waiting = int(getattr(scheduler_stats, "num_waiting_reqs", 0))
            one.kv_cache_usage = getattr(scheduler_stats, "kv_cache_usage", None)
            prefix = getattr(scheduler_stats, "prefix_cache_stats", None)
            self.prefix_queries += int(getattr(prefix, "queries", 0))
            self.prefix_hits += int(getattr(prefix, "hits", 0))
        if iteration_stats is not None:
            one.preemptions += int(getattr(iteration_stats, "num_preempted_reqs", 0))
            self.prompt_tokens += int(getattr(iteration_stats, "num_prompt_tokens", 0))
            self.generated_tokens += int(getattr(iteration_stats, "num_generation_tokens", 0))

    def pressure(self) -> Pressure:
        """The load after the last step."""
        return together(
            Pressure(one.running, one.waiting, one.kv_cache_usage, one.preemptions)
            for one in self._engines.values()
        )

    @property
    def prefix_hit_rate(self) -> float:
        """Share of prompt tokens that were in the prefix cache, 0 to 1."""
        return self.prefix_hits / self.prefix_queries if self.prefix_queries else 0.0

    # vLLM calls these too.
    def log_engine_initialized(self) -> None:
        """Nothing to say."""

    def log(self) -> None:
        """Nothing to say: the worker logs its groups."""

    def record_sleep_state(self, *_: Any, **__: Any) -> None:
        """This engine never sleeps."""
