"""One verdict, one script: kernel, set, counters, lists and acknowledgement, all or nothing, counted once."""

from __future__ import annotations

import json
import math
import threading
from typing import Any

import pytest
import redis

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import COMPLETED_CAP, commit_verdict, decimal, killed_worker
from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.queue import inspect, reclaim
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.store import KernelStore
from BackendBench.vllm_backend.state.task import EvaluationTask
from BackendBench.vllm_backend.state.verdict import Verdict, WorkloadTiming
from tests.state.samples import accepted, candidate, claim, lose_lease, rejected, snapshot, submit


@pytest.fixture(autouse=True)
def run(redis_client: redis.Redis) -> None:
    """A run ``r`` of one operation."""
    RunStore(redis_client).create("r", ["relu"], {})


@pytest.fixture
def task(redis_client: redis.Redis, redis_url: str) -> EvaluationTask:
    """A candidate that worker ``w`` holds."""
    submit(redis_client, candidate("r/relu/0:0"))
    (found,) = claim(redis_url)
    return found


def commit(client: redis.Redis, task: EvaluationTask, verdict: Verdict) -> str:
    return scripts.run(client, commit_verdict(task, verdict))


def test_a_verdict_becomes_a_kernel(redis_client: redis.Redis, task: EvaluationTask) -> None:
    assert commit(redis_client, task, accepted(task, 2.5, timestamp=17.5)) == "committed"
    raw = redis_client.hgetall(Keys.kernel("relu", task.hash))
    assert {name: raw[name] for name in ("code", "correct", "speedup", "error", "timestamp")} == {  # type: ignore[index]
        "code": task.code, "correct": "True", "speedup": "2.5", "error": "", "timestamp": "17.5",
    }  # fmt: skip
    assert redis_client.smembers(Keys.op_kernels("relu")) == {task.hash}
    assert redis_client.zrange(Keys.best("relu"), 0, -1, withscores=True) == [(task.hash, 2.5)]
    assert not redis_client.exists(Keys.failures("relu"))
    stats = redis_client.hgetall(Keys.op_stats("relu"))
    wanted = {
        "total": "1",
        "successful": "1",
        "success_rate": "1",
        "best_speedup": "2.5",
        "avg_speedup": "2.5",
    }
    assert wanted.items() <= stats.items()  # type: ignore[union-attr]
    (result,) = redis_client.lrange(Keys.COMPLETED_TASKS, 0, -1)
    assert Verdict.model_validate_json(result).hash == task.hash
    state = inspect(redis_client, Keys.EVAL_QUEUE)
    assert (state.waiting, state.claims) == (0, [])


def test_a_rejected_candidate_is_a_kernel_too(redis_client: redis.Redis, task: EvaluationTask) -> None:
    commit(
        redis_client,
        task,
        rejected(task, ErrorType.WRONG_SHAPE, error="(3,) and not (4,)", failing_case="empty"),
    )
    raw: Any = redis_client.hgetall(Keys.kernel("relu", task.hash))
    assert (raw["correct"], raw["speedup"], raw["error_type"]) == ("False", "0", "wrong_shape")
    assert (raw["error"], raw["failing_case"]) == ("(3,) and not (4,)", "empty")
    assert redis_client.lrange(Keys.failures("relu"), 0, -1) == [task.hash]
    assert not redis_client.exists(Keys.best("relu"))
    stats: Any = redis_client.hgetall(Keys.op_stats("relu"))
    wanted = {"total": "1", "successful": "0", "success_rate": "0", "best_speedup": "0", "avg_speedup": "0"}
    assert wanted.items() <= stats.items()
    assert stats["error:wrong_shape"] == "1"


def test_the_same_commit_again_changes_nothing(redis_client: redis.Redis, task: EvaluationTask) -> None:
    commit(redis_client, task, accepted(task))
    before = snapshot(redis_client)
    assert commit(redis_client, task, accepted(task)) == "duplicate"
    assert commit(redis_client, task, rejected(task)) == "duplicate"
    assert snapshot(redis_client) == before


