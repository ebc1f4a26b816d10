"""Families of operations: what a kernel of it looks like. Needs no torch.

- elementwise: one tensor, element by element; binary: two or three tensors that broadcast; reduction: along
  dimensions (scans too); normalisation: a reduction and then every element; matmul: products; other: the rest.
"""

from __future__ import annotations

FAMILIES = ("elementwise", "binary", "reduction", "normalisation", "matmul", "other")
