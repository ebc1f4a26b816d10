"""The grammar behind the interface of an engine."""

from __future__ import annotations

import asyncio

from BackendBench.vllm_backend.generation.engines import create
from BackendBench.vllm_backend.generation.engines.base import Prompt, Sample, SamplingParameters
from BackendBench.vllm_backend.generation.engines.grammar import GrammarEngine
from BackendBench.vllm_backend.generation.settings import EngineSettings

HEAD = "Operation: {}\nOverload: x\nDSL: {}\nTarget: cpu\nSignature: {}_kernel_impl(x)\n"


def _samples(
    engine: GrammarEngine, operation: str = "relu", dsl: str = "numba", n: int = 6, **parameters: float
) -> list[Sample]:
    async def collect() -> list[Sample]:
        prompt = Prompt("system", HEAD.format(operation, dsl, operation))
        sampling = SamplingParameters(**{"max_tokens": 4096, "seed": 1, **parameters})  # type: ignore[arg-type]
        return [sample async for sample in engine.sample(prompt, n, sampling, "g")]

    return asyncio.run(collect())


def test_it_is_created_by_name() -> None:
    engine = create("grammar", EngineSettings(name="grammar", seed=5))
    assert isinstance(engine, GrammarEngine) and (engine.name, engine.model) == ("grammar", "grammar")


def test_seeds_decide_the_texts() -> None:
    first = _samples(GrammarEngine(3))
    assert [s.index for s in first] == list(range(6)) and all(s.tokens == len(s.text) // 4 for s in first)
    assert first == _samples(GrammarEngine(3)) and first[:2] == _samples(GrammarEngine(3), n=2)
    assert first != _samples(GrammarEngine(4)) and first != _samples(GrammarEngine(3), seed=2)


def test_at_temperature_zero_all_samples_are_the_likeliest_kernel() -> None:
    texts = {s.text for s in _samples(GrammarEngine(3), temperature=0.0)}
    assert len(texts) == 1 and "relu_kernel_impl" in texts.pop()


def test_a_text_ends_at_the_token_limit() -> None:
    for sample in _samples(GrammarEngine(3), max_tokens=20):
        assert (len(sample.text), sample.tokens, sample.finish_reason) == (80, 20, "length")


def test_an_unknown_operation_is_no_error() -> None:
    assert all("no productions" in s.text for s in _samples(GrammarEngine(0), "my_own"))


def test_abort_ends_one_group_and_leaves_another() -> None:
    async def both() -> tuple[list[int], list[int]]:
        engine = GrammarEngine(0)
        prompt = Prompt("", HEAD.format("relu", "numba", "relu"))

        async def run(group: str) -> list[int]:
            found = []
            async for sample in engine.sample(prompt, 5, SamplingParameters(), group):
                found.append(sample.index)
                if group == "a" and sample.index == 1:
                    await engine.abort("a")
            return found

        results = await asyncio.gather(run("a"), run("b"))
        assert engine.pressure().running == 0
        await engine.close()
        await engine.close()
        return results[0], results[1]

    assert asyncio.run(both()) == ([0, 1], [0, 1, 2, 3, 4])