def test_the_first_commit_wins_also_after_its_lease_was_lost(
    redis_client: redis.Redis, redis_url: str
) -> None:
    submit(redis_client, candidate("r/relu/0:0"))
    (task,) = claim(redis_url, worker="slow")
    lose_lease(redis_client, task.id)
    assert claim(redis_url, worker="quick") == [task]
    assert commit(redis_client, task, accepted(task)) == "committed"
    before = snapshot(redis_client)
    assert commit(redis_client, task, rejected(task)) == "duplicate"  # of the quick one, too late
    assert snapshot(redis_client) == before
    assert inspect(redis_client, Keys.EVAL_QUEUE).claims == []


def test_a_late_commit_takes_its_task_out_of_the_queue(redis_client: redis.Redis, redis_url: str) -> None:
    """Put back, because its holder was thought dead, behind and before others: it is not judged again."""
    others = [candidate(f"r/relu/1:{i}", code=f"y = {i}") for i in range(250)]
    submit(redis_client, candidate("r/relu/0:0"), *others)
    (task,) = claim(redis_url, worker="slow")
    scripts.run(redis_client, reclaim(Keys.EVAL_QUEUE, "slow", blame=True))
    redis_client.lmove(Keys.EVAL_QUEUE, Keys.EVAL_QUEUE, "LEFT", "RIGHT")  # to the tail
    assert commit(redis_client, task, accepted(task)) == "committed"
    assert redis_client.llen(Keys.EVAL_QUEUE) == 250
    assert claim(redis_url, 300, worker="next") == others


