"""Edge cases of operations on two or three tensors that broadcast against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..operation import Call, Case
from ..wellknown import WellKnown
from . import layouts
from .elementwise import BLOCK_EDGES, LARGE
from .naming import label
from .values import Draw, Dtypes, specials

BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((33, 65), (65,)),
    ((5, 1), (1, 7)),
    ((3, 1, 5), (4, 1)),
    ((1, 1), (17, 9)),
    ((129,), (33, 129)),
    ((), (17, 3)),
    ((1025,), ()),
    ((0, 3), (1, 3)),
    ((2, 3, 4, 5), (3, 1, 5)),
)
"""Shapes of the first two operands; a third one has the second's shape."""


class _Operands:
    """Draws the operands of one operation, which differ in kind: ``where`` begins with a condition."""

    def __init__(self, row: WellKnown, draw: Draw) -> None:
        self._row = row
        self._draw = draw

    def one(self, index: int, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        if self._row.name == "where" and index == 0:
            return self._draw.integers(shape, torch.bool)
        return self._draw.real(shape, dtype, self._row.domain)

    def all(self, shapes: Sequence[Sequence[int]], dtype: torch.dtype) -> list[torch.Tensor]:
        return [self.one(i, shapes[min(i, len(shapes) - 1)], dtype) for i in range(self._row.arity)]

    def laid_out(
        self, layout: Any, shape: Sequence[int], dtype: torch.dtype, which: int
    ) -> list[torch.Tensor]:
        """Operand ``which`` (all for -1) with a layout, the others contiguous."""
        return [
            layout(lambda s, i=i: self.one(i, s, dtype), shape)
            if which in (i, -1)
            else self.one(i, shape, dtype)
            for i in range(self._row.arity)
        ]

    def special(self, dtype: torch.dtype) -> list[torch.Tensor]:
        """Every special value against every other."""
        values = specials(dtype, few=True)
        grid = [values[:, None], values[None, :], values.flip(0)[None, :]][: self._row.arity]
        return [grid[0] > 0, *grid[1:]] if self._row.name == "where" else grid


def cases(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """See the package's docstring."""
    operands, main = _Operands(row, draw), dtypes.main
    yield _case(operands.all([(33, 65)], main))
    yield _case(operands.all(BROADCASTS[0], main))
    yield _case(operands.laid_out(layouts.transposed, (33, 65), main, 0), "first transposed")
    yield _case(operands.special(main), "special values")
    for kwargs in row.variants:
        yield _case(operands.all([(17, 257)], main), **kwargs)
    yield _case(operands.all([(BLOCK_EDGES[0],)], main))
    yield _case(operands.all([dtypes.large(*LARGE)], main))
    for shapes in BROADCASTS[1:]:
        yield _case(operands.all(shapes, main))
    for shape in ((), (0,), (1, 1, 1), (BLOCK_EDGES[1],), (BLOCK_EDGES[2],)):
        yield _case(operands.all([shape], main))
    yield _case(operands.laid_out(layouts.strided, (17, 130), main, -1), "every second column")
    yield _case(operands.laid_out(layouts.expanded, (37, 64), main, 1), "second expanded")
    yield _case(operands.laid_out(layouts.channels_last, (2, 8, 7, 9), main, -1), "channels last")
    yield _case(operands.laid_out(layouts.offset, (4099,), main, 0), "first misaligned")
    yield from _other_dtypes(row, draw, dtypes, operands)


def _other_dtypes(row: WellKnown, draw: Draw, dtypes: Dtypes, operands: _Operands) -> Iterator[Case]:
    for dtype in dtypes.low:
        for shapes in ([(33, 65)], BROADCASTS[0], [dtypes.large(*LARGE)]):
            yield _case(operands.all(shapes, dtype))
        yield _case(operands.laid_out(layouts.transposed, (63, 33), dtype, 0), "first transposed")
        yield _case(operands.special(dtype), "special values")
        for kwargs in row.variants[:1]:
            yield _case(operands.all([(17, 257)], dtype), **kwargs)
    for dtype in dtypes.wide:
        yield _case(operands.all([(33, 65), (33, 1)], dtype))
    if row.integers:
        for dtype in dtypes.integers:
            yield _case(operands.all([(3, 343)], dtype))
        for kwargs in row.variants[:1]:
            yield _case(operands.all([(3, 43)], dtypes.integers[0]), **kwargs)


def _case(operands: list[torch.Tensor], note: str = "", **kwargs: Any) -> Case:
    return Case(label(operands, note, **kwargs), Call(tuple(operands), dict(kwargs)))
