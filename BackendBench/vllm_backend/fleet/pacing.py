"""How far generation may run ahead of evaluation, and when an operation is done. Pure.

- Samples and candidates under way are kept near what the evaluators digest in ``AHEAD_SECONDS``: enough that
  nobody starves, few enough that memory is bounded and prompts see fresh feedback.
- An operation is done when its target speedup is reached or its budget is spent and nothing is under way.
- Group ids count up from what Redis has counted: a coordinator that is killed between two groups repeats an
  id, which Redis ignores, and never skips one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..search.policy import GroupRequest, OperationProgress
from ..state.run_state import OperationCounters
from ..state.task import Dsl, GenerationTask, Target

AHEAD_SECONDS = 30.0
"""Longer than a group takes to sample, shorter than feedback takes to grow old."""
GROUPS_AHEAD = 2
"""Groups per generating worker kept under way at least: one sampled, one waiting."""
BATCHED_AHEAD = {"vllm": 128, "openai": 128, "embedded": 32}
"""Candidates per generating worker of an engine that batches, kept under way at least: a GPU writes few sequences
hardly faster than many, and before the first verdicts nobody knows how many can be judged. The small model on a CPU
gains little beyond 32, and verdicts come slowly there. The grammar writes one by one."""


@dataclass(frozen=True)
class Goal:
    """What ends an operation."""

    candidates_per_op: int
    target_speedup: float | None = None


@dataclass(frozen=True)
class Sampling:
    """What every group of a run has in common."""

    run: str
    policy: str
    dsl: Dsl
    target: Target
    seed: int
    temperature: float
    top_p: float
    max_tokens: int


def reached_target(counters: OperationCounters, goal: Goal) -> bool:
    """A kernel of this run, or one that it found again, is fast enough."""
    best = max(counters.best_speedup, counters.best_known_speedup)
    return goal.target_speedup is not None and best >= goal.target_speedup


def done(counters: OperationCounters, goal: Goal) -> bool:
    """Nothing is to be asked for and nothing is under way."""
    spent = counters.requested >= goal.candidates_per_op or reached_target(counters, goal)
    return spent and counters.idle


def progress(counters: OperationCounters, goal: Goal) -> OperationProgress:
    """The policy's view. An operation that reached its target has no budget left."""
    return OperationProgress(
        operation=counters.operation,
        budget=counters.requested if reached_target(counters, goal) else goal.candidates_per_op,
        requested=counters.requested,
        generated=counters.generated,
        evaluated=counters.evaluated,
        correct=counters.correct,
        best_speedup=counters.best_speedup,
        failures=dict(counters.errors),
    )


def capacity(
    counters: Sequence[OperationCounters],
    *,
    generators: int,
    group_size: int,
    verdicts_per_second: float,
    engine: str = "grammar",
) -> int:
    """Candidates that may be asked for now: whole groups. ``engine``: which one the generating workers run."""
    under_way = sum(c.awaiting_generation + c.awaiting_evaluation for c in counters)
    least = generators * least_ahead(engine, group_size)
    room = max(0, max(least, int(verdicts_per_second * AHEAD_SECONDS)) - under_way)
    return room // group_size * group_size


def least_ahead(engine: str, group_size: int) -> int:
    """Candidates that one generating worker has under way while there is budget: whole groups."""
    wanted = max(GROUPS_AHEAD * group_size, BATCHED_AHEAD.get(engine, 0))
    return -(-wanted // group_size) * group_size


def groups(
    requests: Sequence[GroupRequest], counters: Sequence[OperationCounters], sampling: Sampling
) -> list[GenerationTask]:
    """The tasks for the policy's wishes, numbered on from the groups that exist."""
    next_number = {c.operation: c.groups.get("requested", 0) for c in counters}
    tasks = []
    for request in requests:
        number = next_number[request.operation]
        next_number[request.operation] += 1
        tasks.append(
            GenerationTask(
                id=f"{sampling.run}/{request.operation}/{number}",
                run=sampling.run,
                operation=request.operation,
                n=request.n,
                dsl=sampling.dsl,
                target=sampling.target,
                policy=sampling.policy,
                kind=request.kind,
                seed=group_seed(sampling.seed, request.operation, number),
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
            )
        )
    return tasks


def group_seed(seed: int, operation: str, number: int) -> int:
    """Seed of one group, the same in every run with the same seed; 31 bits, as engines want it."""
    digest = hashlib.sha256(f"{seed}/{operation}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
