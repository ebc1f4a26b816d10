"""The small model that is shipped, through the engine that serves it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from BackendBench.vllm_backend.generation.engines import create, preflight
from BackendBench.vllm_backend.generation.engines.base import (
    EngineError,
    Prompt,
    PromptError,
    Sample,
    SamplingParameters,
)
from BackendBench.vllm_backend.generation.engines.embedded import (
    MODEL,
    EmbeddedEngine,
    EmbeddedVllmEngine,
    vllm_settings,
)
from BackendBench.vllm_backend.generation.extraction import Unusable, extract
from BackendBench.vllm_backend.generation.kernel_lm import DIRECTORY, is_here
from BackendBench.vllm_backend.generation.kernel_lm.decoder import Decoder, GroupCache
from BackendBench.vllm_backend.generation.operation_view import view_of
from BackendBench.vllm_backend.generation.prompts import compose_prompt
from BackendBench.vllm_backend.generation.settings import EngineSettings
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.search.policy import PromptContext
from BackendBench.vllm_backend.state.task import Dsl, Target
from models.kernel_lm import tokenizer
from models.kernel_lm.masks import dense
from models.kernel_lm.model import LanguageModel
from models.kernel_lm.shape import Shape

LARGEST_WEIGHTS = 16_000_000


def prompt(operation: str = "relu", dsl: Dsl = "numba") -> Prompt:
    where: tuple[Target, str] = ("cuda", "NVIDIA H200") if dsl == "triton" else ("cpu", "")
    return compose_prompt(view_of(catalog.resolve(operation)), dsl, *where, PromptContext())


async def drawn(engine: EmbeddedEngine, asked: Prompt, n: int, group: str, **how: Any) -> list[Sample]:
    parameters = SamplingParameters(**{"seed": 1, **how})
    found = [sample async for sample in engine.sample(asked, n, parameters, group)]
    return sorted(found, key=lambda sample: sample.index)


def with_engine(work: Callable[[EmbeddedEngine], Coroutine[Any, Any, Any]]) -> Any:
    async def scenario() -> Any:
        engine = create("embedded", EngineSettings(name="embedded", seed=3))
        assert isinstance(engine, EmbeddedEngine) and (engine.name, engine.model) == ("embedded", MODEL)
        await engine.start()
        try:
            return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(scenario())


def test_the_weights_are_here_and_small_enough() -> None:
    assert is_here()
    assert (DIRECTORY / "model.safetensors").stat().st_size <= LARGEST_WEIGHTS
    assert json.loads((DIRECTORY / "config.json").read_text()) == Shape().config()
    assert (
        json.loads((DIRECTORY / "tokenizer_config.json").read_text())["chat_template"]
        == tokenizer.CHAT_TEMPLATE
    )


def test_the_decoder_computes_what_the_training_computed() -> None:
    """Two implementations: the decoder reads a prompt and steps with a cache, the trained module sees all at once."""
    model = LanguageModel(Shape())
    model.load_state_dict(load_file(DIRECTORY / "model.safetensors"))
    decoder = Decoder.load(DIRECTORY)
    tokens = torch.randint(3, 4000, (300,), generator=torch.Generator().manual_seed(0))
    known = 290
    with torch.inference_mode():
        seen = model.logits(tokens[None], torch.arange(300)[None], dense(torch.full((1, 300), 256)))[0]
        cache, logits = decoder.read(tokens[:known].tolist())
        group = GroupCache(cache, 2)
        torch.testing.assert_close(logits, seen[known - 1], atol=2e-3, rtol=2e-3)
        for at in range(known, 299):
            stepped = decoder.step([group], tokens[at].expand(2))
            torch.testing.assert_close(stepped, seen[at].expand(2, -1), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(("dsl", "mark"), [("numba", "numba.njit"), ("triton", "@triton.jit")])
def test_it_writes_relu(dsl: Dsl, mark: str) -> None:
    samples = with_engine(lambda engine: drawn(engine, prompt("relu", dsl), 8, "g", temperature=0.0))
    assert [sample.index for sample in samples] == list(range(8))
    assert len({sample.text for sample in samples}) == 1, "the likeliest text"
    found = extract(samples[0].text, "relu_kernel_impl", truncated=False)
    assert not isinstance(found, Unusable) and mark in found.code
    compile(found.code, "kernel", "exec")


def test_a_sample_depends_on_its_seed_and_not_on_its_company() -> None:
    async def scenario(engine: EmbeddedEngine) -> None:
        alone = await drawn(engine, prompt(), 4, "a", max_tokens=60)
        both = await asyncio.gather(
            drawn(engine, prompt(), 4, "b", max_tokens=60),
            drawn(engine, prompt("add"), 6, "c", max_tokens=60),
        )
        other = await drawn(engine, prompt(), 4, "d", max_tokens=60, seed=2)
        assert [s.text for s in alone] == [s.text for s in both[0]] != [s.text for s in other]

    with_engine(scenario)


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    for sample in with_engine(lambda engine: drawn(engine, prompt(), 3, "g", max_tokens=7)):
        assert (sample.tokens, sample.finish_reason) == (7, "length")


def test_an_abort_ends_its_group_alone_and_the_name_can_be_used_again() -> None:
    async def scenario(engine: EmbeddedEngine) -> None:
        stays = asyncio.ensure_future(drawn(engine, prompt("add"), 2, "stays", max_tokens=40))
        goes = asyncio.ensure_future(drawn(engine, prompt(), 4, "goes", max_tokens=2000))
        while not engine.pressure().running:
            await asyncio.sleep(0)
        await engine.abort("goes")
        await goes
        assert len(await stays) == 2
        assert len(await drawn(engine, prompt(), 2, "goes", max_tokens=5)) == 2
        assert engine.pressure().running == 0

    with_engine(scenario)


def test_a_group_that_nobody_reads_any_more_is_given_up() -> None:
    async def scenario(engine: EmbeddedEngine) -> None:
        samples = engine.sample(prompt(), 8, SamplingParameters(seed=1), "g")
        await samples.__anext__()
        await samples.aclose()  # type: ignore[attr-defined]
        assert len(await drawn(engine, prompt("add"), 1, "next", max_tokens=5)) == 1
        assert engine.pressure().running == 0

    with_engine(scenario)


def test_nothing_is_computed_during_a_pause() -> None:
    async def scenario(engine: EmbeddedEngine) -> None:
        going = asyncio.ensure_future(drawn(engine, prompt(), 2, "g", max_tokens=30))
        await engine.pause()
        before = engine.pressure()
        await asyncio.sleep(0.2)
        assert not going.done() and engine.pressure() == before
        await engine.resume()
        assert len(await going) == 2

    with_engine(scenario)


def test_an_abort_during_a_pause_is_not_lost() -> None:
    async def scenario(engine: EmbeddedEngine) -> None:
        goes = asyncio.ensure_future(
            drawn(engine, prompt(), 4, "g", max_tokens=8000, temperature=4.0, top_p=1.0)
        )
        while not engine.pressure().running:
            await asyncio.sleep(0)
        await engine.pause()
        await engine.abort("g")
        await asyncio.sleep(0.05)
        await engine.resume()
        assert len(await asyncio.wait_for(goes, 10)) < 4

    with_engine(scenario)


def test_a_prompt_too_long_is_one_line() -> None:
    async def scenario(engine: EmbeddedEngine) -> None:
        with pytest.raises(PromptError, match="leaves no room in the 8192"):
            await drawn(engine, Prompt("", "a b\n" * 9000), 1, "g")

    with_engine(scenario)


def test_closing_ends_the_thread_and_every_group() -> None:
    async def scenario(engine: EmbeddedEngine) -> None:
        going = asyncio.ensure_future(drawn(engine, prompt(), 2, "g", max_tokens=2000))
        while not engine.pressure().running:
            await asyncio.sleep(0)
        await engine.close()
        await going
        assert "kernel_lm" not in {thread.name for thread in threading.enumerate()}
        with pytest.raises(EngineError, match="closed"):
            await drawn(engine, prompt(), 1, "g")

    with_engine(scenario)


def test_with_a_gpu_it_goes_through_vllm_with_arguments_that_the_user_may_change() -> None:
    settings = EngineSettings(
        name="embedded", gpu_memory_bytes=(80 * 10**9,), engine_args={"max_num_seqs": 64}
    )
    engine = create("embedded", settings)
    assert isinstance(engine, EmbeddedVllmEngine) and (engine.name, engine.model) == ("embedded", MODEL)
    assert vllm_settings(settings).model == str(DIRECTORY)
    assert vllm_settings(settings).engine_args == {"gpu_memory_utilization": 0.1, "max_num_seqs": 64}
    first, second = preflight(settings)
    assert "LlamaForCausalLM, bfloat16, context 8,192 tokens" in first
    assert "of 80.0 GB a GPU the engine uses 8.0" in second
