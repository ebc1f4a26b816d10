"""Drives the vLLM engine and writes what it saw as JSON: ``python vllm_probe.py MODEL RESULT``.

Runs in the interpreter that has vLLM; the tests read the result.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from BackendBench.vllm_backend.generation.engines.base import (
    EngineError,
    Prompt,
    PromptError,
    SamplingParameters,
)
from BackendBench.vllm_backend.generation.engines.vllm import VllmEngine
from BackendBench.vllm_backend.generation.settings import EngineSettings
from tests.generation.real_vllm import ENGINE_ARGS

PROMPT = Prompt("You write kernels.", "Write relu. " * 40)


async def collect(
    engine: VllmEngine, n: int, tokens: int, group: str, prompt: Prompt = PROMPT
) -> list[dict[str, Any]]:
    """The samples, each with what was still under way in the group when it came."""
    found: list[dict[str, Any]] = []
    parameters = SamplingParameters(temperature=1.5, max_tokens=tokens)
    async for sample in engine.sample(prompt, n, parameters, group):
        found.append({"index": sample.index, "tokens": sample.tokens, "text": len(sample.text),
                      "reason": sample.finish_reason, "step": engine.load.steps})  # fmt: skip
    return found


async def busy(engine: VllmEngine) -> None:
    """Until the engine works on something."""
    while engine.pressure().running == 0:
        await asyncio.sleep(0.005)


async def pausing(engine: VllmEngine) -> dict[str, Any]:
    """A pause in the middle of a group."""
    group = asyncio.ensure_future(collect(engine, 8, 300, "paused"))
    await busy(engine)
    await engine.pause()
    before = engine.load.steps
    late = asyncio.ensure_future(collect(engine, 2, 5, "late"))
    await asyncio.sleep(0.5)
    quiet = engine.load.steps == before and not group.done() and not late.done()
    await engine.resume()
    return {"quiet": quiet, "kept": len(await group), "late": len(await late)}


async def aborting(engine: VllmEngine) -> dict[str, Any]:
    """An abort in the middle of a group, beside one that goes on."""
    stays = asyncio.ensure_future(collect(engine, 2, 100, "stays"))
    goes = asyncio.ensure_future(collect(engine, 16, 800, "goes"))
    while engine.pressure().running < 18:
        await asyncio.sleep(0.005)
    await engine.abort("goes")
    aborted, stayed = await goes, await stays
    after = engine.load.generated_tokens
    await asyncio.sleep(0.3)
    return {"aborted": len(aborted), "stayed": len(stayed), "silent": engine.load.generated_tokens == after}


def engine_processes() -> list[psutil.Process]:
    """Living children, without the helper of multiprocessing."""
    children = psutil.Process().children(recursive=True)
    living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if "resource_tracker" not in " ".join(child.cmdline())]


async def failure(work: Any) -> str:
    """The error of this kind of work, as ``Kind: message``."""
    try:
        await work
    except EngineError as error:
        return f"{type(error).__name__}: {error}"
    return "none"


async def killing(engine: VllmEngine) -> dict[str, Any]:
    """The engine's process is killed while it works; then it is started again."""
    group = asyncio.ensure_future(collect(engine, 4, 800, "killed"))
    await busy(engine)
    for process in engine_processes():
        process.kill()
    said = await failure(group)
    again = await failure(collect(engine, 1, 5, "while it is dead"))
    await engine.start()
    return {"said": said, "again": again, "after": len(await collect(engine, 4, 5, "after"))}


async def main(model: str) -> dict[str, Any]:
    """All of it."""
    seen: dict[str, Any] = {}
    unknown = EngineSettings(name="vllm", model=model, engine_args={"max_modle_len": 5})
    seen["unknown argument"] = await failure(VllmEngine(unknown).start())
    long = EngineSettings(name="vllm", model=model, engine_args={**ENGINE_ARGS, "max_model_len": 16384})
    seen["too long context"] = await failure(VllmEngine(long).start())
    engine = VllmEngine(EngineSettings(name="vllm", model=model, engine_args=ENGINE_ARGS))
    started = time.monotonic()
    await engine.start()
    seen["start_seconds"] = time.monotonic() - started
    seen["max_model_len"], seen["gpus"] = engine.max_model_len, engine.gpus
    seen["group"] = await collect(engine, 8, 400, "group")
    seen["idle"] = engine.pressure().running
    before = engine.load.prefix_hits
    await collect(engine, 2, 5, "same prompt")
    seen["prefix_hits"] = engine.load.prefix_hits - before
    try:
        await collect(engine, 1, 5, "long", Prompt("s", "relu " * 2000))
    except PromptError as error:
        seen["too long"] = str(error)
    words = 100
    while len(engine.tokens(almost := Prompt("s", "relu " * words))) < 1700:
        words += 10
    seen["almost too long"] = [len(engine.tokens(almost)), await collect(engine, 1, 4096, "almost", almost)]
    seen["pause"] = await pausing(engine)
    seen["abort"] = await aborting(engine)
    seen["kill"] = await killing(engine)
    await engine.close()
    await engine.close()
    seen["closed"] = await failure(collect(engine, 1, 5, "closed"))
    ended_by = time.monotonic() + 30
    while engine_processes() and time.monotonic() < ended_by:
        await asyncio.sleep(0.1)
    seen["left"] = [process.name() for process in engine_processes()]
    return seen


if __name__ == "__main__":
    result = asyncio.run(main(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(result, indent=1))
