"""Tensors inside the arguments of a call: find them, change them, keep their strides.

- ``None``, numbers and everything else that is no tensor pass through untouched.
- A changed tensor keeps shape, strides and storage offset: a transposed input stays transposed on any device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

from .operation import Call


def tensors(tree: Any) -> list[torch.Tensor]:
    """All tensors of nested lists, tuples, dicts and calls, in order."""
    if isinstance(tree, Call):
        tree = (tree.args, tree.kwargs)
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def map_call(function: Callable[[torch.Tensor], torch.Tensor], call: Call) -> Call:
    """The call with ``function`` applied to every tensor."""
    args, kwargs = pytree.tree_map_only(torch.Tensor, function, (call.args, call.kwargs))
    return Call(tuple(args), dict(kwargs))


def leaves(result: Any) -> list[torch.Tensor] | None:
    """Outputs of a call in order: a tensor, or a flat tuple or list of tensors; None for anything else."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, (tuple, list)) and all(isinstance(r, torch.Tensor) for r in result):
        return list(result)
    return None


def through_storage(tensor: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """``change`` applied to the flat memory of ``tensor`` (1-d in, 1-d of equal length out), strided as before."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    length = plain.untyped_storage().nbytes() // plain.element_size()
    flat = plain.as_strided((length,), (1,), 0)
    return change(flat).as_strided(plain.shape, plain.stride(), plain.storage_offset())


def to_device(call: Call, device: torch.device) -> Call:
    """The call with tensors on ``device``; devices among its arguments follow."""
    if all(t.device == device for t in tensors(call)):
        return call
    moved = map_call(lambda t: through_storage(t, lambda flat: flat.to(device)), call)
    args, kwargs = pytree.tree_map_only(torch.device, lambda _: device, (moved.args, moved.kwargs))
    return Call(tuple(args), dict(kwargs))


def to_dtype(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A floating-point tensor converted, with its strides; any other as it is."""
    if not tensor.is_floating_point() or tensor.dtype == dtype:
        return tensor
    return through_storage(tensor, lambda flat: flat.to(dtype))


def structure(tree: Any) -> Any:
    """What of a call does not depend on random values: shapes, strides and dtypes; other arguments as text."""
    if isinstance(tree, Call):
        tree = (tree.args, tree.kwargs)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return (tuple(leaf.shape), tuple(leaf.stride()), str(leaf.dtype))
        return repr(leaf) if not isinstance(leaf, float) else "float"

    return tuple(one(leaf) for leaf in pytree.tree_leaves(tree))
