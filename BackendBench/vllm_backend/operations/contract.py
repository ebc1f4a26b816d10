"""What an output must be before its values are looked at: shape, dtype, strides. Pure functions.

- Shape and dtype are eager's.
- Strides: every element has memory of its own; its order is free. Eager's is a matter of its version and of its
  inputs, and most kernels allocate with ``empty`` or ``empty_like``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def shape_error(shape: Sequence[int], expected: Sequence[int]) -> str:
    """A sentence where shapes differ, else ''."""
    if tuple(shape) == tuple(expected):
        return ""
    return f"output of shape {list(shape)}, expected {list(expected)}"


def dtype_error(dtype: torch.dtype, expected: torch.dtype) -> str:
    """A sentence where dtypes differ, else ''."""
    if dtype == expected:
        return ""
    mine, theirs = (str(d).removeprefix("torch.") for d in (dtype, expected))
    return f"output of dtype {mine}, expected {theirs}"


def stride_error(shape: Sequence[int], strides: Sequence[int]) -> str:
    """A sentence where two elements may lie on the same memory (an expanded or overlapping tensor), else ''.

    Strides of dimensions of size one mean nothing and are not looked at.
    """
    if 0 in shape:
        return ""
    reach = 1
    for stride, size in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n != 1):
        if stride < reach:
            return f"output with strides {list(strides)}: its elements overlap; return memory of its own for each"
        reach += stride * (size - 1)
    return ""
