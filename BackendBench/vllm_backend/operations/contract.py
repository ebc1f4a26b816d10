"""What an output must be before its values are looked at: shape, dtype, strides. Pure functions.

- Shape and dtype are eager's.
- Strides: every element has memory of its own, and memory order is eager's or contiguous. Callers that care for
  another order have to say so in the operation; most kernels allocate with ``empty`` or ``empty_like``.
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


def stride_error(shape: Sequence[int], strides: Sequence[int], expected: Sequence[int]) -> str:
    """A sentence where ``strides`` are neither eager's (``expected``) nor contiguous, else ''.

    Strides of dimensions of size one or zero mean nothing and are not compared.
    """
    if 0 in shape:
        return ""
    wanted = (tuple(expected), _contiguous(shape))
    relevant = [i for i, size in enumerate(shape) if size != 1]
    for candidate in wanted:
        if all(strides[i] == candidate[i] for i in relevant):
            return ""
    choice = " or ".join(str(list(w)) for w in dict.fromkeys(wanted))
    return f"output with strides {list(strides)}, expected {choice}"


def _contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(1, size)
    return tuple(reversed(strides))
