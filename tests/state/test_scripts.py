"""Scripts as values: sync and async run the same text, also after the server forgot it."""

from __future__ import annotations

import asyncio
from importlib import resources

import pytest
import redis

from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.connection import connect_async
from BackendBench.vllm_backend.state.intake import submit_candidate
from BackendBench.vllm_backend.state.keys import Keys
from tests.state.samples import candidate, submit

ALL = [
    file.name.removesuffix(".lua")
    for file in (resources.files("BackendBench.vllm_backend.state") / "lua").iterdir()
    if file.name.endswith(".lua") and file.name != "prelude.lua"
]


@pytest.mark.parametrize("script", sorted(ALL))
def test_every_script_is_valid_lua(redis_client: redis.Redis, script: str) -> None:
    assert redis_client.script_load(scripts.source(script))


def test_sync_and_async_do_the_same(redis_url: str, redis_client: redis.Redis) -> None:
    async def submit_async() -> str:
        client = connect_async(redis_url)
        try:
            return await scripts.run_async(client, submit_candidate(candidate("g:1")))
        finally:
            await client.aclose()

    assert submit(redis_client, candidate("g:0")) == ["queued"]
    assert asyncio.run(submit_async()) == "duplicate"
    assert redis_client.llen(Keys.EVAL_QUEUE) == 1


def test_a_server_that_forgot_its_scripts_is_told_again(redis_client: redis.Redis) -> None:
    submit(redis_client, candidate("g:0"))
    redis_client.script_flush()
    assert submit(redis_client, candidate("g:1", code="y = 2")) == ["queued"]
