"""Samples of a trained model, as the farm's own engine draws them where there is no vLLM."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import torch

from BackendBench.vllm_backend.generation.engines.base import Prompt, Sample, SamplingParameters
from BackendBench.vllm_backend.generation.kernel_lm import own_sampling
from BackendBench.vllm_backend.generation.kernel_lm.batching import Batcher, Request
from BackendBench.vllm_backend.generation.kernel_lm.decoder import Decoder
from BackendBench.vllm_backend.state.task import Dsl

from . import operations, tokenizer
from .corpus import example_of

MOST_ON_GPU = 1024
"""Samples in one step: a GPU is not busy with fewer."""


LONGEST = 1024
"""Tokens of a sample to look at."""


class Sampler:
    """A model directory that is sampled from."""

    def __init__(self, directory: Path, device: str = "cpu", threads: int = 2) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._decoder = Decoder.load(directory, device)
        self._threads = threads
        self._most = {} if device == "cpu" else {"most_samples": MOST_ON_GPU}

    def sample(
        self, prompts: Sequence[Prompt], count: int, parameters: SamplingParameters
    ) -> list[list[Sample]]:
        """``count`` samples of each prompt, each with a seed of its own."""
        found: list[list[Sample]] = [[] for _ in prompts]
        ended = threading.Semaphore(0)
        errors: list[BaseException] = []

        def deliver_to(samples: list[Sample], item: Sample | BaseException | None) -> None:
            if isinstance(item, Sample):
                samples.append(item)
                return
            if item is not None:
                errors.append(item)
            ended.release()

        batcher = Batcher(self._decoder, self._tokenizer.decode, self._threads, **self._most)
        for number, prompt in enumerate(prompts):
            ids = self._tokenizer.encode(tokenizer.chat(prompt.system, prompt.user)).ids
            seeded = replace(parameters, seed=(parameters.seed or 0) + number)
            take = found[number]
            batcher.submit(
                Request(ids, count, seeded, lambda item, take=take: deliver_to(take, item))  # type: ignore[misc]
            )
        for _ in prompts:
            ended.acquire()
        batcher.close()
        if errors:
            raise errors[0]
        for samples in found:
            samples.sort(key=lambda sample: sample.index)
        return found


def sample_texts(directory: Path, operation: str, dsl: Dsl, count: int, seed: int) -> list[str]:
    """Texts for a fresh prompt."""
    described = operations.from_plain(operations.describe(operation))
    prompt = example_of(described, dsl, "fresh", Random(seed), count=0, renames=False).prompt
    threads = torch.get_num_threads()
    parameters = SamplingParameters(*own_sampling(directory), max_tokens=LONGEST, seed=seed)
    sampler = Sampler(directory, threads=threads)
    return [sample.text for sample in sampler.sample([prompt], count, parameters)[0]]
