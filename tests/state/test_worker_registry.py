"""What is listed lives; who is asked to leave hears it with the next beat."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.worker_registry import WorkerInfo, WorkerRegistry, beat, enter, leave

ME = WorkerInfo(
    "r/evaluate-0", "evaluate", "host", 17, device="cpu", state="idle", task="r/relu/0:0", run="r"
)


@pytest.fixture
def registry(redis_client: redis.Redis) -> WorkerRegistry:
    return WorkerRegistry(redis_client)


def test_a_worker_is_listed_as_it_describes_itself(
    redis_client: redis.Redis, registry: WorkerRegistry
) -> None:
    scripts.run(redis_client, enter(ME))
    (found,) = registry.workers()
    assert replace(found, heartbeat=0.0) == ME
    seconds, _ = redis_client.time()  # type: ignore[misc]
    assert abs(found.heartbeat - seconds) < 60


def test_a_beat_brings_its_new_state(redis_client: redis.Redis, registry: WorkerRegistry) -> None:
    scripts.run(redis_client, enter(ME))
    assert scripts.run(redis_client, beat(replace(ME, state="busy", task=""))) is False
    (found,) = registry.workers()
    assert (found.state, found.task) == ("busy", "")


def test_an_entry_that_is_not_renewed_disappears(redis_client: redis.Redis, registry: WorkerRegistry) -> None:
    scripts.run(redis_client, enter(ME, ttl_seconds=30))
    assert 0 < redis_client.pttl(Keys.worker(ME.id)) <= 30_000  # type: ignore[operator]
    redis_client.delete(Keys.worker(ME.id))  # what its expiry does
    assert registry.workers() == []
    redis_client.zadd(Keys.WORKERS, {ME.id: 1})
    scripts.run(redis_client, enter(replace(ME, id="other")))
    assert redis_client.zrange(Keys.WORKERS, 0, -1) == ["other"]  # the list is swept, too


def test_who_is_asked_to_leave_hears_it(redis_client: redis.Redis, registry: WorkerRegistry) -> None:
    scripts.run(redis_client, enter(ME))
    registry.request_shutdown(ME.id)
    assert registry.pending_shutdowns() == [ME.id]
    assert scripts.run(redis_client, beat(ME)) is True
    assert scripts.run(redis_client, beat(ME)) is True  # until it has left
    scripts.run(redis_client, leave(ME.id))
    assert registry.workers() == [] and registry.pending_shutdowns() == []
    assert redis_client.keys() == []


def test_a_request_set_by_hand_counts(redis_client: redis.Redis, registry: WorkerRegistry) -> None:
    scripts.run(redis_client, enter(ME))
    redis_client.set(f"shutdown:{ME.id}", "1")
    assert registry.shutdown_requested(ME.id)
    assert scripts.run(redis_client, beat(ME)) is True


def test_a_request_meant_for_an_earlier_process_does_not_concern_the_new_one(
    redis_client: redis.Redis, registry: WorkerRegistry
) -> None:
    registry.request_shutdown(ME.id)
    assert scripts.run(redis_client, enter(ME)) is False
    assert not registry.shutdown_requested(ME.id)


def test_a_request_can_be_taken_back(redis_client: redis.Redis, registry: WorkerRegistry) -> None:
    scripts.run(redis_client, enter(ME))
    registry.request_shutdown(ME.id)
    registry.clear_shutdown(ME.id)
    assert scripts.run(redis_client, beat(ME)) is False


def test_workers_are_sorted_and_one_leaving_does_not_concern_another(
    redis_client: redis.Redis, registry: WorkerRegistry
) -> None:
    for number in (2, 0, 1):
        scripts.run(redis_client, enter(replace(ME, id=f"r/evaluate-{number}")))
    registry.request_shutdown("r/evaluate-1")
    scripts.run(redis_client, leave("r/evaluate-0"))
    assert [worker.id for worker in registry.workers()] == ["r/evaluate-1", "r/evaluate-2"]
    assert registry.pending_shutdowns() == ["r/evaluate-1"]
