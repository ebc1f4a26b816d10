"""Watches which aten operations a candidate calls while its outputs are being checked.

- Allocation, views, copies and dtype conversion are a wrapper's work; anything else is the library computing.
- An operation under test that is itself an allocation or a view does not get to call itself.
- It sees below every alias and wrapper of torch's Python API: operators, methods and functions alike.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

ALLOWED = {
    "_local_scalar_dense", "_reshape_alias", "_to_copy", "_unsafe_view", "alias", "arange", "as_strided", "clone",
    "contiguous", "copy_", "detach", "detach_", "empty", "empty_like", "empty_permuted", "empty_strided", "expand",
    "fill_", "full", "full_like", "is_pinned", "item", "lift_fresh", "lift_fresh_copy", "narrow", "new_empty",
    "new_empty_strided", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "permute", "pin_memory",
    "_pin_memory", "can_cast", "promote_types", "reshape", "resize_", "result_type",
    "scalar_tensor", "select", "slice", "split",
    "split_with_sizes", "squeeze", "squeeze_", "t", "to", "transpose", "transpose_", "unbind", "unfold", "unsafe_split",
    "unsqueeze", "unsqueeze_", "view", "view_as_complex", "view_as_real", "zero_", "zeros", "zeros_like",
}  # fmt: skip
"""Names of overload packets. ``fill_`` and friends initialise accumulators."""


class ComputeWatch(TorchDispatchMode):
    """Context manager; ``calls`` holds the names of computing operations seen so far."""

    def __init__(self, forbidden: Collection[str] = ()) -> None:
        super().__init__()
        self._allowed = ALLOWED - set(forbidden)
        self.calls: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket.__name__
        if packet not in self._allowed or func.namespace != "aten":
            self.calls.add(f"{func.namespace}.{packet}")
        return func(*args, **(kwargs or {}))
