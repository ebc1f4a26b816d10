"""How fast the small model writes on this machine's CPU.

    python benchmarks/small_model.py --groups 12 --json small_model.json

Real prompts of the farm (fresh, Numba) and the sampling of a run; groups side by side as the worker does. Nothing is
judged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

from BackendBench.vllm_backend.generation.engines import sampling
from BackendBench.vllm_backend.generation.engines.base import Prompt
from BackendBench.vllm_backend.generation.engines.embedded import EmbeddedEngine
from BackendBench.vllm_backend.generation.operation_view import view_of
from BackendBench.vllm_backend.generation.prompts import compose_prompt
from BackendBench.vllm_backend.generation.settings import EngineSettings
from BackendBench.vllm_backend.operations import catalog
from BackendBench.vllm_backend.search.policy import PromptContext

OPERATIONS = ("relu", "add", "softmax", "layer_norm", "sum", "matmul")


async def measure(groups: int, group_size: int, threads: int) -> dict[str, float]:
    """Threads, samples, tokens and seconds."""
    engine = EmbeddedEngine(EngineSettings(name="embedded"), threads)
    await engine.start()
    prompts = [
        compose_prompt(view_of(catalog.resolve(name)), "numba", "cpu", "", PromptContext())
        for name in OPERATIONS
    ]
    own = sampling("embedded")
    tokens: list[int] = []

    async def group(number: int, prompt: Prompt) -> None:
        async for sample in engine.sample(prompt, group_size, replace(own, seed=number), str(number)):
            tokens.append(sample.tokens)

    started = time.perf_counter()
    await asyncio.gather(*(group(i, prompts[i % len(prompts)]) for i in range(groups)))
    seconds = time.perf_counter() - started
    await engine.close()
    return {
        "threads": engine.threads, "candidates": len(tokens), "tokens": sum(tokens), "seconds": seconds,
        "candidates_per_minute": 60 * len(tokens) / seconds, "tokens_per_second": sum(tokens) / seconds,
    }  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--groups", type=int, default=12, help="prompts, taken by turns from six operations")
    parser.add_argument("--group-size", type=int, default=8, help="samples of each")
    parser.add_argument("--threads", type=int, default=0, help="0: as the farm would")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    found = asyncio.run(measure(given.groups, given.group_size, given.threads))
    print(
        f"{found['candidates']:.0f} candidates, {found['tokens']:.0f} tokens in {found['seconds']:.1f} s on "
        f"{found['threads']} threads: {found['candidates_per_minute']:.0f} candidates a minute, "
        f"{found['tokens_per_second']:.0f} tokens a second"
    )
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
