"""What the grammar knows of each operation: its family, its parameters, and formulas of one element.

- A formula is an expression or a few lines that set ``y`` from ``x`` (binary: from its operands);
  ``C(0.5)`` marks a constant.
- Several formulas of one operation are all right; a *bad* one carries the name of the mistake that it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Facts:
    """One operation."""

    name: str
    family: str
    signature: str
    numba: tuple[str, ...] = ()
    triton: tuple[str, ...] = ()
    numba_bad: Mapping[str, str] = field(default_factory=dict)
    triton_bad: Mapping[str, str] = field(default_factory=dict)
    integers: bool = False
    operands: tuple[str, ...] = ("x",)
    options: tuple[str, ...] = ()
    """Further parameters, as the kernel names them."""
    fast: str = ""
    """A Numba formula over the vectorising helpers of ``vector_math.j2``, float32 only."""


def table(*rows: Facts) -> Mapping[str, Facts]:
    return MappingProxyType({row.name: row for row in rows})
