"""No claimed task is lost, none is in two places, and a task that kills its workers does not circulate.

Leases are made to end by setting their expiry, not by waiting for it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.connection import connect_async
from BackendBench.vllm_backend.state.intake import finish_group
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.queue import Batch, ReliableQueue, inspect, reclaim
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.task import EvaluationTask, GenerationTask
from tests.state.samples import (
    accepted,
    candidate,
    claim,
    group,
    lose_lease,
    request,
    submit,
    with_queue,
)


def several(n: int) -> list[EvaluationTask]:
    return [candidate(f"g:{i}", code=f"x = {i}") for i in range(n)]


def waiting(client: redis.Redis) -> list[str]:
    return [json.loads(payload)["id"] for payload in client.lrange(Keys.EVAL_QUEUE, 0, -1)]  # type: ignore[union-attr]


def holders(client: redis.Redis) -> dict[str, str]:
    return {one.id: one.worker for one in inspect(client, Keys.EVAL_QUEUE).claims}


def take(url: str, n: int = 1, worker: str = "w", **settings: Any) -> Batch[EvaluationTask]:
    return with_queue(url, lambda queue: queue.claim(n), worker, **settings)


def give_back(url: str, task: EvaluationTask, worker: str = "w", *, fault: bool, **settings: Any) -> str:
    return with_queue(url, lambda queue: queue.release(task, fault=fault), worker, **settings)


def beat(url: str, *ids: str, worker: str = "w", **settings: Any) -> list[str]:
    return with_queue(url, lambda queue: queue.heartbeat(ids), worker, **settings)


# -- claim -----------------------------------------------------------------------------------------------
def test_tasks_are_claimed_in_their_order(redis_client: redis.Redis, redis_url: str) -> None:
    tasks = several(5)
    submit(redis_client, *tasks)
    batch = take(redis_url, 3)
    assert [claimed.task for claimed in batch.tasks] == tasks[:3]
    assert [claimed.attempt for claimed in batch.tasks] == [1, 1, 1]
    assert waiting(redis_client) == ["g:3", "g:4"]
    assert holders(redis_client) == {"g:0": "w", "g:1": "w", "g:2": "w"}


def test_no_task_goes_to_two_workers(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, *several(40))

    async def race() -> list[str]:
        clients = [connect_async(redis_url) for _ in range(4)]
        queues = [ReliableQueue(c, EvaluationTask, f"w{i}") for i, c in enumerate(clients)]
        batches = await asyncio.gather(*(queue.claim(3) for _ in range(5) for queue in queues))
        for client in clients:
            await client.aclose()
        return [claimed.task.id for batch in batches for claimed in batch.tasks]

    assert sorted(asyncio.run(race())) == sorted(task.id for task in several(40))


def test_an_empty_queue_gives_an_empty_batch(redis_client: redis.Redis, redis_url: str) -> None:
    batch = take(redis_url, 3)
    assert not batch and batch.tasks == batch.exhausted == batch.malformed == []
    assert not take(redis_url, 0)


def test_a_claim_waits_for_a_task(redis_client: redis.Redis, redis_url: str) -> None:
    async def use(queue: ReliableQueue[EvaluationTask]) -> Batch[EvaluationTask]:
        waits = asyncio.ensure_future(queue.claim(1, wait_seconds=30))
        await asyncio.sleep(0)
        await asyncio.to_thread(submit, redis_client, candidate("g:0"))
        return await waits

    assert [claimed.task.id for claimed in with_queue(redis_url, use).tasks] == ["g:0"]


def test_a_claim_repeated_after_a_lost_reply_gives_the_same_tasks(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client repeats a script whose reply was lost; here the script runs twice and the second reply counts."""
    submit(redis_client, *several(4))
    once = scripts.run_async

    async def twice(client: Any, call: Any) -> Any:
        await once(client, call)
        return await once(client, call)

    monkeypatch.setattr(scripts, "run_async", twice)
    batch = take(redis_url, 2)
    assert [(claimed.task.id, claimed.attempt) for claimed in batch.tasks] == [("g:0", 1), ("g:1", 1)]
    assert waiting(redis_client) == ["g:2", "g:3"]
    monkeypatch.setattr(scripts, "run_async", once)
    assert [task.id for task in claim(redis_url, 2)] == ["g:2", "g:3"]  # another request is another claim


