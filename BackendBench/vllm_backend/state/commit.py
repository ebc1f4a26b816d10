"""The one way by which a verdict becomes part of the store.

- Kernel, set, statistics, best list, failures, events, result and acknowledgement are one atomic script.
- The first commit of a task wins, also when it comes from a worker whose lease had run out; later ones change
  nothing and are told ``duplicate``. The task is removed from wherever it is, so it is not judged again.
- The first verdict of a hash stays; another task with the same hash is counted as a duplicate (``known``).
- Numbers are stored as decimal text, ``correct`` as ``True`` or ``False``.
"""

from __future__ import annotations

import json
import math
import time
from decimal import Decimal
from typing import Literal

from .error_type import ErrorType
from .intake import EVENTS_CAP
from .keys import Keys
from .scripts import Arg, ScriptCall
from .task import EvaluationTask
from .verdict import Verdict

CommitOutcome = Literal["committed", "duplicate", "known"]

COMPLETED_CAP = 10_000
"""Results kept in completed_tasks; the kernels themselves are kept for ever."""
FAILURES_CAP = 64
"""Recent failures kept as feedback: a prompt shows a handful, a policy chooses among these."""
ERROR_CHARACTERS = 8_000
"""Longest error text stored: above what any prompt shows, and a message of a megabyte stays harmless."""


def commit_verdict(task: EvaluationTask, verdict: Verdict) -> ScriptCall[CommitOutcome]:
    """Record what the judge said of ``task``.

    Raises ValueError when the verdict is of another task, is not finite, or is neither correct nor explained.
    """
    _check(task, verdict)
    verdict = verdict.model_copy(
        update={"error": _storable(verdict.error), "failing_case": _storable(verdict.failing_case)}
    )
    operation, run = task.operation, task.run
    keys = [
        *Keys.queue(Keys.EVAL_QUEUE),
        Keys.done(run),
        Keys.kernel(operation, task.hash),
        Keys.op_kernels(operation),
        Keys.op_stats(operation),
        Keys.best(operation),
        Keys.failures(operation),
        Keys.feedback_version(operation),
        Keys.known(operation),
        Keys.OPERATIONS,
        Keys.run_stats(run, operation),
        Keys.run_events(run),
        Keys.COMPLETED_TASKS,
    ]
    args: list[Arg] = [
        task.id,
        task.hash,
        operation,
        decimal(verdict.speedup),
        int(verdict.correct),
        int(verdict.faster_than_eager),
        verdict.error_type.value if verdict.error_type else "",
        task.feedback_version,
        verdict.model_dump_json(),
        verdict.worker,
        FAILURES_CAP,
        COMPLETED_CAP,
        EVENTS_CAP,
        len(verdict.stage_seconds),
    ]
    for stage, seconds in verdict.stage_seconds.items():
        args += [stage, decimal(seconds)]
    for field, value in kernel_fields(task, verdict).items():
        args += [field, value]
    return ScriptCall("commit_verdict", keys, args, lambda reply: reply)


def kernel_fields(task: EvaluationTask, verdict: Verdict) -> dict[str, str]:
    """The hash ``kernel:{operation}:{hash}``; nested values are JSON."""
    return {
        "code": task.code,
        "correct": str(verdict.correct),
        "speedup": decimal(verdict.speedup),
        "error": verdict.error,
        "timestamp": decimal(verdict.timestamp or time.time()),
        "error_type": verdict.error_type.value if verdict.error_type else "",
        "speedup_low": decimal(verdict.speedup_low),
        "speedup_high": decimal(verdict.speedup_high),
        "faster_than_eager": str(verdict.faster_than_eager),
        "failing_case": verdict.failing_case,
        "label": verdict.label,
        "cases_passed": str(verdict.cases_passed),
        "cases_total": str(verdict.cases_total),
        "timings": json.dumps([timing.model_dump() for timing in verdict.timings]),
        "stage_seconds": json.dumps(verdict.stage_seconds),
        "device": verdict.device,
        "versions": json.dumps(verdict.versions),
        "conditions": json.dumps(verdict.conditions),
        "worker": verdict.worker,
        "task_id": task.id,
        "run": task.run,
        "dsl": task.dsl,
        "target": task.target,
        "model": task.model,
        "parents": json.dumps(task.parents),
        "prompt_kind": task.prompt_kind,
        "feedback_version": str(task.feedback_version),
        "tokens": str(task.tokens),
        "generation_seconds": decimal(task.generation_seconds),
        "gpu_seconds": decimal(task.gpu_seconds),
    }


def killed_worker(task: EvaluationTask, attempts: int, worker: str) -> Verdict:
    """The verdict of a candidate whose attempts are used up."""
    return Verdict(
        task_id=task.id,
        run=task.run,
        operation=task.operation,
        hash=task.hash,
        correct=False,
        error_type=ErrorType.KILLED_WORKER,
        error=f"the evaluating worker died {attempts} times while it held this kernel",
        worker=worker,
        timestamp=time.time(),
    )


def decimal(value: float) -> str:
    """Decimal text that reads back as the same number, without an exponent or a trailing ``.0``."""
    return format(Decimal(repr(float(value))), "f").removesuffix(".0")


def _storable(text: str) -> str:
    """Bounded and valid UTF-8: the text may come from a hostile process."""
    short = text if len(text) <= ERROR_CHARACTERS else text[:ERROR_CHARACTERS] + " ..."
    return short.encode("utf-8", "replace").decode("utf-8")


def _check(task: EvaluationTask, verdict: Verdict) -> None:
    if (verdict.task_id, verdict.operation, verdict.hash) != (task.id, task.operation, task.hash):
        raise ValueError(f"the verdict is of {verdict.task_id}, not of task {task.id}")
    numbers = [verdict.speedup, verdict.speedup_low, verdict.speedup_high, *verdict.stage_seconds.values()]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"the verdict of {task.id} holds a number that is not finite")
    if verdict.correct == (verdict.error_type is not None):
        raise ValueError(f"the verdict of {task.id} needs to be correct or to have an error type")
