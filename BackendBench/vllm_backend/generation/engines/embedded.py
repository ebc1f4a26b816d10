"""The farm's own small model (``kernel_lm``): through vLLM on a GPU, through a decoder of its own without one.

- 7 million parameters, trained on what the grammar writes: it knows a few dozen operations and repeats their
  mistakes. It makes the whole path run on a real language model anywhere; it is no match for a large one.
- Without vLLM many samples go through one decoder in one thread (``kernel_lm/batching.py``). What a sample is
  depends on its prompt, the prompt's seed and its index, not on who else is in the batch.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random
from typing import Any

import jinja2

from ..kernel_lm import DIRECTORY, batching
from ..settings import EngineSettings
from .base import (
    Engine,
    EngineConfigError,
    EngineError,
    Pressure,
    Prompt,
    Sample,
    SamplingParameters,
    room_left,
)
from .vllm import VllmEngine

MODEL = "kernel_lm"
MOST_THREADS = 4
"""Matrices of 256 columns keep no more cores busy."""
UTILIZATION = 0.1
"""Share of a GPU for vLLM: 8 GB hold the keys and values of two million tokens (4 KB each)."""


def vllm_settings(settings: EngineSettings) -> EngineSettings:
    """The same settings for vLLM with this model; the user's ``engine_args`` win."""
    arguments: dict[str, Any] = {"gpu_memory_utilization": UTILIZATION} if settings.gpu_memory_bytes else {}
    return settings.model_copy(
        update={"model": str(DIRECTORY), "engine_args": {**arguments, **settings.engine_args}}
    )


class EmbeddedVllmEngine(VllmEngine):
    """The model through vLLM."""

    name = "embedded"

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(vllm_settings(settings))
        self.model = MODEL


class EmbeddedEngine(Engine):
    """The model on the CPU; see the module's docstring."""

    name = "embedded"
    model = MODEL
    sequences = batching.MOST_SAMPLES

    def __init__(self, settings: EngineSettings, threads: int = 0) -> None:
        self._seed = settings.seed
        self.threads = threads or min(MOST_THREADS, len(os.sched_getaffinity(0)))
        self._tokenizer: Any = None
        self._template = jinja2.Template("")
        self._batcher: batching.Batcher | None = None
        self._under_way: dict[str, batching.Request] = {}
        self._context = 0

    async def start(self) -> None:
        """Load the weights: half a second. Raises EngineConfigError."""
        await self.close()
        self._batcher = await asyncio.to_thread(self._load)

    def _load(self) -> batching.Batcher:
        try:
            from tokenizers import Tokenizer

            from ..kernel_lm.decoder import Decoder

            self._tokenizer = Tokenizer.from_file(str(DIRECTORY / "tokenizer.json"))
            config = json.loads((DIRECTORY / "tokenizer_config.json").read_text("utf-8"))
            self._template = jinja2.Template(config["chat_template"])
            decoder = Decoder.load(DIRECTORY)
        except ImportError as error:
            raise EngineConfigError(
                f"engine embedded cannot be imported ({error}): pip install tokenizers safetensors"
            ) from error
        except Exception as error:  # both libraries raise errors of their own for missing files
            raise EngineConfigError(f"engine embedded finds no model in {DIRECTORY}: make train") from error
        self._context = decoder.shape.context
        return batching.Batcher(decoder, self._tokenizer.decode, self.threads)

    async def sample(
        self, prompt: Prompt, n: int, parameters: SamplingParameters, group: str
    ) -> AsyncIterator[Sample]:
        """See Engine.sample. Raises PromptError or EngineError."""
        batcher = self._batcher
        if batcher is None:
            raise EngineError("the engine is closed")
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Sample | BaseException | None] = asyncio.Queue()

        def deliver(item: Sample | BaseException | None) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, item)

        if parameters.seed is None:
            parameters = replace(parameters, seed=Random(f"{self._seed}/{group}").getrandbits(31))
        request = batching.Request(self._tokens(prompt), n, parameters, deliver)
        self._under_way[group] = request
        batcher.submit(request)
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise EngineError(f"engine embedded failed: {item}") from item
                yield item
        finally:
            self._under_way.pop(group, None)
            batcher.abort(request)

    def _tokens(self, prompt: Prompt) -> list[int]:
        text = self._template.render(messages=prompt.messages(), add_generation_prompt=True)
        tokens = list(self._tokenizer.encode(text).ids)
        room_left(len(tokens), self._context)
        return tokens

    async def abort(self, group: str) -> None:
        """Its samples are given up after the step under way."""
        request = self._under_way.get(group)
        if self._batcher is not None and request is not None:
            self._batcher.abort(request)

    def pressure(self) -> Pressure:
        """Samples under way and waiting."""
        return self._batcher.pressure() if self._batcher is not None else Pressure()

    async def pause(self) -> None:
        """See Engine.pause."""
        if self._batcher is not None:
            await asyncio.to_thread(self._batcher.pause)

    async def resume(self) -> None:
        """See Engine.resume."""
        if self._batcher is not None:
            self._batcher.resume()

    async def close(self) -> None:
        """End the thread; groups under way end early."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await asyncio.to_thread(batcher.close)
