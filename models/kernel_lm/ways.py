"""The two ways to train: what a batch is, and how its gradients come about.

- On a GPU: rows of one length, packed with documents, one compiled pass.
- On a processor: documents one after the other, each laid out for it. The gradients are those of all together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import masks, packing
from .branches import LaidOut, laid_out
from .model import LanguageModel
from .packing import Document, Row
from .shards import Corpus

ANSWER_SHARE = 0.9
"""Of a GPU batch's tokens that may count in the loss; rows with more lose a few."""


class Way(ABC):
    """Batches of one kind, and the loss of one."""

    unseen_items: int
    """What the loss on unseen documents is taken of."""

    @abstractmethod
    def items(self, corpus: Corpus, recipe: Path, first: int = 0) -> Iterator[Any]:
        """What batches are made of, without end, beginning with shard number ``first``."""

    @abstractmethod
    def batch(self, items: Sequence[Any]) -> Any:
        """A batch of these items; made beside the training."""

    @abstractmethod
    def learn(self, batch: Any) -> tuple[Tensor, int]:
        """Add the gradients of a batch; the mean loss, nats a token, without a graph, and the batch's tokens."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Its mean loss."""

    def warm_up(self) -> None:  # noqa: B027 (optional)
        """Whatever takes long the first time; changes no weights."""


class OnGpu(Way):
    """bfloat16, flex attention, compiled once: the shapes never change."""

    unseen_items = 8

    def __init__(self, model: LanguageModel, device: torch.device, rows: int, length: int) -> None:
        self._model, self._device, self._rows, self._length = model, device, rows, length
        self._compiled: Any = torch.compile(model, dynamic=False)
        self._masks = masks.BlockMasks(rows, length, device)
        self._capacity = int(rows * length * ANSWER_SHARE) // 64 * 64

    def items(self, corpus: Corpus, recipe: Path, first: int = 0) -> Iterator[Row]:
        """See Way.items."""
        return corpus.rows(recipe, first)

    def batch(self, items: Sequence[Row]) -> tuple[np.ndarray, ...]:
        """See Way.batch."""
        return packing.batch(items, self._capacity)

    def learn(self, batch: tuple[np.ndarray, ...]) -> tuple[Tensor, int]:
        """See Way.learn."""
        found = self.loss(batch)
        found.backward()
        return found.detach(), batch[0].size

    def loss(self, batch: tuple[np.ndarray, ...]) -> Tensor:
        """See Way.loss."""
        tensors = [torch.from_numpy(one).pin_memory().to(self._device, non_blocking=True) for one in batch]
        tokens, positions, owners, chosen, targets = tensors
        with torch.autocast(self._device.type, torch.bfloat16):
            found: Tensor = self._compiled(tokens, positions, self._masks(owners), chosen, targets)
        return found

    def warm_up(self) -> None:
        """Compile, with noise."""
        part = self._length // 8
        one = packing.Document(np.full(part, 5, np.uint16), (np.full(part, 7, np.uint16),) * 3)
        noise = self.batch([packing.row([one, one], self._length)] * self._rows)
        self.learn(noise)
        self._model.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.loss(noise)


class OnCpu(Way):
    """float32, document by document."""

    unseen_items = 48

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def items(self, corpus: Corpus, recipe: Path, first: int = 0) -> Iterator[Document]:
        """See Way.items."""
        return corpus.documents(recipe, first)

    def batch(self, items: Sequence[Document]) -> list[LaidOut]:
        """See Way.batch."""
        return [laid_out(document) for document in items]

    def learn(self, batch: list[LaidOut]) -> tuple[Tensor, int]:
        """See Way.learn."""
        total = torch.zeros(())
        for part in self._parts(batch):
            part.backward()
            total += part.detach()
        return total, sum(one.tokens.numel() for one in batch)

    def loss(self, batch: list[LaidOut]) -> Tensor:
        """See Way.loss."""
        return torch.stack(list(self._parts(batch))).sum()

    def _parts(self, batch: list[LaidOut]) -> Iterator[Tensor]:
        """What each document adds to the mean loss."""
        counted = sum(len(one.targets) for one in batch)
        for one in batch:
            mean = self._model(one.tokens, one.positions, one.branches, one.chosen, one.targets)
            yield mean * (len(one.targets) / counted)
