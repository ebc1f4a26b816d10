"""Documents into rows of one length. Pure NumPy.

- A document is one prompt and its answers. Each answer sees the prompt and itself, not its siblings, and its
  positions begin where the prompt ends: a prompt is computed once for all its answers, as it is when sampling.
- A token's *owner* says what it may see: document (high bits) and answer (low bits, 0: the prompt).
- The loss counts the tokens of answers, the first one included, which the prompt's last token predicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ANSWER_BITS = 8
"""At most 255 answers to a prompt in one row."""
IGNORED = -100
"""A target that counts for nothing."""
PADDING_OWNER = 0
"""Documents are numbered from 1."""


@dataclass(frozen=True)
class Document:
    """Token ids, uint16."""

    prompt: NDArray[np.uint16]
    answers: tuple[NDArray[np.uint16], ...]

    def __len__(self) -> int:
        return len(self.prompt) + sum(len(answer) for answer in self.answers)


@dataclass(frozen=True)
class Row:
    """One row of a batch; arrays of its length, ``chosen`` and ``targets`` of another one of their own."""

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    owners: NDArray[np.int64]
    chosen: NDArray[np.int64]
    """Indices of the tokens whose successors count."""
    targets: NDArray[np.int64]


def rows(documents: Iterable[Document], length: int) -> Iterator[Row]:
    """Rows of ``length`` tokens, filled with documents in their order; one that is longer than a row is left out."""
    waiting: list[Document] = []
    filled = 0
    for document in documents:
        if len(document) > length:
            continue
        if filled + len(document) > length:
            yield row(waiting, length)
            waiting, filled = [], 0
        waiting.append(document)
        filled += len(document)


def row(documents: Sequence[Document], length: int) -> Row:
    """One row of these documents. Raises ValueError when they do not fit."""
    tokens = np.zeros(length, np.int64)
    positions = np.zeros(length, np.int64)
    owners = np.full(length, PADDING_OWNER, np.int64)
    chosen: list[NDArray[np.int64]] = []
    targets: list[NDArray[np.int64]] = []
    at = 0
    for number, document in enumerate(documents, start=1):
        size = len(document.prompt)
        if at + len(document) > length:
            raise ValueError(f"documents of more than {length} tokens in one row")
        last = at + size - 1
        _place(tokens, positions, owners, at, document.prompt, 0, number << ANSWER_BITS)
        at += size
        for branch, answer in enumerate(document.answers, start=1):
            _place(tokens, positions, owners, at, answer, size, (number << ANSWER_BITS) + branch)
            chosen.append(np.concatenate(([last], np.arange(at, at + len(answer) - 1))))
            targets.append(answer.astype(np.int64))
            at += len(answer)
    nothing = [np.zeros(0, np.int64)]
    return Row(
        tokens, positions, owners, np.concatenate(chosen or nothing), np.concatenate(targets or nothing)
    )


def _place(
    tokens: NDArray[np.int64], positions: NDArray[np.int64], owners: NDArray[np.int64],
    at: int, ids: NDArray[np.uint16], position: int, owner: int,
) -> None:  # fmt: skip
    here = slice(at, at + len(ids))
    tokens[here] = ids
    positions[here] = np.arange(position, position + len(ids))
    owners[here] = owner


def batch(taken: Sequence[Row], capacity: int) -> tuple[NDArray[np.int64], ...]:
    """tokens, positions, owners (rows, length); chosen, targets (capacity,), as flat indices of the batch.

    What is more than ``capacity`` is dropped, what is missing is filled with IGNORED targets: the shapes never
    change, so that the compiled model is compiled once.
    """
    length = len(taken[0].tokens)
    chosen = np.concatenate([one.chosen + number * length for number, one in enumerate(taken)])[:capacity]
    targets = np.concatenate([one.targets for one in taken])[:capacity]
    missing = capacity - len(chosen)
    return (
        np.stack([one.tokens for one in taken]),
        np.stack([one.positions for one in taken]),
        np.stack([one.owners for one in taken]),
        np.concatenate([chosen, np.zeros(missing, np.int64)]),
        np.concatenate([targets, np.full(missing, IGNORED, np.int64)]),
    )


def visible(query: int, key: int, query_index: int, key_index: int) -> bool:
    """Whether a token with owner ``query`` sees one with owner ``key``: the law that the masks implement."""
    same_document = query >> ANSWER_BITS == key >> ANSWER_BITS
    of_prompt_or_own = key & ((1 << ANSWER_BITS) - 1) == 0 or key == query
    return same_document and of_prompt_or_own and key_index <= query_index
