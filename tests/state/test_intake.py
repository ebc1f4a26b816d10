"""Everything that is asked for and comes back is counted exactly once."""

from __future__ import annotations

import pytest
import redis
from pydantic import ValidationError

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.intake import (
    candidate_id,
    finish_group,
    record_unusable,
    request_group,
)
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.run_state import OperationCounters, RunStore
from BackendBench.vllm_backend.state.store import KernelStore
from BackendBench.vllm_backend.state.task import EvaluationTask, GenerationTask
from tests.state.samples import (
    accepted,
    candidate,
    claim,
    group,
    rejected,
    request,
    snapshot,
    submit,
    with_queue,
)


@pytest.fixture(autouse=True)
def run(redis_client: redis.Redis) -> None:
    """A run ``r`` of two operations."""
    RunStore(redis_client).create("r", ["relu", "add"], {})


def counters(client: redis.Redis, operation: str = "relu", run: str = "r") -> OperationCounters:
    (found,) = [c for c in RunStore(client).counters(run) if c.operation == operation]
    return found


def unusable(client: redis.Redis, index: int, reason: str = "no_code") -> str:
    return scripts.run(client, record_unusable(group(), index, reason, tokens=7, generation_seconds=0.5))


def finish(client: redis.Redis, task: GenerationTask, outcome: str = "finished") -> int | None:
    return scripts.run(client, finish_group(task, outcome))  # type: ignore[arg-type]


def test_a_group_is_queued_and_counted(redis_client: redis.Redis) -> None:
    request(redis_client, group(n=4))
    (payload,) = redis_client.lrange(Keys.GENERATION_QUEUE, 0, -1)
    assert GenerationTask.model_validate_json(payload) == group(n=4)
    found = counters(redis_client)
    assert (found.requested, found.awaiting_generation, found.groups) == (4, 4, {"requested": 1})


def test_a_group_that_is_asked_for_twice_counts_once(redis_client: redis.Redis) -> None:
    request(redis_client, group())
    before = snapshot(redis_client)
    assert scripts.run(redis_client, request_group(group())) is False
    assert snapshot(redis_client) == before


def test_a_candidate_is_queued_and_counted(redis_client: redis.Redis) -> None:
    task = candidate(candidate_id("r/relu/0", 3), tokens=100, generation_seconds=0.25, parents=("a", "b"))
    assert submit(redis_client, task) == ["queued"]
    (payload,) = redis_client.lrange(Keys.EVAL_QUEUE, 0, -1)
    assert EvaluationTask.model_validate_json(payload) == task
    found = counters(redis_client)
    assert (found.generated, found.queued, found.duplicates, found.tokens) == (1, 1, 0, 100)
    assert found.generation_seconds == 0.25
    assert found.awaiting_evaluation == 1
    stats = KernelStore(client=redis_client).get_operation_stats("relu")
    assert (stats["generated"], stats["queued"], stats["tokens"]) == (1, 1, 100)


def test_a_candidate_that_comes_twice_counts_once(redis_client: redis.Redis) -> None:
    submit(redis_client, candidate("g:0"))
    before = snapshot(redis_client)
    assert submit(redis_client, candidate("g:0")) == ["repeated"]
    assert submit(redis_client, candidate("g:0", code="another = 1")) == ["repeated"]
    assert snapshot(redis_client) == before


def test_the_same_kernel_again_is_a_duplicate_and_not_queued(redis_client: redis.Redis) -> None:
    assert submit(redis_client, candidate("g:0"), candidate("g:1")) == ["queued", "duplicate"]
    assert redis_client.llen(Keys.EVAL_QUEUE) == 1
    found = counters(redis_client)
    assert (found.generated, found.queued, found.duplicates) == (2, 1, 1)


def test_the_same_kernel_of_an_earlier_run_is_a_duplicate(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, candidate("g:0"))
    (task,) = claim(redis_url)
    scripts.run(redis_client, commit_verdict(task, accepted(task, 1.75)))
    RunStore(redis_client).create("later", ["relu"], {})
    assert submit(redis_client, candidate("h:0", run="later")) == ["duplicate"]
    found = counters(redis_client, run="later")
    assert (found.duplicates, found.duplicates_of_correct, found.best_known_speedup) == (1, 1, 1.75)
    assert found.evaluated == 0


