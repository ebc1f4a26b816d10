"""From the wish for candidates to candidates that wait for evaluation; everything is counted exactly once.

- ``requested`` rises when a group is queued and is corrected when the group ends with samples missing.
- Every sample that came back counts as ``generated`` and as one of ``queued``, ``duplicates``, ``unusable``.
  So, when all groups of a run are finished: requested = generated = queued + duplicates + unusable.
- A sample is known by its id ``{group}:{index}``: a group sampled twice, because a worker died, counts once.
- A hash that is queued or judged already, in any run, is a duplicate: counted, not queued.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from .keys import Keys
from .scripts import Arg, ScriptCall
from .task import EvaluationTask, GenerationTask

SubmitOutcome = Literal["queued", "duplicate", "repeated"]
GroupOutcome = Literal["finished", "aborted", "killed_worker", "abandoned"]
"""How a group ended. ``aborted``: its operation needs no more; ``killed_worker``: attempts used up;
``abandoned``: infrastructure kept failing it."""

EVENTS_CAP = 50_000
"""Events kept of one run, about 15 MB: two a candidate, so 25,000 candidates before the oldest fall out.
The counters are complete whatever falls out here."""


def candidate_id(group: str, index: int) -> str:
    """Id of one sample of a group."""
    return f"{group}:{index}"


def request_group(task: GenerationTask) -> ScriptCall[bool]:
    """Queue a group. False when a group of this id was queued before: nothing is counted twice."""
    keys = [
        Keys.GENERATION_QUEUE,
        Keys.groups(task.run),
        Keys.run_stats(task.run, task.operation),
        Keys.OPERATIONS,
    ]
    return ScriptCall("request_group", keys, [task.id, task.n, task.model_dump_json(), task.operation], bool)


def submit_candidate(task: EvaluationTask) -> ScriptCall[SubmitOutcome]:
    """Queue a candidate. ``duplicate``: counted, not queued; ``repeated``: this id came before."""
    keys = [
        Keys.submitted(task.run),
        Keys.done(task.run),
        Keys.known(task.operation),
        Keys.EVAL_QUEUE,
        Keys.kernel(task.operation, task.hash),
        Keys.run_stats(task.run, task.operation),
        Keys.op_stats(task.operation),
        Keys.OPERATIONS,
        Keys.run_events(task.run),
    ]
    args: list[Arg] = [
        task.id,
        _group_of(task.id),
        task.hash,
        task.model_dump_json(),
        task.tokens,
        repr(float(task.generation_seconds)),
        task.operation,
        EVENTS_CAP,
        repr(float(task.gpu_seconds)),
    ]
    return ScriptCall("submit_candidate", keys, args, lambda reply: reply)


def record_unusable(
    group: GenerationTask,
    index: int,
    reason: str,
    *,
    tokens: int = 0,
    generation_seconds: float = 0.0,
    gpu_seconds: float = 0.0,
) -> ScriptCall[Literal["unusable", "repeated"]]:
    """Count a sample of which no kernel could be extracted; ``reason`` is a short snake_case class."""
    keys = [
        Keys.submitted(group.run),
        Keys.done(group.run),
        Keys.run_stats(group.run, group.operation),
        Keys.op_stats(group.operation),
        Keys.OPERATIONS,
        Keys.run_events(group.run),
    ]
    id = candidate_id(group.id, index)
    args: list[Arg] = [
        id,
        group.id,
        reason,
        tokens,
        repr(float(generation_seconds)),
        group.operation,
        EVENTS_CAP,
        repr(float(gpu_seconds)),
    ]
    return ScriptCall("record_unusable", keys, args, lambda reply: reply)


def finish_group(task: GenerationTask, outcome: GroupOutcome = "finished") -> ScriptCall[int | None]:
    """Acknowledge a group; samples that never came are taken off ``requested``.

    Returns their number, or None when somebody finished the group before.
    """
    keys = [
        *Keys.queue(Keys.GENERATION_QUEUE),
        Keys.done(task.run),
        Keys.submitted(task.run),
        Keys.run_stats(task.run, task.operation),
    ]
    args: list[Arg] = [task.id, outcome, *(candidate_id(task.id, index) for index in range(task.n))]
    return ScriptCall("finish_group", keys, args, lambda reply: None if reply < 0 else int(reply))


def park_run(queue: str, run: str, operations: Iterable[str]) -> ScriptCall[int]:
    """Set the waiting tasks of a stopped run aside; returns how many. ``operations``: all of the run."""
    names = list(operations)
    keys = [queue, Keys.parked(queue, run), *(Keys.known(name) for name in names)]
    return ScriptCall("park_run", keys, [run, *names], int)


def unpark_run(queue: str, run: str, operations: Iterable[str]) -> ScriptCall[int]:
    """Put back what was set aside, because the run goes on; returns how many."""
    names = list(operations) if queue == Keys.EVAL_QUEUE else []
    keys = [queue, Keys.parked(queue, run), Keys.done(run)]
    for name in names:
        keys += [Keys.known(name), Keys.run_stats(run, name)]
    return ScriptCall("unpark_run", keys, [*names], int)


def _group_of(candidate: str) -> str:
    return candidate.rpartition(":")[0]
