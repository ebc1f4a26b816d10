"""Tensors that are not contiguous, each of a wanted shape, cut out of a larger one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

Make = Callable[[Sequence[int]], torch.Tensor]
"""Makes a contiguous tensor of a shape."""


def contiguous(make: Make, shape: Sequence[int]) -> torch.Tensor:
    """As it is."""
    return make(shape)


def transposed(make: Make, shape: Sequence[int]) -> torch.Tensor:
    """Dimensions in reverse order in memory."""
    return make(tuple(reversed(shape))).permute(*reversed(range(len(shape))))


def strided(make: Make, shape: Sequence[int]) -> torch.Tensor:
    """Every second element of a row, from the second on."""
    return make((*shape[:-1], 2 * shape[-1] + 1))[..., 1::2]


def every_third_row(make: Make, shape: Sequence[int]) -> torch.Tensor:
    """Rows apart from each other."""
    return make((3 * shape[0], *shape[1:]))[::3]


def expanded(make: Make, shape: Sequence[int]) -> torch.Tensor:
    """One row repeated with stride 0."""
    return make((1, *shape[1:])).expand(*shape)


def offset(make: Make, shape: Sequence[int]) -> torch.Tensor:
    """Contiguous, but not aligned to more than one element."""
    return make((math.prod(shape) + 1,))[1:].view(*shape)


def channels_last(make: Make, shape: Sequence[int]) -> torch.Tensor:
    """4-d with channels innermost in memory."""
    return make(shape).contiguous(memory_format=torch.channels_last)
