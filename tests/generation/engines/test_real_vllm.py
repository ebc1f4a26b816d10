"""Both engines that know vLLM against a real one, with a tiny model of random weights."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from BackendBench.vllm_backend.generation.engines.base import (
    EngineConfigError,
    Prompt,
    PromptError,
    Sample,
    SamplingParameters,
)
from BackendBench.vllm_backend.generation.engines.model_check import check_model
from BackendBench.vllm_backend.generation.engines.openai import OpenAIEngine, check_endpoints
from BackendBench.vllm_backend.generation.settings import EngineSettings, GenerationSettings
from BackendBench.vllm_backend.state import scripts
from BackendBench.vllm_backend.state.intake import request_group
from BackendBench.vllm_backend.state.run_state import RunStore
from BackendBench.vllm_backend.state.task import GenerationTask
from tests.fleet.processes import eventually
from tests.generation import real_vllm

PYTHON = real_vllm.python()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PYTHON is None, reason=f"no vLLM: {real_vllm.VARIABLE} names no Python that has it"),
]
PROMPT = Prompt("You write kernels.", "Write relu. " * 40)


def run(*command: str, text: str | None = None) -> str:
    """Standard output of a program of vLLM's interpreter."""
    done = subprocess.run(
        [str(PYTHON), *command],
        env=real_vllm.environment(),
        cwd=real_vllm.ROOT,
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2."""
    directory = tmp_path_factory.mktemp("model")
    run("tests/generation/tiny_model.py", str(directory))
    return directory


@pytest.fixture(scope="module")
def seen(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the probe saw of the engine in its own process."""
    result = tmp_path_factory.mktemp("probe") / "seen.json"
    run("tests/generation/engines/vllm_probe.py", str(model), str(result))
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def test_the_model_passes_the_preflight(model: Path) -> None:
    settings = EngineSettings(name="vllm", model=str(model), gpu_memory_bytes=(80 * 10**9,))
    first, second = check_model(settings)
    assert "Qwen2ForCausalLM, bfloat16, context 4,096 tokens" in first
    assert "of 80.0 GB a GPU the engine uses 72.0" in second


class TestInProcess:
    """``AsyncLLM`` through the engine."""

    def test_each_sample_comes_when_it_is_finished(self, seen: dict[str, Any]) -> None:
        group = seen["group"]
        assert sorted(sample["index"] for sample in group) == list(range(8))
        steps = [sample["step"] for sample in group]
        assert steps == sorted(steps)
        short = [s for s in group if s["reason"] == "stop"]
        if short and len({s["tokens"] for s in group}) > 1:
            assert min(s["step"] for s in short) < max(steps), "the short ones did not wait for the long ones"
        assert all(sample["tokens"] > 0 and sample["text"] > 0 for sample in group)
        assert all(sample["tokens"] == 400 for sample in group if sample["reason"] == "length")

    def test_nothing_is_left_running(self, seen: dict[str, Any]) -> None:
        assert seen["idle"] == 0
        assert seen["left"] == []

    def test_a_prompt_is_computed_once(self, seen: dict[str, Any]) -> None:
        assert seen["prefix_hits"] >= 128, "a block of the cache"

    def test_a_pause_stops_every_step_and_keeps_every_sample(self, seen: dict[str, Any]) -> None:
        assert seen["pause"] == {"quiet": True, "kept": 8, "late": 2}

    def test_an_abort_ends_its_group_alone(self, seen: dict[str, Any]) -> None:
        assert seen["abort"]["aborted"] < 16 and seen["abort"]["stayed"] == 2 and seen["abort"]["silent"]

    def test_a_prompt_too_long_is_one_line(self, seen: dict[str, Any]) -> None:
        assert "tokens leaves no room in the 2048 of the model" in seen["too long"]

    def test_new_tokens_are_cut_to_what_the_model_has_room_for(self, seen: dict[str, Any]) -> None:
        length, (sample,) = seen["almost too long"]
        assert sample["tokens"] <= 2048 - length

    def test_a_killed_engine_is_said_and_starts_again(self, seen: dict[str, Any]) -> None:
        assert seen["kill"]["said"].startswith("EngineError: vLLM's engine failed")
        assert seen["kill"]["again"].startswith("EngineError")
        assert seen["kill"]["after"] == 4

    def test_what_cannot_work_is_one_line(self, seen: dict[str, Any]) -> None:
        assert seen["unknown argument"].startswith(
            "EngineConfigError: --engine-args: this vLLM knows no argument max_modle_len"
        )
        assert seen["too long context"].startswith("EngineConfigError: vLLM did not start: ")
        assert "max_model_len" in seen["too long context"]
        assert seen["closed"] == "EngineError: the engine is closed"

    def test_the_cpu_build_uses_no_gpu(self, seen: dict[str, Any]) -> None:
        assert seen["gpus"] == 0 and seen["max_model_len"] == 2048


def test_a_worker_with_vllm_samples_a_group(
    seen: dict[str, Any], model: Path, redis_client: redis.Redis, redis_url: str
) -> None:
    """The whole path: group in Redis, engine, samples back in Redis."""
    settings = GenerationSettings(
        worker_id="vllm-worker",
        redis_url=redis_url,
        engine=EngineSettings(name="vllm", model=str(model), engine_args=real_vllm.ENGINE_ARGS),
    )
    task = GenerationTask(
        id="g",
        run="r",
        operation="relu",
        n=6,
        dsl="numba",
        target="cpu",
        policy="rejection",
        temperature=0.8,
        top_p=0.95,
        max_tokens=40,
    )
    RunStore(redis_client).create("r", ["relu"], {})
    scripts.run(redis_client, request_group(task))
    worker = subprocess.Popen(
        [str(PYTHON), "-m", "BackendBench.vllm_backend.generation", "--settings-json", "-"],
        env=real_vllm.environment(),
        cwd=real_vllm.ROOT,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    worker.stdin.write(settings.model_dump_json())
    worker.stdin.close()
    counters = lambda: RunStore(redis_client).counters("r")[0]  # noqa: E731
    try:
        assert eventually(lambda: counters().groups.get("finished") or worker.poll() is not None, 300)
        worker.terminate()
        assert worker.wait(120) == 0
    finally:
        worker.kill()
    done = counters()
    assert done.generated == done.requested == 6
    assert 6 <= done.tokens <= 240 and done.generation_seconds > 0 and done.gpu_seconds == 0


@pytest.fixture(scope="module")
def server(seen: dict[str, Any], model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real OpenAI-compatible server of vLLM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    flags = "--enforce-eager --dtype bfloat16 --max-model-len 2048 --distributed-executor-backend uni"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
             "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), *flags.split()],
            env=real_vllm.environment(), stdout=out, stderr=out,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 300
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


async def collect(
    engine: OpenAIEngine, n: int, tokens: int, group: str, prompt: Prompt = PROMPT
) -> list[Sample]:
    parameters = SamplingParameters(temperature=1.5, max_tokens=tokens, seed=3)
    return [sample async for sample in engine.sample(prompt, n, parameters, group)]


class TestServer:
    """The same server as any user has it, through the OpenAI engine."""

    def test_preflight(self, server: str) -> None:
        assert check_endpoints(EngineSettings(name="openai", endpoints=(server,))) == [
            f"model tiny at {server}/v1"
        ]
        with pytest.raises(EngineConfigError, match="does not serve 'large': it serves tiny"):
            check_endpoints(EngineSettings(name="openai", endpoints=(server,), model="large"))

    def test_groups_abort_pressure_and_a_long_prompt(self, server: str) -> None:
        async def work() -> None:
            engine = OpenAIEngine(EngineSettings(name="openai", endpoints=(server,)))
            await engine.start()
            groups = await asyncio.gather(*(collect(engine, 8, 30, f"g{i}") for i in range(4)))
            for group in groups:
                assert sorted(sample.index for sample in group) == list(range(8))
                assert all(0 < sample.tokens <= 30 for sample in group)
                assert len({sample.text for sample in group}) > 1, "each has a seed of its own"
            with pytest.raises(PromptError, match=r"context length|max_tokens|too long"):
                await collect(engine, 1, 5, "long", Prompt("s", "relu " * 3000))
            goes = asyncio.ensure_future(collect(engine, 64, 1200, "goes"))
            while engine.pressure().running < 4:
                await asyncio.sleep(0.05)
            assert engine.pressure().kv_cache_usage is not None
            await engine.abort("goes")
            assert len(await goes) < 64
            while engine.pressure().running:
                await asyncio.sleep(0.05)
            await engine.close()

        asyncio.run(asyncio.wait_for(work(), 240))
