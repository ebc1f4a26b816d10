"""Edge cases of choosing rows by index."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..operation import Call, Case
from ..wellknown import WellKnown
from . import layouts
from .naming import label
from .values import Draw, Dtypes

SHAPES: tuple[tuple[tuple[int, int], tuple[int, ...]], ...] = (
    ((33, 65), (17,)), ((1025, 129), (3, 43)), ((7, 1), (1,)), ((5, 3), ()), ((5, 3), (0,)), ((3, 1025), (2, 3, 5)),
    ((1031, 257), (1031,)),
)  # fmt: skip


def cases(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """See the package's docstring."""
    for dtype in (dtypes.main, *dtypes.low, *dtypes.wide):
        for weight, indices in SHAPES if dtype == dtypes.main else SHAPES[:2]:
            yield _case(draw.real(weight, dtype), _indices(draw, weight[0], indices))

    def make(shape: object) -> torch.Tensor:
        return draw.real(shape, dtypes.main)  # type: ignore[arg-type]

    yield _case(layouts.transposed(make, (33, 65)), _indices(draw, 33, (17,)), "weight transposed")
    yield _case(make((33, 65)), _indices(draw, 33, (9, 5)).t(), "indices transposed")


def _indices(draw: Draw, rows: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randint(0, rows, shape, generator=draw.generator)


def _case(weight: torch.Tensor, indices: torch.Tensor, note: str = "") -> Case:
    return Case(label([weight, indices], note), Call((weight, indices)))
