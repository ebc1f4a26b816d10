"""Edge cases of matrix products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from ..operation import Call, Case
from ..wellknown import WellKnown
from . import layouts
from .naming import label
from .values import Draw, Dtypes

SQUARES = (
    (33, 65, 17),
    (129, 127, 131),
    (1, 257, 33),
    (65, 1025, 31),
    (3, 1, 5),
    (0, 5, 3),
    (3, 0, 5),
)
"""(m, k, n): the second operand is (k, n)."""
LARGE = ((257, 513, 131), (513, 2049, 1027))
"""On a CPU and on a GPU."""


def cases(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """See the package's docstring."""
    large = dtypes.large(*LARGE)
    main = dtypes.main
    # Triton compiles anew for every pattern of strides that are 1 or multiples of 16, a second for each matrix product:
    # the first few cases, which most wrong kernels fail, need three variants.
    yield _case(row, *_operands(row, draw, SQUARES[0], main))
    yield _case(row, *_operands(row, draw, SQUARES[1], main))
    yield _case(row, *_special(row, draw, main), note="special values")
    yield _case(row, *_operands(row, draw, SQUARES[3], main))
    first = _operands(row, draw, SQUARES[0], main, layouts.transposed)
    yield _case(row, *first, note="operand 0 transposed")
    second = _operands(row, draw, SQUARES[0], main, None, layouts.strided)
    yield _case(row, *second, note="operand 1 strided")
    both = _operands(row, draw, SQUARES[0], main, layouts.strided, layouts.transposed)
    yield _case(row, *both, note="operand 0 strided, operand 1 transposed")
    for size in (SQUARES[2], *SQUARES[4:], large):
        yield _case(row, *_operands(row, draw, size, main))
    yield _case(row, *_operands(row, draw, SQUARES[0], main, layouts.offset), note="operand 0 misaligned")
    yield from _options(row, draw, main)
    if row.name == "matmul":
        yield from _ranks(row, draw, main)
    for dtype in dtypes.low:
        for size in (SQUARES[0], SQUARES[1], large):
            yield _case(row, *_operands(row, draw, size, dtype))
    for dtype in dtypes.low[:1]:
        operands = _operands(row, draw, SQUARES[1], dtype, None, layouts.transposed)
        yield _case(row, *operands, note="operand 1 transposed")
    for dtype in dtypes.wide:
        yield _case(row, *_operands(row, draw, SQUARES[0], dtype))


def _shapes(row: WellKnown, size: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    m, k, n = size
    if row.name in ("bmm", "baddbmm"):
        return (3, m, k), (3, k, n)
    if row.name == "mv":
        return (m, k), (k,)
    return (m, k), (n, k) if row.name == "linear" else (k, n)


def _operands(
    row: WellKnown, draw: Draw, size: Sequence[int], dtype: torch.dtype, first: Any = None, second: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both operands; ``first``, ``second``: their layouts, dense without."""
    make = partial(draw.real, dtype=dtype)
    a, b = _shapes(row, size)
    return (first(make, a) if first else make(a)), (second(make, b) if second else make(b))


def _special(row: WellKnown, draw: Draw, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """One row with a NaN, one with an infinity; the rest of the product stays finite."""
    a, b = _operands(row, draw, (17, 33, 9), dtype)
    a[..., 3, 5] = float("nan")
    a[..., 7, 11] = float("inf")
    return a, b


def _case(row: WellKnown, a: torch.Tensor, b: torch.Tensor, note: str = "", **kwargs: Any) -> Case:
    """The call; operations that add to the product get an operand made of the others' rows."""
    if row.name in ("addmm", "baddbmm"):
        c = (
            a[..., :1].expand(*a.shape[:-1], b.shape[-1])
            if a.shape[-1]
            else torch.ones_like(a[..., :0].sum(-1, True))
        )
        c = (c * 0.5 + 1).nan_to_num(0.0, 0.0, 0.0)
        return Case(label([c, a, b], note, **kwargs), Call((c, a, b), dict(kwargs)))
    return Case(label([a, b], note, **kwargs), Call((a, b), dict(kwargs)))


def _options(row: WellKnown, draw: Draw, dtype: torch.dtype) -> Iterator[Case]:
    if row.name == "linear":
        for lead in ((), (5,), (2, 3, 7)):
            x, w, b = (draw.real(s, dtype) for s in ((*lead, 65), (33, 65), (33,)))
            yield Case(label([x, w, b], "bias"), Call((x, w, b)))
        yield Case(label([x, w], ""), Call((x, w)))
    if row.name not in ("addmm", "baddbmm"):
        return
    a, b = _operands(row, draw, SQUARES[0], dtype)
    yield _case(row, a, b, beta=0.5, alpha=2.0)
    yield _case(row, a, b, alpha=-0.25)
    c = torch.full((b.shape[-1],), float("nan"), dtype=dtype)
    yield Case(label([c, a, b], "NaN ignored", beta=0), Call((c, a, b), {"beta": 0}))
    for shape in ((b.shape[-1],), (a.shape[-2], 1), (1, 1)):
        c = draw.real(shape, dtype)
        yield Case(label([c, a, b], "broadcast"), Call((c, a, b)))


RANKS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((65,), (65,)), ((33, 65), (65,)), ((65,), (65, 17)), ((3, 33, 65), (65, 17)), ((3, 33, 65), (3, 65, 17)),
    ((33, 65), (3, 65, 17)), ((2, 1, 9, 33), (3, 33, 5)), ((2, 3, 9, 33), (2, 3, 33, 5)), ((65,), (3, 65, 17)),
    ((3, 33, 65), (65,)), ((0, 3, 4), (4, 5)),
)  # fmt: skip


def _ranks(row: WellKnown, draw: Draw, dtype: torch.dtype) -> Iterator[Case]:
    make = partial(draw.real, dtype=dtype)
    for a, b in RANKS:
        yield _case(row, make(a), make(b))
    batch = layouts.expanded(make, (4, 17, 33))
    yield _case(row, batch, make((33, 9)), note="batch expanded")