def test_of_many_commits_at_the_same_time_one_counts(
    redis_url: str, redis_client: redis.Redis, task: EvaluationTask
) -> None:
    outcomes: list[str] = []

    def late(number: int) -> None:
        with connect(redis_url) as client:
            outcomes.append(commit(client, task, accepted(task, 1.0 + number)))

    threads = [threading.Thread(target=late, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["committed"] + ["duplicate"] * 7
    stats = KernelStore(client=redis_client).get_operation_stats("relu")
    (kernel,) = KernelStore(client=redis_client).kernels("relu")
    assert stats["total_attempts"] == 1 and stats["best_speedup"] == kernel["speedup"]


def test_the_first_verdict_of_a_hash_stays(
    redis_client: redis.Redis, redis_url: str, task: EvaluationTask
) -> None:
    """The same kernel by another task, for example pushed by hand: counted as the duplicate that it is."""
    commit(redis_client, task, accepted(task, 2.0))
    other = candidate("r/relu/9:0")
    redis_client.rpush(Keys.EVAL_QUEUE, other.model_dump_json())
    claim(redis_url)
    kernel = redis_client.hgetall(Keys.kernel("relu", task.hash))
    assert commit(redis_client, other, rejected(other)) == "known"
    assert redis_client.hgetall(Keys.kernel("relu", task.hash)) == kernel
    stats = KernelStore(client=redis_client).get_operation_stats("relu")
    assert (stats["total_attempts"], stats["duplicates"]) == (1, 1)
    assert inspect(redis_client, Keys.EVAL_QUEUE).claims == []


def test_what_the_run_counts(redis_client: redis.Redis, task: EvaluationTask) -> None:
    stages = {"compile": 0.5, "timing": 1.25}
    commit(redis_client, task, accepted(task, 3.0, 1.5, stage_seconds=stages))
    (found,) = RunStore(redis_client).counters("r")
    assert (found.evaluated, found.correct, found.faster, found.awaiting_evaluation) == (1, 1, 1, 0)
    assert (found.best_speedup, found.avg_speedup, found.best_hash) == (3.0, 3.0, task.hash)
    assert found.stage_seconds == stages
    seconds, micros = redis_client.time()  # type: ignore[misc]
    assert found.first_correct == found.first_faster
    assert found.first_correct is not None and 0 <= seconds + micros / 1e6 - found.first_correct < 60


def test_faster_is_said_only_when_the_whole_interval_lies_above_one(
    redis_client: redis.Redis, task: EvaluationTask
) -> None:
    commit(redis_client, task, accepted(task, speedup=3.0, low=0.99))
    (found,) = RunStore(redis_client).counters("r")
    assert (found.correct, found.faster, found.first_faster) == (1, 0, None)


def test_a_correct_kernel_that_was_not_timed_spoils_no_average(
    redis_client: redis.Redis, redis_url: str
) -> None:
    submit(redis_client, *(candidate(f"r/relu/0:{i}", code=f"x = {i}") for i in range(3)))
    for task, speedup in zip(claim(redis_url, 3), (0.0, 2.0, 4.0), strict=True):
        commit(redis_client, task, accepted(task, speedup))
    stats = KernelStore(client=redis_client).get_operation_stats("relu")
    assert (stats["successful_attempts"], stats["avg_speedup"], stats["best_speedup"]) == (3, 3.0, 4.0)


def test_a_slower_kernel_that_comes_later_is_not_the_best(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, *(candidate(f"r/relu/0:{i}", code=f"x = {i}") for i in range(3)))
    for task, speedup in zip(claim(redis_url, 3), (2.0, 10.0, 9.0), strict=True):
        commit(redis_client, task, accepted(task, speedup))
    (found,) = RunStore(redis_client).counters("r")
    assert found.best_speedup == 10.0
    assert KernelStore(client=redis_client).get_best_kernels("relu", 1)[0]["hash"] == found.best_hash


def test_how_old_the_feedback_of_a_prompt_was(redis_client: redis.Redis, redis_url: str) -> None:
    submit(redis_client, *(candidate(f"r/relu/0:{i}", code=f"x = {i}") for i in range(3)))
    for task in claim(redis_url, 3):  # all composed when no verdict existed
        commit(redis_client, task, rejected(task))
    (found,) = RunStore(redis_client).counters("r")
    assert (found.feedback_lag_sum, found.feedback_lag_max) == (0 + 1 + 2, 2)
    assert KernelStore(client=redis_client).feedback_version("relu") == 3


def test_everything_that_a_verdict_says_is_kept(redis_client: redis.Redis, redis_url: str) -> None:
    sent = candidate(
        "r/relu/0:0", model="m", parents=("a", "b"), prompt_kind="repair", feedback_version=4, tokens=321,
        generation_seconds=0.125,
    )  # fmt: skip
    submit(redis_client, sent)
    (task,) = claim(redis_url)
    timing = WorkloadTiming(
        workload="[4096, 4096] float32", eager_us=10.0, candidate_us=4.0, speedup=2.5, speedup_low=2.4,
        speedup_high=2.6, samples=9, gbps=12.5,
    )  # fmt: skip
    verdict = Verdict(
        task_id=task.id, run="r", operation="relu", hash=task.hash, correct=True, speedup=2.5, speedup_low=2.4,
        speedup_high=2.6, label="library_call", cases_passed=7, cases_total=7, timings=(timing,),
        stage_seconds={"compile": 0.1}, device="cpu of a test", versions={"torch": "2"},
        conditions={"threads": "1"}, worker="w", timestamp=1700000000.25,
    )  # fmt: skip
    commit(redis_client, task, verdict)
    kernel = KernelStore(client=redis_client).get_kernel("relu", task.hash)
    assert kernel is not None
    assert kernel["timings"] == [timing.model_dump()]
    for name in ("speedup_low", "speedup_high", "label", "cases_passed", "cases_total", "stage_seconds", "device",
                 "versions", "conditions", "worker", "timestamp"):  # fmt: skip
        assert kernel[name] == getattr(verdict, name), name
    for name in ("code", "run", "dsl", "target", "model", "prompt_kind", "feedback_version", "tokens",
                 "generation_seconds"):  # fmt: skip
        assert kernel[name] == getattr(sent, name), name
    assert kernel["parents"] == ["a", "b"] and kernel["task_id"] == sent.id
    assert kernel["faster_than_eager"] is True


def test_a_message_of_a_megabyte_is_cut_and_broken_text_is_mended(
    redis_client: redis.Redis, task: EvaluationTask
) -> None:
    commit(redis_client, task, rejected(task, error="x" * 2**20, failing_case="\ud800\0"))
    kernel = KernelStore(client=redis_client).get_kernel("relu", task.hash)
    assert kernel is not None and 8000 <= len(kernel["error"]) < 8100
    assert kernel["failing_case"] == "?\0"
    (result,) = redis_client.lrange(Keys.COMPLETED_TASKS, 0, -1)
    assert len(result) < 20_000


def test_the_lists_are_bounded_and_newest_first(redis_client: redis.Redis, redis_url: str) -> None:
    redis_client.rpush(Keys.COMPLETED_TASKS, *["{}"] * COMPLETED_CAP)
    submit(redis_client, *(candidate(f"r/relu/0:{i}", code=f"x = {i}") for i in range(70)))
    tasks = claim(redis_url, 70)
    for task in tasks:
        commit(redis_client, task, rejected(task))
    assert redis_client.lrange(Keys.failures("relu"), 0, -1) == [t.hash for t in reversed(tasks)][:64]
    assert redis_client.llen(Keys.COMPLETED_TASKS) == COMPLETED_CAP
    assert json.loads(redis_client.lindex(Keys.COMPLETED_TASKS, 0))["task_id"] == tasks[-1].id  # type: ignore[arg-type]
    assert len(KernelStore(client=redis_client).kernels("relu")) == 70


def test_a_candidate_whose_attempts_are_used_up_is_a_failure_of_that_kernel(
    redis_client: redis.Redis, task: EvaluationTask
) -> None:
    commit(redis_client, task, killed_worker(task, 3, "w"))
    kernel = KernelStore(client=redis_client).get_kernel("relu", task.hash)
    assert (
        kernel is not None and kernel["error_type"] == "killed_worker" and "died 3 times" in kernel["error"]
    )


def test_a_full_server_takes_a_whole_message_or_nothing_of_it(
    redis_client: redis.Redis, task: EvaluationTask
) -> None:
    before = snapshot(redis_client)
    redis_client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.OutOfMemoryError):
            submit(redis_client, candidate("r/relu/0:1", code="y = 2"))
        assert snapshot(redis_client) == before
        assert commit(redis_client, task, accepted(task)) == "committed"  # begins by freeing the claim
    finally:
        redis_client.config_set("maxmemory", "0")
    after = snapshot(redis_client)
    redis_client.flushall()
    RunStore(redis_client).create("r", ["relu"], {})
    submit(redis_client, candidate("r/relu/0:0"))
    commit(redis_client, task, accepted(task))
    assert after.keys() - snapshot(redis_client).keys() == {Keys.receipt(Keys.EVAL_QUEUE, "w")}


@pytest.mark.parametrize(
    "change",
    [
        {"task_id": "other"},
        {"hash": "other"},
        {"operation": "add"},
        {"speedup": math.nan},
        {"speedup_high": math.inf},
        {"stage_seconds": {"compile": -math.inf}},
        {"correct": False},
        {"error_type": ErrorType.CRASH},
    ],
)
def test_a_verdict_that_makes_no_sense_is_not_sent(change: dict[str, Any]) -> None:
    task = candidate()
    with pytest.raises(ValueError, match="the verdict"):
        commit_verdict(task, accepted(task).model_copy(update=change))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (2.5, "2.5"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (0.1, "0.1"),
    ],
)
def test_numbers_are_decimal_text(value: float, text: str) -> None:
    assert decimal(value) == text
    assert float(text) == value
