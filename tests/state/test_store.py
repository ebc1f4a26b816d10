"""Reading what the farm found, with the names that users were promised."""

from __future__ import annotations

import pytest
import redis

from BackendBench.vllm_backend import KernelStore
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.error_type import ErrorType
from tests.state.samples import accepted, candidate, rejected, submit


def judge(client: redis.Redis, speedups: list[float | ErrorType], operation: str = "relu") -> list[str]:
    """A kernel for each: its speedup, or why it was rejected. Their hashes."""
    hashes = []
    for number, outcome in enumerate(speedups):
        task = candidate(f"g{operation}:{number}", code=f"x = {number}", operation=operation)
        submit(client, task)
        verdict = rejected(task, outcome) if isinstance(outcome, ErrorType) else accepted(task, outcome)
        verdict = verdict.model_copy(update={"timestamp": 1000.0 + number})
        assert scripts.run(client, commit_verdict(task, verdict)) == "committed"
        hashes.append(task.hash)
    return hashes


def test_the_lines_of_the_documentation(state: KernelStore, redis_client: redis.Redis) -> None:
    judge(redis_client, [1.5, ErrorType.WRONG_VALUES, 0.5, 2.5])
    stats = state.get_operation_stats("relu")
    assert stats["success_rate"] == 0.75
    assert stats["best_speedup"] == 2.5
    assert stats["avg_speedup"] == 1.5
    assert stats["total_attempts"] == 4
    assert stats["successful_attempts"] == 3
    best = state.get_best_kernels("relu", limit=5)
    assert [kernel["speedup"] for kernel in best] == [2.5, 1.5, 0.5]
    assert [kernel["code"] for kernel in best] == ["x = 3", "x = 0", "x = 2"]
    assert all(len(kernel["hash"]) == 64 and kernel["correct"] is True for kernel in best)


def test_an_operation_of_which_nothing_is_known(state: KernelStore) -> None:
    stats = state.get_operation_stats("relu")
    names = {"success_rate", "best_speedup", "avg_speedup", "total_attempts", "successful_attempts"}
    assert names <= set(stats) and all(stats[name] == 0 for name in names)
    assert state.get_best_kernels("relu") == state.kernels("relu") == state.failures("relu") == []
    assert state.get_kernel("relu", "0" * 64) is None
    assert state.operations() == [] and state.feedback_version("relu") == 0


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 3, 4, 100])
def test_the_limit_is_kept(state: KernelStore, redis_client: redis.Redis, limit: int) -> None:
    judge(redis_client, [1.5, 3.0, 2.0, ErrorType.CRASH])
    assert [kernel["speedup"] for kernel in state.get_best_kernels("relu", limit)] == [3.0, 2.0, 1.5][
        : max(0, limit)
    ]
    assert len(state.failures("relu", limit)) == min(1, max(0, limit))


def test_five_are_given_when_no_limit_is_named(state: KernelStore, redis_client: redis.Redis) -> None:
    judge(redis_client, [float(number) for number in range(1, 8)])
    assert len(state.get_best_kernels("relu")) == 5


def test_correct_kernels_that_were_not_timed_come_last(state: KernelStore, redis_client: redis.Redis) -> None:
    judge(redis_client, [0.0, 0.25])
    assert [kernel["speedup"] for kernel in state.get_best_kernels("relu")] == [0.25, 0.0]


def test_failures_are_newest_first_and_kernels_oldest_first(
    state: KernelStore, redis_client: redis.Redis
) -> None:
    hashes = judge(redis_client, [ErrorType.CRASH, 2.0, ErrorType.TIMEOUT, ErrorType.CRASH])
    assert [kernel["hash"] for kernel in state.failures("relu")] == [hashes[3], hashes[2], hashes[0]]
    assert [kernel["hash"] for kernel in state.kernels("relu")] == hashes
    assert state.get_operation_stats("relu")["errors"] == {"crash": 2, "timeout": 1}


def test_operations_do_not_mix(state: KernelStore, redis_client: redis.Redis) -> None:
    judge(redis_client, [2.0])
    judge(redis_client, [3.0, 4.0], "add")
    assert state.operations() == ["add", "relu"]
    assert state.get_operation_stats("relu")["total_attempts"] == 1
    assert [kernel["operation"] for kernel in state.get_best_kernels("add")] == ["add", "add"]


def test_the_file_of_a_users_own_operation(state: KernelStore) -> None:
    assert state.operation_source("mine") is None
    state.set_operation_source("mine", "def mine(x): ...\n")
    assert state.operation_source("mine") == "def mine(x): ...\n"


def test_where_the_store_looks(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(redis_client, [2.0])
    assert KernelStore(redis_url).get_operation_stats("relu")["total_attempts"] == 1
    monkeypatch.setenv("BACKENDBENCH_REDIS_URL", redis_url)
    assert KernelStore().get_operation_stats("relu")["total_attempts"] == 1
    here = KernelStore(host="10.0.0.100", port=6380)._client.connection_pool.connection_kwargs
    assert (here["host"], here["port"]) == ("10.0.0.100", 6380)
    monkeypatch.delenv("BACKENDBENCH_REDIS_URL")
    there = KernelStore()._client.connection_pool.connection_kwargs
    assert (there["host"], there["port"]) == ("localhost", 6379)
