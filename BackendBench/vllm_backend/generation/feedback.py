"""What the store knows of an operation, as a prompt may show it.

- Only kernels of the task's own DSL and target: a Numba kernel teaches nothing about Triton.
- The version is read first: what a prompt shows is at least as new as the version that its candidates record.
"""

from __future__ import annotations

from typing import Any

from ..search.policy import Exemplar, Failure, Feedback
from ..state.store import KernelStore
from ..state.task import GenerationTask

FAILURES_READ = 64
"""All that the store remembers as recent; the policy chooses among them."""
EXEMPLARS_READ = 16
"""More than any policy shows, because some may be of another DSL."""


def read_feedback(store: KernelStore, task: GenerationTask) -> Feedback:
    """The feedback for a group. Blocks; raises redis-py's errors."""
    version = store.feedback_version(task.operation)
    if not version:
        return Feedback()
    failures = store.failures(task.operation, FAILURES_READ)
    best = store.get_best_kernels(task.operation, EXEMPLARS_READ)
    return Feedback(
        version,
        tuple(_failure(kernel) for kernel in failures if _fits(kernel, task)),
        # Speedup 0: correct but not timed, nothing to be proud of.
        tuple(
            Exemplar(kernel["hash"], kernel["speedup"], kernel["code"])
            for kernel in best
            if _fits(kernel, task) and kernel["speedup"] > 0
        ),
    )


def _fits(kernel: dict[str, Any], task: GenerationTask) -> bool:
    return bool(kernel.get("dsl") == task.dsl and kernel.get("target") == task.target)


def _failure(kernel: dict[str, Any]) -> Failure:
    return Failure(
        kernel["hash"],
        kernel.get("error_type", ""),
        kernel.get("error", ""),
        kernel.get("failing_case", ""),
        kernel["code"],
    )
