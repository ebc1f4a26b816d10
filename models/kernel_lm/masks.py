"""The law of ``packing.visible`` as a mask for attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from .packing import ANSWER_BITS

ANSWER_MASK = (1 << ANSWER_BITS) - 1


def dense(owners: Tensor) -> Tensor:
    """Booleans (rows, 1, tokens, tokens) from owners (rows, tokens): for short rows without a GPU."""
    query, key = owners[:, :, None], owners[:, None, :]
    index = torch.arange(owners.shape[1], device=owners.device)
    allowed = (query >> ANSWER_BITS == key >> ANSWER_BITS) & ((key & ANSWER_MASK == 0) | (key == query))
    return (allowed & (index[:, None] >= index[None, :]))[:, None]


class BlockMasks:
    """The same for flex attention on a GPU: one batch after the other, of one size.

    The owners are copied into one buffer, so that the compiled model sees the same function each time.
    """

    def __init__(self, rows: int, length: int, device: torch.device) -> None:
        owned = self._owners = torch.zeros((rows, length), dtype=torch.int64, device=device)

        def allowed(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            mine, other = owned[row, query], owned[row, key]
            same_document = mine >> ANSWER_BITS == other >> ANSWER_BITS
            return same_document & ((other & ANSWER_MASK == 0) | (other == mine)) & (query >= key)

        self._allowed = allowed

    def __call__(self, owners: Tensor) -> BlockMask:
        """The mask for owners (rows, tokens); valid until the next call."""
        self._owners.copy_(owners)
        rows, length = self._owners.shape
        return _create(self._allowed, rows, None, length, length, device=str(self._owners.device))


_create = torch.compile(create_block_mask, dynamic=False)
