"""The client of OpenAI-compatible servers against a real server that misbehaves in the ways that servers do."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from BackendBench.vllm_backend.generation.engines import openai
from BackendBench.vllm_backend.generation.engines.base import (
    EngineConfigError,
    EngineError,
    Prompt,
    PromptError,
    Sample,
    SamplingParameters,
)
from BackendBench.vllm_backend.generation.engines.openai import OpenAIEngine, check_endpoints
from BackendBench.vllm_backend.generation.settings import EngineSettings
from tests.generation.chat_server import Answer, ChatServer, completion

PROMPT = Prompt("You write kernels.", "Write relu.")
PARAMETERS = SamplingParameters(max_tokens=64, seed=7)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses keep their law and lose their length."""
    monkeypatch.setattr(openai.backoff, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(openai.backoff, "LONGEST_SECONDS", 0.05)


def settings(*servers: ChatServer | str, **more: Any) -> EngineSettings:
    urls = tuple(s if isinstance(s, str) else s.url for s in servers)
    return EngineSettings(name="openai", endpoints=urls, **more)


def with_engine(made: EngineSettings, work: Callable[[OpenAIEngine], Awaitable[Any]]) -> Any:
    """What ``work`` does with a started engine."""

    async def run() -> Any:
        engine = OpenAIEngine(made)
        await engine.start()
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


async def collect(engine: OpenAIEngine, n: int = 4, group: str = "g") -> list[Sample]:
    return [sample async for sample in engine.sample(PROMPT, n, PARAMETERS, group)]


def sampled(*servers: ChatServer, n: int = 4, **more: Any) -> list[Sample]:
    found: list[Sample] = with_engine(settings(*servers, **more), lambda engine: collect(engine, n))
    return found


def once(bad: Answer) -> Callable[[int, dict[str, Any]], Answer]:
    """The first request is answered badly, the rest well."""
    return lambda number, body: bad if number == 1 else Answer()


def test_a_group_is_one_request_for_n_choices() -> None:
    with ChatServer() as server:
        samples = sampled(server, n=4)
    assert sorted(s.index for s in samples) == [0, 1, 2, 3]
    assert len({s.text for s in samples}) == 4
    assert sum(s.tokens for s in samples) == 40
    (chat,) = server.chats
    assert chat.path == "/v1/chat/completions"
    assert chat.body["n"] == 4 and chat.body["max_tokens"] == 64 and chat.body["seed"] == 7
    assert chat.body["model"] == "tiny"
    assert [m["role"] for m in chat.body["messages"]] == ["system", "user"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with ChatServer(once(Answer(status))) as server:
        assert len(sampled(server)) == 4
    assert len(server.chats) == 2


def test_retry_after_is_obeyed() -> None:
    with ChatServer(once(Answer(429, headers={"Retry-After": "0.7"}))) as server:
        started = time.monotonic()
        assert len(sampled(server)) == 4
    assert time.monotonic() - started >= 0.7


@pytest.mark.parametrize(
    "bad",
    [
        Answer(body=b"<html>gateway</html>"),
        Answer(body=b'{"choices": [{"message"'),
        Answer(body={"choices": []}),
        Answer(body={"object": "error"}),
        Answer(body=completion(4), drop_after=40),
        Answer(body=completion(4), drop_after=0),
    ],
    ids=["html", "half JSON", "no choice", "no choices", "cut in the middle", "cut at the start"],
)
def test_a_broken_answer_is_asked_for_again(bad: Answer) -> None:
    with ChatServer(once(bad)) as server:
        assert sorted(s.index for s in sampled(server)) == [0, 1, 2, 3]
    assert len(server.chats) == 2


def test_a_server_that_returns_fewer_choices_is_asked_for_the_rest() -> None:
    def two_at_most(number: int, body: dict[str, Any]) -> Answer:
        return Answer(body=completion(min(2, body.get("n", 1)), lambda i: f"{number} {i}"))

    with ChatServer(two_at_most) as server:

        async def twice(engine: OpenAIEngine) -> list[list[Sample]]:
            return [await collect(engine, 5, "a"), await collect(engine, 5, "b")]

        first, second = with_engine(settings(server), twice)
    assert sorted(s.index for s in first) == sorted(s.index for s in second) == [0, 1, 2, 3, 4]
    asked = [chat.body.get("n", 1) for chat in server.chats]
    assert asked[0] == 5, "it does not know yet"
    assert max(asked[1:]) == 2, "it remembers"
    assert len({chat.body["seed"] for chat in server.chats[:3]}) == 3, "no part repeats another one's seed"


def test_a_server_that_refuses_n_is_asked_one_at_a_time() -> None:
    def one_only(number: int, body: dict[str, Any]) -> Answer:
        return Answer(400, {"error": {"message": "n must be 1"}}) if body.get("n", 1) > 1 else Answer()

    with ChatServer(one_only) as server:
        assert sorted(s.index for s in sampled(server, n=3)) == [0, 1, 2]


def test_a_prompt_too_long_is_the_prompt_s_fault() -> None:
    text = "This model's maximum context length is 2048 tokens, you requested 9000"
    with (
        ChatServer(lambda number, body: Answer(400, {"error": {"message": text}})) as server,
        pytest.raises(PromptError, match="maximum context length is 2048"),
    ):
        sampled(server)
    assert len(server.chats) == 2, "tried once more without max_tokens, and not again"


def test_too_many_new_tokens_are_left_to_the_server() -> None:
    def limited(number: int, body: dict[str, Any]) -> Answer:
        return Answer(400, {"message": "max_tokens is too large"}) if "max_tokens" in body else Answer()

    with ChatServer(limited) as server:
        assert len(sampled(server)) == 4


def test_a_wrong_key_is_one_line() -> None:
    with (
        ChatServer(lambda number, body: Answer(401, {"error": {"message": "bad key"}})) as server,
        pytest.raises(EngineConfigError, match="refuses the API key: set BACKENDBENCH_API_KEY"),
    ):
        sampled(server)
    assert len(server.chats) == 1, "what cannot get better is not tried again"


def test_the_key_is_sent_and_never_shown() -> None:
    with ChatServer() as server:
        sampled(server, api_key="s3cret")
        assert server.chats[0].key == "Bearer s3cret"
        assert "s3cret" not in repr(settings(server, api_key="s3cret"))


def test_a_model_that_went_away_is_one_line() -> None:
    with (
        ChatServer(lambda number, body: Answer(404, {"error": {"message": "gone"}})) as server,
        pytest.raises(EngineConfigError, match="does not know 'tiny' any more: gone"),
    ):
        sampled(server)


def test_a_server_that_stays_broken_is_given_up() -> None:
    with (
        ChatServer(lambda number, body: Answer(500, {"message": "out of memory"})) as server,
        pytest.raises(EngineError, match=r"gave up after 8 attempts.*HTTP 500: out of memory"),
    ):
        sampled(server)
    assert len(server.chats) == 8


def test_silence_is_tried_again() -> None:
    with ChatServer(once(Answer(wait=60.0))) as server:
        started = time.monotonic()
        assert len(sampled(server, request_seconds=0.3)) == 4
    assert time.monotonic() - started < 30.0


def test_preflight_names_what_is_wrong() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(EngineConfigError, match=r"nothing answers at .*: start the server"):
            check_endpoints(settings(nobody))
    with ChatServer(models=("a", "b")) as server:
        with pytest.raises(EngineConfigError, match="serves several models: choose one with --model: a, b"):
            check_endpoints(settings(server))
        with pytest.raises(EngineConfigError, match="does not serve 'c': it serves a, b"):
            check_endpoints(settings(server, model="c"))
        assert check_endpoints(settings(server, model="b")) == [f"model b at {server.url}"]
        with pytest.raises(EngineConfigError, match=r"is no OpenAI-compatible API .*404"):
            check_endpoints(settings(server.url.replace("/v1", "/v2")))


def test_two_endpoints_must_serve_one_model() -> None:
    different = pytest.raises(EngineConfigError, match="serve different models")
    with ChatServer(models=("a",)) as one, ChatServer(models=("b",)) as two, different:
        with_engine(settings(one, two), lambda engine: collect(engine))


def many(count: int) -> Callable[[OpenAIEngine], Awaitable[list[list[Sample]]]]:
    async def work(engine: OpenAIEngine) -> list[list[Sample]]:
        return await asyncio.gather(*(collect(engine, 2, f"g{i}") for i in range(count)))

    return work


def test_endpoints_share_the_work_and_cover_for_each_other() -> None:
    broken = lambda number, body: Answer() if number <= 2 else Answer(503)  # noqa: E731
    with ChatServer(lambda number, body: Answer(wait=0.02)) as good, ChatServer(broken) as bad:
        groups = with_engine(settings(good, bad), many(24))
    assert [len(group) for group in groups] == [2] * 24
    assert len(good.chats) >= 22 and len(bad.chats) >= 3


def test_a_loaded_endpoint_gets_less_at_a_time() -> None:
    async def work(engine: OpenAIEngine) -> tuple[int, int, int]:
        law = engine._endpoints[0].concurrency
        before = law.limit
        groups = await many(12)(engine)
        return before, law.limit, sum(len(group) for group in groups)

    with ChatServer(lambda number, body: Answer(429) if number <= 4 else Answer()) as server:
        before, after, samples = with_engine(settings(server), work)
    assert samples == 24, "nothing is lost by it"
    assert after < before


def test_a_healthy_endpoint_gets_more_at_a_time() -> None:
    async def work(engine: OpenAIEngine) -> tuple[int, int]:
        law = engine._endpoints[0].concurrency
        before = law.limit
        await many(60)(engine)
        return before, law.limit

    with ChatServer() as server:
        before, after = with_engine(settings(server), work)
    assert after >= before + 20


def test_abort_hangs_up_and_ends_quietly() -> None:
    with ChatServer(lambda number, body: Answer(wait=60.0)) as server:

        async def work(engine: OpenAIEngine) -> tuple[list[Sample], float]:
            started = time.monotonic()
            group = asyncio.ensure_future(collect(engine, 4, "slow"))
            while not server.chats:
                await asyncio.sleep(0.01)
            assert engine.pressure().running == 4
            await engine.abort("slow")
            return await group, time.monotonic() - started

        samples, seconds = with_engine(settings(server), work)
        assert samples == [] and seconds < 30.0


def test_the_load_is_read_from_the_metrics_of_a_vllm_server() -> None:
    metrics = (
        'vllm:num_requests_running{model_name="tiny"} 5.0\nvllm:num_requests_waiting{model_name="tiny"} 2.0\n'
        'vllm:kv_cache_usage_perc{model_name="tiny"} 0.5\nvllm:num_preemptions_total{model_name="tiny"} 3.0\n'
    )
    with ChatServer(metrics=metrics) as server:

        async def work(engine: OpenAIEngine) -> Any:
            while engine.pressure().preemptions is None:
                await asyncio.sleep(0.01)
            return engine.pressure()

        pressure = with_engine(settings(server), work)
    assert (pressure.running, pressure.waiting, pressure.kv_cache_usage, pressure.preemptions) == (
        5,
        2,
        0.5,
        3,
    )


def test_a_vllm_server_is_asked_for_each_sample_so_that_each_comes_when_it_is_finished() -> None:
    others = threading.Event()

    def first_waits(number: int, body: dict[str, Any]) -> Answer:
        if number == 1:
            others.wait(30.0)
        return Answer()

    async def taken(engine: OpenAIEngine) -> list[Sample]:
        found = []
        async for sample in engine.sample(PROMPT, 8, PARAMETERS, "g"):
            found.append(sample)
            if len(found) == 7:
                others.set()
        return found

    with ChatServer(first_waits, metrics="vllm:num_requests_running 0.0\n") as server:
        samples = with_engine(settings(server), taken)
    assert others.is_set(), "the others did not wait for it"
    assert sorted(s.index for s in samples) == list(range(8))
    assert all("n" not in chat.body for chat in server.chats) and len(server.chats) == 8
    assert sorted(chat.body["seed"] for chat in server.chats) == list(range(7, 15))
    slow = server.chats[0].body["seed"] - 7
    assert samples[-1].index == slow


def test_a_restart_is_content_with_one_endpoint() -> None:
    with ChatServer() as stays, ChatServer() as goes:
        made = settings(stays, goes)

        async def work() -> list[Sample]:
            engine = OpenAIEngine(made)
            await engine.start()
            goes.__exit__()
            await engine.start()
            samples = await collect(engine)
            await engine.close()
            return samples

        assert len(asyncio.run(work())) == 4
