"""What a candidate's outputs are, as data: structure, shapes, dtypes, strides, whose memory they share.

It comes from the candidate's process, so the judge takes it against the candidate alone (correctness/outputs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from ...operations import trees
from ..memory import calls


def structure(result: Any, outputs: int) -> tuple[dict[str, Any], list[torch.Tensor]]:
    """The tensors of a result, and the beginning of its description. There are none where they are not so many."""
    tensors = trees.leaves(result)
    if tensors is None or len(tensors) != outputs:
        return {"structure": _kind(result), "outputs": []}, []
    return {"structure": "tensors", "outputs": []}, tensors


def one(tensor: torch.Tensor, aliases_input: bool, plain: type = torch.Tensor) -> dict[str, Any]:
    """One output. ``plain``: the type of those that torch makes."""
    return {
        "shape": list(tensor.shape),
        "dtype": calls.dtype_name(tensor.dtype),
        "stride": list(tensor.stride()),
        "device": tensor.device.type,
        "plain": type(tensor) is plain,
        "aliases_input": aliases_input,
    }


def without_memory(result: Any, outputs: int, inputs: Sequence[torch.Tensor]) -> dict[str, Any] | None:
    """A result of a dry run whose tensors have no memory; None where nothing can be said of it."""
    description, tensors = structure(result, outputs)
    if any(type(tensor) is not FakeTensor for tensor in tensors):
        return None
    given = {tensor.untyped_storage()._cdata for tensor in inputs}
    description["outputs"] = [
        {**one(t, t.numel() > 0 and t.untyped_storage()._cdata in given, FakeTensor), "aliases_output": False}
        for t in tensors
    ]
    return description


def memory(tensor: torch.Tensor) -> tuple[int, int]:
    """First address and the one after the last."""
    start = tensor.data_ptr()
    return start, start + calls.span(tensor.shape, tensor.stride()) * tensor.element_size()


def shared(spans: Sequence[tuple[int, int]]) -> list[bool]:
    """For every span of memory whether another one overlaps it."""
    return [
        any(s < e2 and s2 < e for other, (s2, e2) in enumerate(spans) if other != index and e2 > s2 and e > s)
        for index, (s, e) in enumerate(spans)
    ]


def _kind(result: Any) -> str:
    if isinstance(result, (tuple, list)):
        return f"{type(result).__name__} of " + ", ".join(sorted({type(r).__name__ for r in result}))[:200]
    return type(result).__name__[:200]
