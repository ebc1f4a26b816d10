"""The loop of a run against a real Redis; the test itself plays the workers, through the state layer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random

import redis

from BackendBench.vllm_backend.fleet import pacing
from BackendBench.vllm_backend.fleet.coordinator import Coordinator, Ending, Plan
from BackendBench.vllm_backend.fleet.local import LocalFleet
from BackendBench.vllm_backend.fleet.private_redis import SharedServer
from BackendBench.vllm_backend.search.policy import (
    Feedback,
    GroupRequest,
    OperationProgress,
    Policy,
    PromptContext,
)
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.connection import connect, connect_async
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.intake import candidate_id, finish_group, submit_candidate
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.queue import ReliableQueue
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.task import EvaluationTask, GenerationTask, GroupKind
from BackendBench.vllm_backend.state.verdict import Verdict
from BackendBench.vllm_backend.state.worker_registry import WorkerRegistry


class InTurn(Policy):
    """Whole groups for one operation after the other."""

    name = "in_turn"

    def plan(
        self, progress: Sequence[OperationProgress], capacity: int, group_size: int
    ) -> list[GroupRequest]:
        wishes = []
        for one in progress:
            n = min(group_size, one.remaining, capacity)
            if n > 0:
                wishes.append(GroupRequest(one.operation, n))
                capacity -= n
        return wishes

    def compose(self, kind: GroupKind, feedback: Feedback, rng: Random) -> PromptContext:
        return PromptContext()


def plan_of(run: str, **goal: float) -> Plan:
    sampling = pacing.Sampling(run, "in_turn", "numba", "cpu", 0, 0.8, 0.95, 100)
    return Plan(
        run, InTurn(), pacing.Goal(**{"candidates_per_op": 8, **goal}), sampling, group_size=4, generators=1
    )


async def generate(url: str, worker: str = "g") -> None:
    """Sample one waiting group after the other."""
    async with connect_async(url) as client:
        queue = ReliableQueue(client, GenerationTask, worker)
        while True:
            for claimed in (await queue.claim(1, 1.0)).tasks:
                group = claimed.task
                for index in range(group.n):
                    id = candidate_id(group.id, index)
                    task = EvaluationTask(
                        id=id,
                        run=group.run,
                        operation=group.operation,
                        code=id,
                        hash=id,
                        dsl="numba",
                        target="cpu",
                    )
                    await scripts.run_async(client, submit_candidate(task))
                await scripts.run_async(client, finish_group(group))


async def evaluate(url: str, speedup: float = 2.0, worker: str = "e") -> None:
    """Every other candidate is correct."""
    async with connect_async(url) as client:
        queue = ReliableQueue(client, EvaluationTask, worker)
        while True:
            for claimed in (await queue.claim(1, 1.0)).tasks:
                task = claimed.task
                correct = task.id.endswith(("1", "3"))
                verdict = Verdict(
                    task_id=task.id, run=task.run, operation=task.operation, hash=task.hash, correct=correct,
                    speedup=speedup if correct else 0.0, error_type=None if correct else ErrorType.WRONG_VALUES,
                )  # fmt: skip
                await scripts.run_async(client, commit_verdict(task, verdict))


async def play(
    url: str, client: redis.Redis, plan: Plan, *workers: object, stop_after: float | None = None
) -> Ending:
    coordinator = Coordinator(plan, client, LocalFleet([]))
    playing = [asyncio.ensure_future(w) for w in workers]  # type: ignore[call-overload]
    if stop_after is not None:
        asyncio.get_running_loop().call_later(stop_after, coordinator.interrupt)
    ending = await asyncio.wait_for(coordinator.work(), 60)
    for task in playing:
        task.cancel()
    await asyncio.gather(*playing, return_exceptions=True)
    await coordinator.settle(ending)
    return ending


def test_a_run_spends_its_budget_exactly_and_finishes(redis_url: str, redis_client: redis.Redis) -> None:
    runs = RunStore(redis_client)
    runs.create("r", ["relu", "add"], {})
    ending = asyncio.run(
        play(redis_url, redis_client, plan_of("r"), generate(redis_url), evaluate(redis_url))
    )
    assert ending.status == "finished"
    for counters in runs.counters("r"):
        assert (counters.requested, counters.generated, counters.evaluated, counters.correct) == (8, 8, 8, 4)
    run = runs.get("r")
    assert run is not None and run.status == "finished"


def test_an_operation_ends_at_its_target_speedup(redis_url: str, redis_client: redis.Redis) -> None:
    runs = RunStore(redis_client)
    runs.create("r", ["relu"], {})
    plan = plan_of("r", candidates_per_op=1000, target_speedup=1.5)
    ending = asyncio.run(play(redis_url, redis_client, plan, generate(redis_url), evaluate(redis_url)))
    (counters,) = runs.counters("r")
    assert ending.status == "finished"
    assert counters.best_speedup == 2.0
    assert counters.requested < 100


def test_generation_never_runs_further_ahead_than_the_evaluators_digest(
    redis_url: str, redis_client: redis.Redis
) -> None:
    RunStore(redis_client).create("r", ["relu"], {})
    plan = plan_of("r", candidates_per_op=1000)
    asyncio.run(play(redis_url, redis_client, plan, generate(redis_url), stop_after=2.0))
    # Nobody evaluates: two groups for the one generator, no more; they were set aside at the end.
    assert redis_client.llen(Keys.parked(Keys.EVAL_QUEUE, "r")) == 8
    assert redis_client.llen(Keys.EVAL_QUEUE) == 0


def test_an_interrupted_run_goes_on_where_it_was(redis_url: str, redis_client: redis.Redis) -> None:
    runs = RunStore(redis_client)
    runs.create("r", ["relu"], {})
    ending = asyncio.run(play(redis_url, redis_client, plan_of("r"), generate(redis_url), stop_after=1.0))
    assert ending.status == "stopped"
    runs.unpark("r")
    runs.set_status("r", "running")
    ending = asyncio.run(
        play(redis_url, redis_client, plan_of("r"), generate(redis_url), evaluate(redis_url))
    )
    (counters,) = runs.counters("r")
    assert ending.status == "finished"
    assert (counters.requested, counters.evaluated) == (8, 8)


def test_a_shutdown_key_with_the_runs_name_stops_it(redis_url: str, redis_client: redis.Redis) -> None:
    RunStore(redis_client).create("r", ["relu"], {})
    registry = WorkerRegistry(redis_client)
    registry.request_shutdown("r")
    ending = asyncio.run(play(redis_url, redis_client, plan_of("r")))
    assert ending == Ending("stopped", "asked to stop")
    assert not registry.shutdown_requested("r")


def test_a_killed_private_redis_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    server = SharedServer(tmp_path).start()
    url = server.url

    async def scenario() -> Ending:
        with connect(url) as client:
            RunStore(client).create("r", ["relu"], {})
            coordinator = Coordinator(plan_of("r", candidates_per_op=120), client, LocalFleet([]), server)
            playing = [asyncio.ensure_future(w) for w in (generate(url), evaluate(url))]
            working = asyncio.ensure_future(coordinator.work())
            while RunStore(client).counters("r")[0].evaluated < 20:
                await asyncio.sleep(0.05)
            client.config_set("appendfsync", "always")  # what is answered from here on is on the disk
            await asyncio.sleep(0.5)
            os.kill(server.pid, signal.SIGKILL)
            ending = await asyncio.wait_for(working, 120)
            (counters,) = RunStore(client).counters("r")
            assert (counters.requested, counters.generated, counters.evaluated) == (120, 120, 120)
            for task in playing:
                task.cancel()
            await asyncio.gather(*playing, return_exceptions=True)
            return ending

    try:
        assert asyncio.run(scenario()).status == "finished"
    finally:
        server.stop()


def test_what_a_dead_worker_held_is_claimable_at_once(redis_url: str, redis_client: redis.Redis) -> None:
    RunStore(redis_client).create("r", ["relu"], {})

    async def scenario() -> list[str]:
        async with connect_async(redis_url) as client:
            task = EvaluationTask(
                id="r/relu/0:0", run="r", operation="relu", code="x", hash="x", dsl="numba", target="cpu"
            )
            await scripts.run_async(client, submit_candidate(task))
            held = await ReliableQueue(client, EvaluationTask, "dead", lease_seconds=1000).claim(1)
            assert len(held.tasks) == 1
            coordinator = Coordinator(plan_of("r"), redis_client, LocalFleet([]))
            assert coordinator.give_back(["dead"], blame=True) == 1
            again = await ReliableQueue(client, EvaluationTask, "other").claim(1)
            return [f"{c.task.id} {c.attempt}" for c in again.tasks]

    assert asyncio.run(scenario()) == ["r/relu/0:0 2"]
