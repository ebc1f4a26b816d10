"""Any sequence of events, with workers dying anywhere, against a model in plain Python: the books always agree.

The model knows nothing of Redis: a candidate is somewhere, a kernel has a verdict or none, and counting is
``len``. After every step the whole store is compared with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict, killed_worker
from BackendBench.vllm_backend.state.connection import connect
from BackendBench.vllm_backend.state.error_type import ErrorType
from BackendBench.vllm_backend.state.intake import (
    candidate_id,
    finish_group,
    record_unusable,
    request_group,
    submit_candidate,
)
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.queue import inspect, reclaim
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.store import KernelStore
from BackendBench.vllm_backend.state.task import EvaluationTask, GenerationTask
from BackendBench.vllm_backend.state.verdict import Verdict
from tests.state.samples import accepted, candidate, group, lose_lease, rejected, with_queue

OPERATIONS = ("relu", "add")
WORKERS = ("w0", "w1", "w2")
MAX_ATTEMPTS = 2
MAX_FAULTS = 1
URL = ""


@pytest.fixture(autouse=True)
def url(redis_url: str) -> Iterator[None]:
    """Where the machine, which hypothesis creates itself, finds the server."""
    global URL
    URL = redis_url
    yield


class Books(RuleBasedStateMachine):
    """One run of two operations."""

    groups: Bundle[GenerationTask] = Bundle("groups")
    held: Bundle[tuple[str, EvaluationTask, bool]] = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.client: redis.Redis = connect(URL)
        self.client.flushall()
        RunStore(self.client).create("r", OPERATIONS, {})
        self.sizes: dict[str, GenerationTask] = {}
        self.finished: set[str] = set()
        self.samples: dict[str, str] = {}
        """Sample to operation."""
        self.unusable: set[str] = set()
        self.duplicates: set[str] = set()
        self.open: dict[str, EvaluationTask] = {}
        """Waiting or under lease."""
        self.parked: dict[str, EvaluationTask] = {}
        self.abandoned: set[str] = set()
        self.done: set[str] = set()
        self.kernels: dict[tuple[str, str], Verdict] = {}
        self.known: set[tuple[str, str]] = set()
        self.holder: dict[str, str] = {}
        self.overdue: set[str] = set()
        """Held, but anybody's next claim takes it away."""
        self.faults: Counter[str] = Counter()

    def teardown(self) -> None:
        self.client.close()

    # -- what happens --------------------------------------------------------------------------------------
    @initialize(target=groups, operation=st.sampled_from(OPERATIONS))
    def first_group(self, operation: str) -> GenerationTask:
        return self.request(operation, 0, 3)

    @rule(target=groups, operation=st.sampled_from(OPERATIONS), number=st.integers(0, 5), n=st.integers(1, 4))
    def request(self, operation: str, number: int, n: int) -> GenerationTask:
        id = f"r/{operation}/{number}"
        task = self.sizes.get(id) or group(id, operation=operation, n=n)
        new = scripts.run(self.client, request_group(task))
        assert new == (id not in self.sizes)
        self.sizes[id] = task
        return task

    @rule(task=groups, kernels=st.lists(st.integers(0, 6), min_size=1, max_size=4))
    def submit_some(self, task: GenerationTask, kernels: list[int]) -> None:
        for index, kernel in enumerate(kernels):
            self.submit(task, index, kernel)

    @rule(task=groups, index=st.integers(0, 3), kernel=st.integers(0, 6))
    def submit(self, task: GenerationTask, index: int, kernel: int) -> None:
        sample = candidate(
            candidate_id(task.id, index % task.n), operation=task.operation, code=f"x = {kernel}"
        )
        outcome = scripts.run(self.client, submit_candidate(sample))
        if sample.id in self.samples:
            assert outcome == "repeated"
            return
        self.samples[sample.id] = task.operation
        key = (task.operation, sample.hash)
        if key in self.kernels or key in self.known:
            assert outcome == "duplicate"
            self.duplicates.add(sample.id)
        else:
            assert outcome == "queued"
            self.open[sample.id] = sample
        self.known.add(key)

    @rule(task=groups, index=st.integers(0, 3))
    def unusable_sample(self, task: GenerationTask, index: int) -> None:
        id = candidate_id(task.id, index % task.n)
        outcome = scripts.run(self.client, record_unusable(task, index % task.n, "no_code"))
        assert outcome == ("repeated" if id in self.samples else "unusable")
        if id not in self.samples:
            self.samples[id] = task.operation
            self.unusable.add(id)

    @rule(task=groups)
    def finish(self, task: GenerationTask) -> None:
        missing = sum(candidate_id(task.id, index) not in self.samples for index in range(task.n))
        shortfall = scripts.run(self.client, finish_group(task))
        assert shortfall == (None if task.id in self.finished else missing)
        self.finished.add(task.id)

    @rule(target=held, worker=st.sampled_from(WORKERS), n=st.integers(1, 3))
    def claim(self, worker: str, n: int) -> Any:
        return multiple(*self.take(worker, n))

    def take(self, worker: str, n: int) -> list[tuple[str, EvaluationTask, bool]]:
        batch = with_queue(
            URL, lambda q: q.claim(n), worker, max_attempts=MAX_ATTEMPTS, max_faults=MAX_FAULTS
        )
        found = [(worker, c.task, False) for c in batch.tasks] + [
            (worker, c.task, True) for c in batch.exhausted
        ]
        for id in self.overdue:
            del self.holder[id]
        self.overdue.clear()
        for _, task, _ in found:
            assert self.open[task.id] == task  # never one that is finished or set aside
            assert task.id not in self.holder  # never one that somebody else holds
            self.holder[task.id] = worker
        free = len(self.open) - len(self.holder)
        assert len(found) == n or free == 0  # never none while there is one
        return found

    @rule(claimed=held, speedup=st.sampled_from([0.0, 0.5, 1.5, 3.0]), correct=st.booleans())
    def commit(self, claimed: tuple[str, EvaluationTask, bool], speedup: float, correct: bool) -> None:
        """Also by one who lost its lease, and again and again."""
        worker, task, exhausted = claimed
        verdict = accepted(task, speedup) if correct else rejected(task, ErrorType.WRONG_VALUES)
        if exhausted:
            verdict = killed_worker(task, MAX_ATTEMPTS, worker)
        outcome = scripts.run(self.client, commit_verdict(task, verdict))
        if task.id in self.done:
            assert outcome == "duplicate"
            return
        key = (task.operation, task.hash)
        assert outcome == ("known" if key in self.kernels else "committed")
        self.done.add(task.id)
        if key in self.kernels:
            self.duplicates.add(task.id)
        else:
            self.kernels[key] = verdict
            self.known.add(key)
        self.open.pop(task.id, None)
        self.put_back([task.id])
        self.faults.pop(task.id, None)

    @rule(
        worker=st.sampled_from(WORKERS),
        speedups=st.lists(st.sampled_from([0.5, 1.5, 3.0]), min_size=1, max_size=4),
    )
    def judge(self, worker: str, speedups: list[float]) -> None:
        for speedup in speedups:
            for claimed in self.take(worker, 1):
                self.commit(claimed, speedup, True)

    @rule(claimed=consumes(held), fault=st.booleans())
    def release(self, claimed: tuple[str, EvaluationTask, bool], fault: bool) -> None:
        worker, task, _ = claimed
        outcome = with_queue(URL, lambda q: q.release(task, fault=fault), worker, max_faults=MAX_FAULTS)
        if self.holder.get(task.id) != worker:
            assert outcome == "lost"
            return
        self.put_back([task.id])
        self.faults[task.id] += fault
        if fault and self.faults[task.id] > MAX_FAULTS:
            assert outcome == "abandoned"
            self.set_aside(task.id)
            self.abandoned.add(task.id)
            del self.faults[task.id]
        else:
            assert outcome == "requeued"

    @rule(worker=st.sampled_from(WORKERS), ids=st.lists(st.integers(0, 20), max_size=3))
    def heartbeat(self, worker: str, ids: list[int]) -> None:
        asked = [id for number, id in enumerate(sorted(self.samples)) if number in ids]
        lost = with_queue(URL, lambda q: q.heartbeat(asked), worker)
        assert lost == [id for id in asked if self.holder.get(id) != worker]
        self.overdue -= set(asked) - set(lost)

    @rule(worker=st.sampled_from(WORKERS), blame=st.booleans())
    def worker_dies(self, worker: str, blame: bool) -> None:
        mine = [id for id, holder in self.holder.items() if holder == worker]
        assert sorted(scripts.run(self.client, reclaim(Keys.EVAL_QUEUE, worker, blame=blame))) == sorted(mine)
        self.put_back(mine)

    @rule(worker=st.sampled_from(WORKERS))
    def worker_goes_silent(self, worker: str) -> None:
        """Its leases end."""
        for id in [id for id, holder in self.holder.items() if holder == worker and id not in self.overdue]:
            lose_lease(self.client, id)
            self.overdue.add(id)

    @rule()
    def stop(self) -> None:
        RunStore(self.client).park("r")
        for id in [id for id in self.open if id not in self.holder]:
            self.set_aside(id)

    @rule()
    def resume(self) -> None:
        RunStore(self.client).unpark("r")
        again = {id: task for id, task in self.parked.items() if id not in self.done}
        self.open.update(again)
        self.known |= {(task.operation, task.hash) for task in again.values()}
        self.parked.clear()
        self.abandoned.clear()

    def put_back(self, ids: list[str]) -> None:
        for id in ids:
            self.holder.pop(id, None)
            self.overdue.discard(id)

    def set_aside(self, id: str) -> None:
        task = self.parked[id] = self.open.pop(id)
        self.known.discard((task.operation, task.hash))

    # -- what always holds ---------------------------------------------------------------------------------
    @invariant()
    def every_task_is_in_one_place(self) -> None:
        state = inspect(self.client, Keys.EVAL_QUEUE)
        payloads = self.client.lrange(Keys.EVAL_QUEUE, 0, -1)
        waiting = [EvaluationTask.model_validate_json(payload).id for payload in payloads]  # type: ignore[union-attr]
        assert sorted([*waiting, *(claim.id for claim in state.claims)]) == sorted(self.open)
        assert self.client.llen(Keys.parked(Keys.EVAL_QUEUE, "r")) == len(self.parked)
        assert {claim.id: claim.worker for claim in state.claims} == self.holder
        assert {claim.id for claim in state.claims if claim.lease_left < 0} == self.overdue

    @invariant()
    def the_counters_agree(self) -> None:
        for counters in RunStore(self.client).counters("r"):
            name = counters.operation
            mine = {id for id, operation in self.samples.items() if operation == name}
            verdicts = [verdict for (operation, _), verdict in self.kernels.items() if operation == name]
            assert counters.generated == len(mine)
            assert counters.unusable == len(mine & self.unusable)
            assert counters.duplicates == len(mine & self.duplicates)
            assert counters.queued == counters.generated - counters.unusable - counters.duplicates
            assert counters.evaluated == len(verdicts)
            assert counters.correct == sum(verdict.correct for verdict in verdicts)
            assert counters.abandoned == len(mine & self.abandoned)
            open_here = mine & {*self.open, *self.parked} - self.done
            assert counters.queued == counters.evaluated + len(open_here)
            assert counters.requested == sum(
                self.wanted(t) for t in self.sizes.values() if t.operation == name
            )

    def wanted(self, task: GenerationTask) -> int:
        """Of a finished group what came, of another what was asked for."""
        ids = [candidate_id(task.id, index) for index in range(task.n)]
        return sum(id in self.samples for id in ids) if task.id in self.finished else task.n

    @invariant()
    def the_store_agrees(self) -> None:
        store = KernelStore(client=self.client)
        for operation in OPERATIONS:
            verdicts = {hash: v for (name, hash), v in self.kernels.items() if name == operation}
            stats, kernels = store.get_operation_stats(operation), store.kernels(operation)
            speedups = [v.speedup for v in verdicts.values() if v.correct and v.speedup > 0]
            assert {kernel["hash"] for kernel in kernels} == set(verdicts)
            assert all(kernel["correct"] == verdicts[kernel["hash"]].correct for kernel in kernels)
            assert all(kernel["speedup"] == verdicts[kernel["hash"]].speedup for kernel in kernels)
            assert stats["total_attempts"] == len(verdicts)
            assert stats["successful_attempts"] == sum(v.correct for v in verdicts.values())
            assert stats["best_speedup"] == max(speedups, default=0.0)
            assert stats["avg_speedup"] == pytest.approx(sum(speedups) / max(1, len(speedups)), rel=1e-6)
            assert stats["success_rate"] == stats["successful_attempts"] / max(1, stats["total_attempts"])
            raw: Any = self.client.hgetall(Keys.op_stats(operation))
            assert float(raw.get("success_rate", 0)) == pytest.approx(stats["success_rate"], rel=1e-6)
            best = [kernel["speedup"] for kernel in store.get_best_kernels(operation, 1000)]
            assert best == sorted((v.speedup for v in verdicts.values() if v.correct), reverse=True)
            wrong = Counter(v.error_type.value for v in verdicts.values() if v.error_type)
            assert stats["errors"] == dict(sorted(wrong.items(), key=lambda item: (-item[1], item[0])))
            assert len(store.failures(operation)) == sum(wrong.values())
            assert store.feedback_version(operation) == len(verdicts)


Books.TestCase.settings = settings(
    max_examples=25,
    phases=[Phase.generate],  # shrinking against a real server takes minutes; steps are few as it is
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestBooks = Books.TestCase