def test_a_duplicate_of_a_rejected_kernel_is_no_find(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, candidate("g:0"))
    (task,) = claim(redis_url)
    scripts.run(redis_client, commit_verdict(task, rejected(task)))
    submit(redis_client, candidate("g:1"))
    found = counters(redis_client)
    assert (found.duplicates, found.duplicates_of_correct, found.best_known_speedup) == (1, 0, 0.0)


def test_the_same_code_for_another_operation_is_another_kernel(redis_client: redis.Redis) -> None:
    assert submit(redis_client, candidate("g:0"), candidate("h:0", operation="add")) == ["queued", "queued"]


def test_an_unusable_sample_is_counted_by_its_reason(redis_client: redis.Redis) -> None:
    assert [unusable(redis_client, i, r) for i, r in enumerate(["no_code", "cut", "cut"])] == ["unusable"] * 3
    found = counters(redis_client)
    assert (found.generated, found.unusable, found.queued, found.tokens) == (3, 3, 0, 21)
    assert found.unusable_reasons == {"cut": 2, "no_code": 1}
    stats = KernelStore(client=redis_client).get_operation_stats("relu")
    assert stats["unusable_reasons"] == {"cut": 2, "no_code": 1}
    assert redis_client.llen(Keys.EVAL_QUEUE) == 0


def test_a_sample_is_counted_once_whether_usable_or_not(redis_client: redis.Redis) -> None:
    unusable(redis_client, 0)
    before = snapshot(redis_client)
    assert unusable(redis_client, 0) == "repeated"
    assert submit(redis_client, candidate("r/relu/0:0")) == ["repeated"]
    assert snapshot(redis_client) == before


def test_the_books_of_a_finished_group_agree(redis_client: redis.Redis) -> None:
    request(redis_client, group(n=4))
    submit(redis_client, candidate("r/relu/0:0"), candidate("r/relu/0:1"))
    unusable(redis_client, 2)
    assert finish(redis_client, group(n=4)) == 1  # one never came
    found = counters(redis_client)
    assert found.requested == found.generated == found.queued + found.duplicates + found.unusable == 3
    assert (found.shortfall, found.awaiting_generation) == (1, 0)
    assert found.groups == {"finished": 1, "requested": 1}


def test_a_group_is_finished_once(redis_client: redis.Redis) -> None:
    request(redis_client, group(n=4))
    assert finish(redis_client, group(n=4)) == 4
    before = snapshot(redis_client)
    assert finish(redis_client, group(n=4), "aborted") is None
    assert snapshot(redis_client) == before


def test_a_straggler_of_a_finished_group_is_counted_on_both_sides(redis_client: redis.Redis) -> None:
    request(redis_client, group(n=2))
    finish(redis_client, group(n=2))
    assert counters(redis_client).requested == 0
    submit(redis_client, candidate("r/relu/0:0"))
    unusable(redis_client, 1)
    found = counters(redis_client)
    assert found.requested == found.generated == 2


@pytest.mark.parametrize("outcome", ["finished", "aborted", "killed_worker", "abandoned"])
def test_how_a_group_ended_is_counted(redis_client: redis.Redis, outcome: str) -> None:
    request(redis_client, group(n=1))
    finish(redis_client, group(n=1), outcome)
    assert counters(redis_client).groups == {outcome: 1, "requested": 1}


def test_a_finished_group_is_out_of_the_queue(redis_client: redis.Redis, redis_url: str) -> None:
    request(redis_client, group())
    batch = with_queue(redis_url, lambda queue: queue.claim(1), kind=GenerationTask)
    finish(redis_client, batch.tasks[0].task)
    for key in Keys.queue(Keys.GENERATION_QUEUE):
        assert not redis_client.exists(key), key


def test_what_happened_stands_in_the_events(redis_client: redis.Redis) -> None:
    submit(redis_client, candidate("r/relu/0:0"), candidate("r/relu/0:1"))
    unusable(redis_client, 2)
    found = [(event.fields["task"], event.fields["status"]) for event in RunStore(redis_client).events("r")]
    assert found == [("r/relu/0:0", "queued"), ("r/relu/0:1", "duplicate"), ("r/relu/0:2", "unusable")]


@pytest.mark.parametrize("n", [0, -1, 1025])
def test_a_group_of_no_size_does_not_exist(n: int) -> None:
    with pytest.raises(ValidationError):
        group(n=n)
