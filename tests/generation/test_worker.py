"""The generating worker on a real Redis, with a real server that writes: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from BackendBench.vllm_backend.generation import analysis, controller, engine_keeper, worker
from BackendBench.vllm_backend.generation.engines import openai
from BackendBench.vllm_backend.generation.engines.base import EngineConfigError
from BackendBench.vllm_backend.generation.engines.openai import OpenAIEngine
from BackendBench.vllm_backend.generation.operation_view import OperationView
from BackendBench.vllm_backend.generation.settings import EngineSettings, GenerationSettings
from BackendBench.vllm_backend.generation.worker import CLOSED_FIELD, GenerationWorker
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.commit import commit_verdict
from BackendBench.vllm_backend.state.connection import connect, connect_async
from BackendBench.vllm_backend.state.intake import request_group
from BackendBench.vllm_backend.state.keys import Keys
from BackendBench.vllm_backend.state.run_state import OperationCounters, RunStore
from BackendBench.vllm_backend.state.store import KernelStore
from BackendBench.vllm_backend.state.task import EvaluationTask, GenerationTask
from tests.fleet.processes import eventually
from tests.generation.chat_server import Answer, ChatServer, completion
from tests.state.samples import candidate, rejected

VIEW = OperationView("relu", "relu.default", "(x)")
LIKE_VLLM = "vllm:num_requests_running 0.0\n"
"""With these metrics a server is asked for one sample at a time."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same law with shorter pauses."""
    monkeypatch.setattr(openai.backoff, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(openai.backoff, "LONGEST_SECONDS", 0.02)
    monkeypatch.setattr(engine_keeper, "RESTART_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(worker, "STEP_SECONDS", 0.1)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Servers that wait for it are let go at the end."""
    event = threading.Event()
    yield event
    event.set()


def ask(client: redis.Redis, n: int = 8, id: str = "r/relu/0", **more: Any) -> GenerationTask:
    """Queue a group."""
    task = GenerationTask(
        id=id, run="r", operation="relu", n=n, dsl="numba", target="cpu", seed=11, temperature=0.8, top_p=0.95,
        **{"policy": "rejection", **more},
    )  # fmt: skip
    assert scripts.run(client, request_group(task))
    return task


def counters(client: redis.Redis) -> OperationCounters:
    return RunStore(client).counters("r")[0]


def candidates(client: redis.Redis) -> list[EvaluationTask]:
    found: list[str] = client.lrange(Keys.EVAL_QUEUE, 0, -1)  # type: ignore[assignment]
    return [EvaluationTask.model_validate_json(text) for text in found]


@pytest.fixture
def books(redis_client: redis.Redis) -> redis.Redis:
    """A Redis that knows run ``r`` with operation ``relu``."""
    RunStore(redis_client).create("r", ["relu"], {})
    return redis_client


def working(
    url: str,
    server: ChatServer,
    work: Callable[[GenerationWorker], Awaitable[Any]],
    *,
    request_seconds: float = 60.0,
    gpus: int = 0,
    **more: Any,
) -> Any:
    """What ``work`` returns beside a worker, which is ended afterwards."""

    async def run() -> Any:
        engine = EngineSettings(name="openai", endpoints=(server.url,), request_seconds=request_seconds)
        settings = GenerationSettings(worker_id="w", redis_url=url, engine=engine, **more)
        client, store = connect_async(url), KernelStore(client=connect(url))
        made = OpenAIEngine(engine)
        made.gpus = gpus
        one = GenerationWorker(settings, client, store, made, lambda name, source: VIEW)
        running = asyncio.ensure_future(one.run())
        doing = asyncio.ensure_future(work(one))
        try:
            await asyncio.wait({running, doing}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            if running.done():
                running.result()
            return await asyncio.wait_for(doing, 5)
        finally:
            one.stop()
            one.stop()
            await asyncio.wait({running})
            await client.aclose()

    return asyncio.run(run())


def until(condition: Callable[[], object]) -> Callable[[GenerationWorker], Awaitable[None]]:
    async def work(_: GenerationWorker) -> None:
        while not condition():
            await asyncio.sleep(0.02)

    return work


def finished(client: redis.Redis, groups: int = 1) -> Callable[[GenerationWorker], Awaitable[None]]:
    return until(lambda: counters(client).groups.get("finished") == groups)


@pytest.mark.parametrize("cores", [1, 1000], ids=["parsed beside", "parsed in place"])
def test_a_group_becomes_candidates_that_carry_where_they_come_from(
    books: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(analysis, "CORES_TO_SPARE", cores)
    ask(books)
    with ChatServer() as server:
        working(redis_url, server, finished(books), gpus=2)
    done = counters(books)
    assert (done.requested, done.generated, done.queued, done.tokens) == (8, 8, 8, 80)
    found = candidates(books)
    assert sorted(task.id for task in found) == [f"r/relu/0:{i}" for i in range(8)]
    for task in found:
        assert (task.model, task.prompt_kind, task.tokens) == ("tiny", "fresh", 10)
        assert task.generation_seconds > 0
        assert task.gpu_seconds == pytest.approx(2 * task.generation_seconds)
        assert "def relu_kernel_impl(x)" in task.code
    assert done.generation_seconds == pytest.approx(sum(task.generation_seconds for task in found))
    assert done.gpu_seconds == pytest.approx(2 * done.generation_seconds)


def test_what_a_candidate_cost_is_kept_with_its_kernel(books: redis.Redis, redis_url: str) -> None:
    ask(books, n=1)
    with ChatServer() as server:
        working(redis_url, server, finished(books), gpus=4)
    (task,) = candidates(books)
    scripts.run(books, commit_verdict(task, rejected(task)))
    kernel = books.hgetall(Keys.kernel("relu", task.hash))
    assert float(kernel["gpu_seconds"]) == pytest.approx(4 * float(kernel["generation_seconds"]))  # type: ignore[index]
    assert kernel["tokens"] == "10"  # type: ignore[index]
    stats = KernelStore(client=books).get_operation_stats("relu")
    assert stats["gpu_seconds"] == pytest.approx(task.gpu_seconds, rel=1e-6)


def test_a_finished_sample_does_not_wait_for_its_group(
    books: redis.Redis, redis_url: str, gate: threading.Event
) -> None:
    def first_waits(number: int, body: dict[str, Any]) -> Answer:
        if number == 1:
            gate.wait()
        return Answer()

    async def work(_: GenerationWorker) -> int:
        while counters(books).queued < 7:
            await asyncio.sleep(0.02)
        ended = counters(books).groups.get("finished", 0)
        gate.set()
        await finished(books)(_)
        return ended

    ask(books)
    with ChatServer(first_waits, metrics=LIKE_VLLM) as server:
        assert working(redis_url, server, work) == 0
    assert counters(books).queued == 8


def test_samples_without_a_kernel_are_counted_by_reason(books: redis.Redis, redis_url: str) -> None:
    ask(books, n=4)
    prose = Answer(
        body=completion(4, lambda i: "I would rather not." if i else "```python\ndef broken(:\n```")
    )
    with ChatServer(lambda number, body: prose) as server:
        working(redis_url, server, finished(books))
    done = counters(books)
    assert (done.generated, done.queued, done.unusable, done.tokens) == (4, 0, 4, 40)
    assert sum(done.unusable_reasons.values()) == 4 and len(done.unusable_reasons) == 2
    assert done.generation_seconds > 0, "they have cost their time too"


def test_candidates_remember_which_feedback_their_prompt_had_seen(books: redis.Redis, redis_url: str) -> None:
    known = candidate("q/relu/0:0", run="q", code="def relu_kernel_impl(x): return x")
    scripts.run(books, commit_verdict(known, rejected(known)))
    ask(books, n=2, policy="reprompt", kind="repair")
    with ChatServer() as server:
        working(redis_url, server, finished(books))
    for task in candidates(books):
        assert task.feedback_version == 1
        assert task.parents == (known.hash,)
        assert task.prompt_kind == "repair"
    assert "def relu_kernel_impl(x): return x" in server.chats[0].body["messages"][1]["content"]


def test_it_holds_while_evaluation_is_behind(
    books: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        worker, "STEP_SECONDS", 1.0
    )  # the first look comes before the first claim, not a step later
    waiting = [
        candidate(f"q/relu/0:{i}", run="q", code=f"x = {i}") for i in range(controller.FLOOR_DEPTH + 1)
    ]
    books.rpush(Keys.EVAL_QUEUE, *(task.model_dump_json() for task in waiting))
    ask(books)

    async def work(one: GenerationWorker) -> int:
        while books.hget(Keys.worker("w"), "state") != "holding":
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        asked = len(server.chats)
        books.ltrim(Keys.EVAL_QUEUE, 0, 3)
        await finished(books)(one)
        return asked

    with ChatServer() as server:
        assert working(redis_url, server, work, lease_seconds=1.0) == 0
    assert len(server.chats) == 1


def test_an_operation_that_needs_no_more_is_aborted(
    books: redis.Redis, redis_url: str, gate: threading.Event
) -> None:
    def half_waits(number: int, body: dict[str, Any]) -> Answer:
        if number > 4:
            gate.wait()
        return Answer()

    async def work(one: GenerationWorker) -> None:
        while counters(books).queued < 4:
            await asyncio.sleep(0.02)
        books.hset(Keys.run_stats("r", "relu"), CLOSED_FIELD, 1)
        await until(lambda: counters(books).groups.get("aborted"))(one)

    ask(books)
    with ChatServer(half_waits, metrics=LIKE_VLLM) as server:
        working(redis_url, server, work)
    done = counters(books)
    assert (done.requested, done.generated, done.shortfall) == (4, 4, 4)


def test_a_group_of_a_closed_operation_is_not_even_begun(books: redis.Redis, redis_url: str) -> None:
    ask(books)
    books.hset(Keys.run_stats("r", "relu"), CLOSED_FIELD, 1)
    with ChatServer() as server:
        working(redis_url, server, until(lambda: counters(books).groups.get("aborted")))
    assert server.chats == []


def test_an_engine_that_fails_is_started_again_and_its_groups_are_sampled(
    books: redis.Redis, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(books, id="r/relu/0")
    ask(books, id="r/relu/1")

    def first_broken(number: int, body: dict[str, Any]) -> Answer:
        return (
            Answer(500, {"error": {"message": "CUDA out of memory"}})
            if number <= 2 * openai.ATTEMPTS
            else Answer()
        )

    with ChatServer(first_broken) as server:
        working(redis_url, server, finished(books, 2))
    done = counters(books)
    assert done.requested == done.generated == 16
    said = capsys.readouterr().out
    assert "engine_failed" in said and "CUDA out of memory" in said and "engine_restarted" in said


def test_an_engine_that_hangs_is_noticed(books: redis.Redis, redis_url: str, gate: threading.Event) -> None:
    ask(books)

    def first_hang(number: int, body: dict[str, Any]) -> Answer:
        if number <= openai.ATTEMPTS:
            gate.wait()
        return Answer()

    with ChatServer(first_hang) as server:
        working(redis_url, server, finished(books), request_seconds=0.2)
    assert counters(books).generated == 8


def test_what_no_restart_mends_ends_the_worker(books: redis.Redis, redis_url: str) -> None:
    ask(books)
    with (
        ChatServer(lambda number, body: Answer(401)) as server,
        pytest.raises(EngineConfigError, match="API key"),
    ):
        working(redis_url, server, finished(books))
    assert eventually(lambda: books.llen(Keys.GENERATION_QUEUE) == 1), "the group waits for a worker that can"


def test_a_worker_told_to_leave_finishes_its_groups(
    books: redis.Redis, redis_url: str, gate: threading.Event
) -> None:
    def waits(number: int, body: dict[str, Any]) -> Answer:
        gate.wait()
        return Answer()

    async def work(one: GenerationWorker) -> None:
        while not server.chats:
            await asyncio.sleep(0.02)
        ask(books, id="r/relu/1")
        one.stop()
        gate.set()
        await finished(books)(one)

    ask(books)
    with ChatServer(waits) as server:
        working(redis_url, server, work, groups_in_flight=1)
    assert counters(books).generated == 8
    assert books.llen(Keys.GENERATION_QUEUE) == 1, "it took no new one"


def test_a_worker_told_twice_gives_its_groups_back(
    books: redis.Redis, redis_url: str, gate: threading.Event
) -> None:
    def waits(number: int, body: dict[str, Any]) -> Answer:
        gate.wait()
        return Answer()

    async def work(one: GenerationWorker) -> None:
        while not server.chats:
            await asyncio.sleep(0.02)

    ask(books)
    with ChatServer(waits) as server:
        working(redis_url, server, work)
    assert books.llen(Keys.GENERATION_QUEUE) == 1
    assert counters(books).generated == 0
    assert not books.exists(Keys.worker("w"))


def start(url: str, server: ChatServer, id: str, log: Path) -> subprocess.Popen[bytes]:
    """A worker process."""
    settings = GenerationSettings(
        worker_id=id, redis_url=url, engine=EngineSettings(name="openai", endpoints=(server.url,)), lease_seconds=1.5
    )  # fmt: skip
    file = log / f"{id}.json"
    file.write_text(settings.model_dump_json())
    with (log / f"{id}.log").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker_process.py")), str(file)],
            stdout=out,
            stderr=out,
        )


@pytest.mark.timeout(180)
def test_a_killed_worker_loses_nothing_and_nothing_counts_twice(
    books: redis.Redis, redis_url: str, tmp_path: Path, gate: threading.Event
) -> None:
    """Killed in the middle of two groups, some of whose samples it had submitted."""

    def slow(number: int, body: dict[str, Any]) -> Answer:
        if 5 < number <= 16:
            gate.wait()
        return Answer()

    ask(books, id="r/relu/0")
    ask(books, id="r/relu/1")
    with ChatServer(slow, metrics=LIKE_VLLM) as server:
        first = start(redis_url, server, "first", tmp_path)
        try:
            assert eventually(lambda: counters(books).queued == 5 and len(server.chats) == 16)
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
        second = start(redis_url, server, "second", tmp_path)
        try:
            assert eventually(lambda: counters(books).groups.get("finished") == 2)
            second.terminate()
            assert second.wait(30) == 0
        finally:
            second.kill()
            second.wait()
    done = counters(books)
    assert done.requested == done.generated == done.queued == 16
    assert len(server.chats) == 16 + 11, "only what was missing was asked for again"
    ids = [task.id for task in candidates(books)]
    assert sorted(ids) == sorted(f"r/relu/{group}:{i}" for group in (0, 1) for i in range(8))
    seeds = [chat.body["seed"] for chat in server.chats]
    assert set(seeds[16:]) - set(seeds[:16]), (
        "the rest of a group does not get the texts of its beginning again"
    )


def test_bad_settings_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"worker_id": "w", "redis_url": "redis://localhost", "lease_seconds": -1}))
    done = subprocess.run(
        [sys.executable, "-m", "BackendBench.vllm_backend.generation", "--settings-json", str(file)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert (
        done.stderr.startswith("error: ") and "lease_seconds" in done.stderr and done.stderr.count("\n") == 1
    )