def test_a_repeated_claim_gives_nothing_that_went_to_somebody_else(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(redis_client, *several(2))
    once = scripts.run_async

    async def twice(client: Any, call: Any) -> Any:
        await once(client, call)
        lose_lease(redis_client, "g:0")
        monkeypatch.setattr(scripts, "run_async", once)
        await ReliableQueue(client, EvaluationTask, "other").claim(1)
        return await once(client, call)

    monkeypatch.setattr(scripts, "run_async", twice)
    assert [task.id for task in claim(redis_url, 2)] == ["g:1"]
    assert holders(redis_client) == {"g:0": "other", "g:1": "w"}


def test_a_cancelled_claim_gives_back_what_it_took(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(redis_client, *several(2))
    once = scripts.run_async
    reached = asyncio.Event()

    async def slow(client: Any, call: Any) -> Any:
        reply = await once(client, call)
        if call.script == "claim":
            reached.set()
            await asyncio.sleep(0.05)
        return reply

    async def use(queue: ReliableQueue[EvaluationTask]) -> None:
        claiming = asyncio.ensure_future(queue.claim(2))
        await reached.wait()
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming

    monkeypatch.setattr(scripts, "run_async", slow)
    with_queue(redis_url, use)
    monkeypatch.setattr(scripts, "run_async", once)
    assert sorted(waiting(redis_client)) == ["g:0", "g:1"] and holders(redis_client) == {}
    assert [claimed.attempt for claimed in take(redis_url, 2).tasks] == [1, 1]


# -- leases ----------------------------------------------------------------------------------------------
def test_a_silent_worker_loses_its_task_to_the_next(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, *several(2))
    claim(redis_url, worker="silent")
    assert [task.id for task in claim(redis_url, worker="next")] == ["g:1"]  # the lease still runs
    lose_lease(redis_client, "g:0")
    batch = take(redis_url, worker="next")
    assert [(claimed.task.id, claimed.attempt) for claimed in batch.tasks] == [("g:0", 2)]
    assert holders(redis_client) == {"g:0": "next", "g:1": "next"}


def test_a_lost_task_is_the_next_to_be_claimed(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, *several(3))
    claim(redis_url, worker="silent")
    lose_lease(redis_client, "g:0")
    assert [task.id for task in claim(redis_url, 3, worker="next")] == ["g:0", "g:1", "g:2"]


def test_a_heartbeat_extends_the_lease(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, candidate("g:0"))
    claim(redis_url, lease_seconds=10)
    (before,) = inspect(redis_client, Keys.EVAL_QUEUE).claims
    assert 0 < before.lease_left <= 10
    assert beat(redis_url, "g:0", lease_seconds=1000) == []
    (after,) = inspect(redis_client, Keys.EVAL_QUEUE).claims
    assert 900 < after.lease_left <= 1000
    assert after.since == before.since


def test_an_overdue_lease_that_nobody_took_lives_again_by_a_heartbeat(
    redis_client: redis.Redis, redis_url: str
) -> None:
    submit(redis_client, candidate("g:0"))
    claim(redis_url)
    lose_lease(redis_client, "g:0")
    assert beat(redis_url, "g:0") == []
    assert claim(redis_url, worker="next") == []


def test_a_heartbeat_says_what_was_lost(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, *several(2))
    claim(redis_url, 2)
    lose_lease(redis_client, "g:0")
    claim(redis_url, worker="next")
    assert beat(redis_url, "g:0", "g:1", "unheard-of") == ["g:0", "unheard-of"]
    assert holders(redis_client) == {"g:0": "next", "g:1": "w"}
    assert beat(redis_url) == []


# -- release ---------------------------------------------------------------------------------------------
def test_an_untouched_task_goes_back_to_the_head_without_blame(
    redis_client: redis.Redis, redis_url: str
) -> None:
    submit(redis_client, *several(2))
    (task,) = claim(redis_url)
    assert give_back(redis_url, task, fault=False) == "requeued"
    assert waiting(redis_client) == ["g:0", "g:1"] and holders(redis_client) == {}
    for _ in range(10):  # however often: it never counts as an attempt
        batch = take(redis_url)
        assert [(c.task.id, c.attempt) for c in batch.tasks] == [("g:0", 1)] and not batch.exhausted
        give_back(redis_url, task, fault=False)


def test_a_task_that_infrastructure_failed_goes_to_the_tail(
    redis_client: redis.Redis, redis_url: str
) -> None:
    submit(redis_client, *several(2))
    (task,) = claim(redis_url)
    assert give_back(redis_url, task, fault=True) == "requeued"
    assert waiting(redis_client) == ["g:1", "g:0"]
    assert [claimed.attempt for claimed in take(redis_url, 2).tasks] == [1, 1]


def test_a_task_that_is_not_held_cannot_be_released(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, candidate("g:0"))
    (task,) = claim(redis_url, worker="other")
    assert give_back(redis_url, task, fault=False) == "lost"
    assert give_back(redis_url, task, fault=True) == "lost"
    assert holders(redis_client) == {"g:0": "other"} and waiting(redis_client) == []


def test_a_candidate_that_infrastructure_keeps_failing_is_set_aside_without_a_verdict(
    redis_client: redis.Redis, redis_url: str
) -> None:
    runs = RunStore(redis_client)
    runs.create("r", ["relu"], {})
    submit(redis_client, candidate("r/relu/0:0"))
    outcomes = []
    for _ in range(3):
        (task,) = claim(redis_url, max_faults=2)
        outcomes.append(give_back(redis_url, task, fault=True, max_faults=2))
    assert outcomes == ["requeued", "requeued", "abandoned"]
    assert waiting(redis_client) == [] and holders(redis_client) == {}
    (counted,) = runs.counters("r")
    assert (counted.abandoned, counted.evaluated, counted.awaiting_evaluation) == (1, 0, 0)
    assert not redis_client.exists(Keys.op_kernels("relu"))
    # A resume judges it, with its faults forgotten.
    assert runs.unpark("r") == 1
    (counted,) = runs.counters("r")
    assert (counted.abandoned, counted.awaiting_evaluation) == (0, 1)
    (task,) = claim(redis_url, max_faults=2)
    assert give_back(redis_url, task, fault=True, max_faults=2) == "requeued"


def test_a_kernel_that_was_set_aside_may_be_submitted_again(
    redis_client: redis.Redis, redis_url: str
) -> None:
    submit(redis_client, candidate("r/relu/0:0"))
    (task,) = claim(redis_url)
    assert give_back(redis_url, task, fault=True, max_faults=0) == "abandoned"
    assert submit(redis_client, candidate("r/relu/1:0")) == ["queued"]


def test_a_group_that_infrastructure_keeps_failing_ends_short(
    redis_client: redis.Redis, redis_url: str
) -> None:
    runs = RunStore(redis_client)
    runs.create("r", ["relu"], {})
    request(redis_client, group(n=4))
    submit(redis_client, candidate("r/relu/0:0"))

    async def use(queue: Any) -> str:
        (claimed,) = (await queue.claim(1)).tasks
        return await queue.release(claimed.task, fault=True)

    assert with_queue(redis_url, use, kind=GenerationTask, max_faults=0) == "abandoned"
    (counted,) = runs.counters("r")
    assert (counted.requested, counted.shortfall, counted.groups["abandoned"]) == (1, 3, 1)
    assert redis_client.llen(Keys.GENERATION_QUEUE) == 0


# -- attempts --------------------------------------------------------------------------------------------
def test_a_task_that_keeps_killing_its_workers_comes_back_as_exhausted(
    redis_client: redis.Redis, redis_url: str
) -> None:
    submit(redis_client, candidate("g:0"))
    for attempt in (1, 2, 3):
        batch = take(redis_url, worker=f"w{attempt}", max_attempts=3)
        assert [(c.attempt, c.task.id) for c in batch.tasks] == [(attempt, "g:0")] and not batch.exhausted
        lose_lease(redis_client, "g:0")
    batch = take(redis_url, max_attempts=3)
    assert batch and batch.tasks == []
    assert [(claimed.task.id, claimed.attempt) for claimed in batch.exhausted] == [("g:0", 3)]
    assert holders(redis_client) == {"g:0": "w"}  # still under lease: its verdict is not lost either


def test_a_task_whose_verdict_was_committed_has_no_history(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, candidate("g:0"))
    (task,) = claim(redis_url)
    scripts.run(redis_client, commit_verdict(task, accepted(task)))
    for key in [*Keys.queue(Keys.EVAL_QUEUE)]:
        assert not redis_client.exists(key), key


# -- reclaim ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("blame", "attempt"), [(True, 2), (False, 1)])
def test_all_that_a_dead_worker_held_is_put_back_at_once(
    redis_client: redis.Redis, redis_url: str, blame: bool, attempt: int
) -> None:
    submit(redis_client, *several(3))
    claim(redis_url, 2, worker="dead")
    claim(redis_url, 1, worker="alive")
    assert sorted(scripts.run(redis_client, reclaim(Keys.EVAL_QUEUE, "dead", blame=blame))) == ["g:0", "g:1"]
    assert sorted(waiting(redis_client)) == ["g:0", "g:1"]
    assert holders(redis_client) == {"g:2": "alive"}
    assert [claimed.attempt for claimed in take(redis_url, 2).tasks] == [attempt] * 2
    assert scripts.run(redis_client, reclaim(Keys.EVAL_QUEUE, "dead", blame=blame)) == []


def test_a_worker_started_again_under_its_old_name_gets_what_is_in_the_queue(
    redis_client: redis.Redis, redis_url: str
) -> None:
    """The receipt of the dead process's last claim does not answer the new one's first."""
    submit(redis_client, *several(2))
    claim(redis_url)
    scripts.run(redis_client, reclaim(Keys.EVAL_QUEUE, "w", blame=True))
    batch = take(redis_url, 2)
    assert [(claimed.task.id, claimed.attempt) for claimed in batch.tasks] == [("g:0", 2), ("g:1", 1)]


# -- what is no task -------------------------------------------------------------------------------------
MALFORMED = [
    "",
    "no json",
    "[1]",
    "17",
    "null",
    '"text"',
    "{}",
    '{"id": 3}',
    '{"id": "x"}',
    '{"id": "y", "n": 1}',
]


def test_what_is_no_task_is_set_aside_and_delays_nobody(redis_client: redis.Redis, redis_url: str) -> None:
    redis_client.rpush(Keys.EVAL_QUEUE, *MALFORMED)
    submit(redis_client, candidate("g:0"))
    batch = take(redis_url, 10)
    assert [claimed.task.id for claimed in batch.tasks] == ["g:0"]
    state = inspect(redis_client, Keys.EVAL_QUEUE)
    assert state.malformed == len(MALFORMED)
    assert [one.id for one in state.claims] == ["g:0"]
    assert sorted(redis_client.lrange(Keys.malformed(Keys.EVAL_QUEUE), 0, -1)) == sorted(MALFORMED)  # type: ignore[type-var, arg-type]


def test_bytes_that_are_no_text_are_set_aside(redis_client: redis.Redis, redis_url: str) -> None:
    redis_client.rpush(Keys.EVAL_QUEUE, b"\xff\xfe\x00", b'{"id": "\xff"}')
    assert not take(redis_url, 10).tasks
    assert inspect(redis_client, Keys.EVAL_QUEUE).malformed == 2
    assert inspect(redis_client, Keys.EVAL_QUEUE).claims == []


@pytest.mark.parametrize("payload", ["nonsense", '{"id": "x%d"}'])
def test_what_is_set_aside_is_bounded(redis_client: redis.Redis, redis_url: str, payload: str) -> None:
    redis_client.rpush(Keys.EVAL_QUEUE, *(payload.replace("%d", str(number)) for number in range(250)))
    take(redis_url, 250)
    assert inspect(redis_client, Keys.EVAL_QUEUE).malformed == 100
    assert inspect(redis_client, Keys.EVAL_QUEUE).claims == []


def test_a_task_pushed_twice_is_handed_out_once(redis_client: redis.Redis, redis_url: str) -> None:
    payload = candidate("g:0").model_dump_json()
    redis_client.rpush(Keys.EVAL_QUEUE, payload, payload)
    assert [task.id for task in claim(redis_url, 2)] == ["g:0"]


# -- the two queues --------------------------------------------------------------------------------------
def test_groups_and_candidates_have_queues_of_their_own(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, candidate("g:0"))
    request(redis_client, group("g"))
    batch = with_queue(redis_url, lambda queue: queue.claim(5), kind=GenerationTask)
    assert [claimed.task for claimed in batch.tasks] == [group("g")]
    scripts.run(redis_client, finish_group(group("g")))
    assert with_queue(redis_url, lambda queue: queue.depth()) == 1
    assert [task.id for task in claim(redis_url)] == ["g:0"]


@given(id=st.text(st.characters(codec="utf-8"), min_size=1), code=st.text(st.characters(codec="utf-8")))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_passes_through_the_queue(
    redis_client: redis.Redis, redis_url: str, id: str, code: str
) -> None:
    redis_client.flushall()
    task = candidate(id, code=code)
    submit(redis_client, task)
    assert claim(redis_url) == [task]
    assert give_back(redis_url, task, fault=False) == "requeued"
