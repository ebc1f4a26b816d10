"""Engine grammar: a seeded probabilistic grammar of kernels. It is no language model.

- It reads of a prompt what is asked for, which error classes were shown and how the fastest exemplars are built,
  and nothing else: it knows a fixed list of operations and repeats the mistakes that models make.
- Sample ``i`` depends on the engine's seed, the prompt's seed, the prompt and ``i`` alone, not on earlier samples.
- It computes for a few milliseconds at most between two awaits, so other groups and the worker's heartbeat go on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import cast

from ...state.task import Dsl, Target
from ..grammar import Written, write_with
from ..grammar.choices import Choices
from ..grammar.prompt import Asked, read
from .base import Engine, Pressure, Prompt, Sample, SamplingParameters

CHARACTERS_PER_TOKEN = 4
"""What tokenizers of code come to on average; there is no tokenizer here to ask."""


class GrammarEngine(Engine):
    """Writes kernels from a grammar. Not a language model: it learns nothing and knows a fixed list of operations."""

    name = "grammar"
    model = "grammar"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._running: dict[str, int] = {}
        """Samples still to come, by group."""

    async def start(self) -> None:
        """Nothing to load."""

    async def sample(
        self, prompt: Prompt, n: int, parameters: SamplingParameters, group: str
    ) -> AsyncIterator[Sample]:
        """See Engine.sample. A text longer than ``max_tokens`` is cut there, as a model's would be."""
        asked = read(prompt.user)
        self._running[group] = n
        try:
            for index in range(n):
                await asyncio.sleep(0)
                if group not in self._running:
                    return
                self._running[group] = n - index
                yield _cut(index, self._text(asked, prompt, parameters, index), parameters.max_tokens)
        finally:
            self._running.pop(group, None)

    def _text(self, asked: Asked, prompt: Prompt, parameters: SamplingParameters, index: int) -> str:
        rng = random.Random(f"{self._seed}/{parameters.seed}/{index}/{prompt.user}")
        greedy = parameters.temperature == 0
        choices = Choices(rng, hints=asked.hints, greedy=greedy)
        return written(asked, choices, rng, greedy).text

    async def abort(self, group: str) -> None:
        """The group's iterator ends at its next sample."""
        self._running.pop(group, None)

    def pressure(self) -> Pressure:
        """Groups under way, each writing one sample at a time."""
        return Pressure(len(self._running), sum(self._running.values()) - len(self._running))

    async def close(self) -> None:
        """End every group."""
        self._running.clear()


def written(asked: Asked, choices: Choices, rng: random.Random, greedy: bool = False) -> Written:
    """One candidate for what a prompt asks."""
    dsl, target = cast(Dsl, asked.dsl), cast(Target, asked.target)
    return write_with(
        asked.operation, dsl, target, choices, rng, asked.errors, asked.function or None, greedy=greedy
    )


def _cut(index: int, text: str, max_tokens: int) -> Sample:
    tokens = max(1, len(text) // CHARACTERS_PER_TOKEN)
    if tokens <= max_tokens:
        return Sample(index, text, tokens)
    return Sample(index, text[: max_tokens * CHARACTERS_PER_TOKEN], max_tokens, "length")
