"""Runs: created once, parked and put back, their events read in pieces."""

from __future__ import annotations

import pytest
import redis

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.run_state import Run, RunStore
from tests.state.samples import accepted, candidate, claim, group, request, submit


@pytest.fixture
def runs(redis_client: redis.Redis) -> RunStore:
    return RunStore(redis_client)


def test_a_run_is_found_as_it_was_created(runs: RunStore) -> None:
    config = {"policy": "reprompt", "candidates_per_op": 8, "target_speedup": None}
    created = runs.create("r", ["relu", "add"], config)
    found = runs.get("r")
    assert found == Run(
        "r", "running", config, ["relu", "add"], pytest.approx(created.started, abs=0.001), None
    )  # type: ignore[arg-type]


def test_operations_keep_their_order(runs: RunStore) -> None:
    names = ["softmax", "add", "relu", "matmul"]
    runs.create("r", names, {})
    assert runs.operations("r") == names == [counters.operation for counters in runs.counters("r")]


def test_a_run_is_created_once(runs: RunStore) -> None:
    runs.create("r", ["relu"], {"a": 1})
    with pytest.raises(ValueError, match="exists already: resume it or choose another name"):
        runs.create("r", ["add"], {})
    found = runs.get("r")
    assert found is not None and (found.operations, found.config) == (["relu"], {"a": 1})


def test_a_run_that_nobody_started(runs: RunStore) -> None:
    assert runs.get("none") is None
    assert runs.counters("none") == runs.events("none") == runs.operations("none") == []


def test_the_latest_come_first(runs: RunStore, redis_client: redis.Redis) -> None:
    for number, name in enumerate(("a", "b", "c")):
        runs.create(name, ["relu"], {})
        redis_client.zadd(Keys.RUNS, {name: number})
    assert runs.latest() == ["c", "b", "a"]
    assert runs.latest(2) == ["c", "b"]


def test_states(runs: RunStore) -> None:
    runs.create("r", ["relu"], {})
    for status in ("stopped", "running", "finished"):
        runs.set_status("r", status)  # type: ignore[arg-type]
        found = runs.get("r")
        assert found is not None and found.status == status
        assert (found.stopped is None) == (status == "running")
        assert found.stopped is None or found.stopped >= found.started


def test_a_resumed_run_may_get_a_larger_budget(runs: RunStore) -> None:
    runs.create("r", ["relu"], {"candidates_per_op": 8})
    runs.set_config("r", {"candidates_per_op": 16})
    found = runs.get("r")
    assert found is not None and found.config == {"candidates_per_op": 16}


# -- park ------------------------------------------------------------------------------------------------
def test_a_stopped_run_is_set_aside_and_another_one_is_not(
    runs: RunStore, redis_client: redis.Redis, redis_url: str
) -> None:
    for name in ("mine", "other"):
        runs.create(name, ["relu"], {})
        request(redis_client, group(f"{name}/relu/0", run=name))
        submit(redis_client, candidate(f"{name}/relu/0:0", run=name, code=f"x = '{name}'"))
    assert runs.park("mine") == 2
    assert [task.id for task in claim(redis_url, 5)] == ["other/relu/0:0"]
    assert redis_client.llen(Keys.GENERATION_QUEUE) == 1
    assert runs.park("mine") == 0


def test_what_was_set_aside_comes_back_in_its_order_and_is_counted_once(
    runs: RunStore, redis_client: redis.Redis, redis_url: str
) -> None:
    runs.create("r", ["relu", "add"], {})
    tasks = [candidate(f"r/relu/0:{i}", code=f"x = {i}") for i in range(4)]
    tasks += [candidate("r/add/0:0", operation="add")]
    submit(redis_client, *tasks)
    before = runs.counters("r")
    assert runs.park("r") == 5
    assert runs.counters("r") == before
    assert runs.unpark("r") == 5
    assert runs.unpark("r") == 0
    assert runs.counters("r") == before
    assert claim(redis_url, 9) == tasks
    assert submit(redis_client, candidate("r/relu/1:0", code="x = 0")) == ["duplicate"]


def test_while_it_is_set_aside_another_run_may_try_the_same_kernel(
    runs: RunStore, redis_client: redis.Redis, redis_url: str
) -> None:
    runs.create("r", ["relu"], {})
    runs.create("later", ["relu"], {})
    submit(redis_client, candidate("r/relu/0:0"))
    runs.park("r")
    assert submit(redis_client, candidate("later/relu/0:0", run="later")) == ["queued"]
    (task,) = claim(redis_url)
    scripts.run(redis_client, commit_verdict(task, accepted(task)))
    runs.unpark("r")
    (task,) = claim(redis_url)
    assert scripts.run(redis_client, commit_verdict(task, accepted(task))) == "known"
    (counters,) = runs.counters("r")
    assert (counters.queued, counters.duplicates, counters.evaluated) == (0, 1, 0)
    assert counters.idle


def test_a_judged_kernel_stays_known_while_another_task_of_it_is_set_aside(
    runs: RunStore, redis_client: redis.Redis, redis_url: str
) -> None:
    runs.create("r", ["relu"], {})
    submit(redis_client, candidate("r/relu/0:0"))
    runs.park("r")
    submit(redis_client, candidate("r/relu/0:1"))
    (task,) = claim(redis_url)
    scripts.run(redis_client, commit_verdict(task, accepted(task)))
    runs.unpark("r")
    runs.park("r")
    assert submit(redis_client, candidate("r/relu/0:2")) == ["duplicate"]


def test_what_is_under_lease_is_not_set_aside(
    runs: RunStore, redis_client: redis.Redis, redis_url: str
) -> None:
    runs.create("r", ["relu"], {})
    submit(redis_client, candidate("r/relu/0:0"), candidate("r/relu/0:1", code="y = 2"))
    (held,) = claim(redis_url)
    assert runs.park("r") == 1
    assert scripts.run(redis_client, commit_verdict(held, accepted(held))) == "committed"


def test_what_is_no_task_does_not_stop_the_parking(runs: RunStore, redis_client: redis.Redis) -> None:
    runs.create("r", ["relu"], {})
    redis_client.rpush(Keys.EVAL_QUEUE, "no json", "[]", "3")
    submit(redis_client, candidate("r/relu/0:0"))
    assert runs.park("r") == 1
    assert redis_client.llen(Keys.EVAL_QUEUE) == 3


# -- events ----------------------------------------------------------------------------------------------
def test_events_are_read_on_from_where_the_reader_was(runs: RunStore, redis_client: redis.Redis) -> None:
    for number in range(5):
        runs.add_event("r", "worker_restarted", number=number)
    first = runs.events("r", limit=2)
    rest = runs.events("r", after=first[-1].id)
    assert [event.fields["number"] for event in first + rest] == list("01234")
    assert {event.fields["kind"] for event in rest} == {"worker_restarted"}
    assert runs.events("r", after=rest[-1].id) == []
    seconds, _ = redis_client.time()  # type: ignore[misc]
    assert abs(rest[-1].time - seconds) < 60
