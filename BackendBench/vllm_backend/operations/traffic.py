"""What a call must cost at least: bytes through memory and arithmetic. Pure functions of shapes.

- Bytes: each element of memory that an input covers is read once (an expanded dimension costs nothing), each output
  element written once.
- FLOPs: a product counts two per multiply-add; other operations count their row's ``flops`` per element.
- Both are lower bounds: the evaluator rejects what is faster than they allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from . import trees
from .operation import Call
from .wellknown import WellKnown

ADDED_OPERAND = ("addmm", "baddbmm")
"""Their product begins with the second argument."""


def tensor_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the distinct elements of one tensor."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not size)
    return math.prod(sizes) * tensor.element_size()


def bytes_moved(call: Call, outputs: Sequence[torch.Tensor], row: WellKnown | None = None) -> int:
    """Fewest bytes through memory."""
    written = sum(t.numel() * t.element_size() for t in outputs)
    if row is not None and row.name == "embedding":
        # Only the chosen rows of the table; equal indices may choose the same one.
        indices = trees.tensors(call)[1]
        return written + tensor_bytes(indices)
    distinct = {id(t): t for t in trees.tensors(call)}
    return written + sum(tensor_bytes(t) for t in distinct.values())


def flops(row: WellKnown, call: Call, outputs: Sequence[torch.Tensor]) -> int:
    """Arithmetic of a well-known operation."""
    if row.name == "scaled_dot_product_attention":
        return _attention(call, outputs[0])
    if row.family == "matmul":
        first = call.args[1 if row.name in ADDED_OPERAND else 0]
        return 2 * outputs[0].numel() * int(first.shape[-1])
    elements = max(t.numel() for t in [*trees.tensors(call), *outputs])
    return row.flops * elements


def _attention(call: Call, output: torch.Tensor) -> int:
    query, key = call.args[0], call.args[1]
    queries, keys = query.shape[-2], key.shape[-2]
    pairs = queries * keys
    if call.kwargs.get("is_causal"):
        pairs = sum(min(i + 1, keys) for i in range(queries))
    per_head = 2 * pairs * (query.shape[-1] + output.shape[-1])
    return math.prod(output.shape[:-2]) * per_head
