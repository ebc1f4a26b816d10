"""The corpus in shards, made by many processes ahead of the training, consumed in one order.

- A shard is a function of (seed, number): however many processes work, the rows and their order are the same.
- Each shard is used again ``REPLAY_LAG`` shards later: the GPU reads faster than the processes write.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np

from . import operations, tokenizer
from .corpus import Example, example
from .packing import Document, Row, rows
from .shape import TURN_END_ID

EXAMPLES = 128
"""In a shard: some twenty rows, of which the last, unfinished one is lost."""
AHEAD = 4
"""Shards in the making for each process: enough that none waits."""
REPLAY_LAG = 256
LONGEST_DOCUMENT = 6144
"""Tokens of a prompt with its answers."""
T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """What shards are made from, besides their numbers. A file, so that it is read once by each process."""

    seed: int
    described: Mapping[str, Any]
    """Name -> operations.describe(name)."""
    names: Mapping[str, Sequence[str]]
    """DSL -> operations to draw from."""
    length: int
    """Tokens of a row."""
    tokenizer: str = ""
    """``tokenizer.json``; '': only texts can be made."""

    def save(self, file: Path) -> Path:
        """Write it as JSON."""
        file.write_text(json.dumps(asdict(self)))
        return file


class Maker:
    """Makes shards; one in each process."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._described = {name: operations.from_plain(values) for name, values in recipe.described.items()}
        self._tokenizer: Any = None
        if recipe.tokenizer:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(recipe.tokenizer)

    def examples(self, number: int) -> list[Example]:
        """The examples of a shard."""
        rng = Random(f"{self._recipe.seed}/{number}")
        return [example(self._described, self._recipe.names, rng) for _ in range(EXAMPLES)]  # type: ignore[arg-type]

    def texts(self, number: int) -> list[str]:
        """Their texts, for the tokenizer to learn from."""
        found: list[str] = []
        for one in self.examples(number):
            found += (tokenizer.chat(one.prompt.system, one.prompt.user), *one.answers)
        return found

    def documents(self, number: int) -> list[Document]:
        """The shard."""
        made = (self.document(one) for one in self.examples(number))
        return [document for document in made if len(document) <= LONGEST_DOCUMENT]

    def rows(self, number: int) -> list[Row]:
        """The shard, packed."""
        return list(rows(self.documents(number), self._recipe.length))

    def document(self, one: Example) -> Document:
        """An example as token ids."""
        texts = [tokenizer.chat(one.prompt.system, one.prompt.user), *one.answers]
        prompt, *answers = (found.ids for found in self._tokenizer.encode_batch_fast(texts))
        return Document(
            np.array(prompt, np.uint16), tuple(np.array([*ids, TURN_END_ID], np.uint16) for ids in answers)
        )


class Corpus:
    """The processes, and what they make."""

    def __init__(self, processes: int) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        self._processes = processes
        # Not forked: the parent has threads, and a GPU.
        self._pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Name -> operations.describe(name)."""
        return dict(zip(names, self._pool.map(operations.describe, names), strict=True))

    def texts(self, recipe: Path, shards: int) -> list[str]:
        """Texts for the tokenizer, from shards of negative numbers: not those of the training."""
        numbers = range(-shards, 0)
        return [text for part in self._pool.map(_texts, [recipe] * shards, numbers) for text in part]

    def rows(self, recipe: Path, first: int = 0) -> Iterator[Row]:
        """Rows without end, in order, beginning with shard number ``first``."""
        return self._made(_rows, recipe, first)

    def documents(self, recipe: Path, first: int = 0) -> Iterator[Document]:
        """Documents without end, likewise."""
        return self._made(_documents, recipe, first)

    def _made(self, make: Callable[[Path, int], list[T]], recipe: Path, first: int) -> Iterator[T]:
        under_way: deque[Future[list[T]]] = deque()
        old: deque[list[T]] = deque()
        number = first
        while True:
            while len(under_way) < AHEAD * self._processes:
                under_way.append(self._pool.submit(make, recipe, number))
                number += 1
            fresh = under_way.popleft().result()
            yield from fresh
            old.append(fresh)
            if len(old) > REPLAY_LAG:
                yield from old.popleft()

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@cache
def _maker(recipe: Path) -> Maker:
    """Of this process."""
    return Maker(Recipe(**json.loads(recipe.read_text())))


def _texts(recipe: Path, number: int) -> list[str]:
    return _maker(recipe).texts(number)


def _documents(recipe: Path, number: int) -> list[Document]:
    return _maker(recipe).documents(number)


def _rows(recipe: Path, number: int) -> list[Row]:
    return _maker(recipe).rows(number)
