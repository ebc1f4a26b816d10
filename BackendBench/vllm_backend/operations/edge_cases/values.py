"""Random and special values of test inputs, all made on the CPU, so a case is the same on every device.

- Rows differ in mean and scale, so that no constant and no estimate from a few samples passes as an answer.
- Half-precision values stay where their products and exponentials are finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

HALF = (torch.float16, torch.bfloat16)
Shape = tuple[int, ...]
INTEGER_BOUND = 50
"""Integers lie in -50..50: products and sums of a few thousand stay far from overflow even in int32."""


@dataclass(frozen=True)
class Dtypes:
    """What a device is tested with."""

    main: torch.dtype = torch.float32
    low: tuple[torch.dtype, ...] = ()
    """Half precision, where the device's kernel languages have it."""
    wide: tuple[torch.dtype, ...] = (torch.float64,)
    integers: tuple[torch.dtype, ...] = (torch.int32, torch.int64)

    @staticmethod
    def of(device: torch.device) -> Dtypes:
        """CPU: Numba has no half precision. GPU: kernels are written for half and single precision."""
        if device.type == "cpu":
            return Dtypes()
        return Dtypes(low=(torch.bfloat16, torch.float16), wide=(), integers=(torch.int32,))

    def large(self, on_cpu: Shape, on_gpu: Shape) -> Shape:
        """The largest case: millions of elements pass a GPU unnoticed, but are most of a CPU judge's time."""
        return on_gpu if self.low else on_cpu


class Draw:
    """Random tensors of one seed. Every method advances the same generator."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator(device="cpu")
        self.generator.manual_seed(seed)

    def uniform(self, shape: Sequence[int], low: float, high: float) -> torch.Tensor:
        """float32 in [low, high)."""
        return torch.rand(tuple(shape), generator=self.generator) * (high - low) + low

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Standard normal."""
        made = torch.float64 if dtype == torch.float64 else torch.float32
        return torch.randn(tuple(shape), generator=self.generator, dtype=made).to(dtype)

    def real(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float32, domain: str = "real"
    ) -> torch.Tensor:
        """Values whose rows (last dimension) differ in mean and scale; ``domain`` as in wellknown.py."""
        if not dtype.is_floating_point:
            return self.integers(shape, dtype)
        shape = tuple(shape)
        rows = (*shape[:-1], 1) if shape else ()
        scale = 10 ** self.uniform(rows, -1.0, 0.3 if dtype in HALF else 0.7)
        values = self.normal(shape, dtype).to(torch.promote_types(dtype, torch.float32))
        values.mul_(scale).add_(self.uniform(rows, -2.0, 2.0))
        if domain == "positive":
            values.abs_().add_(1e-3)
        elif domain == "signed_nonzero":
            values.add_(torch.where(values < 0, -0.05, 0.05))
        return values.to(dtype)

    def integers(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Small integers of both signs; coin tosses for bool."""
        if dtype == torch.bool:
            return self.uniform(shape, 0.0, 1.0) < 0.5
        return torch.randint(
            -INTEGER_BOUND, INTEGER_BOUND + 1, tuple(shape), generator=self.generator, dtype=dtype
        )


def specials(dtype: torch.dtype, few: bool = False) -> torch.Tensor:
    """NaN, infinities, both zeros, subnormals, extremes and the corners of common formulas, 1-d."""
    info = torch.finfo(dtype)
    plain = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0]
    extremes = [info.max, -info.max, info.tiny, info.tiny / 4]
    if few:
        return torch.tensor([*plain, *extremes], dtype=torch.float64).to(dtype)
    corners = [-0.5, 2.0, -3.0, 6.0, -6.0, 2.5, -2.5, 20.0, -20.0, 88.0, -88.0, 100.0, -100.0, 104.5, -104.5]
    large = min(info.max / 16, 1e30)
    more = [-info.tiny, -info.tiny / 4, info.eps, -info.eps, 1 + info.eps, 1e4, -1e4, large, -large]
    return torch.tensor([*plain, *extremes, *corners, *more], dtype=torch.float64).to(dtype)
