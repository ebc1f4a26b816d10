"""Edge cases of operations that reduce (or scan) along dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from ..operation import Call, Case
from ..wellknown import WellKnown
from . import layouts
from .naming import label
from .values import Draw, Dtypes

CONSTANT_FREE = ("argmax", "var")
"""Of equal elements every index is largest, and a variance of zero is known to no better than its square root."""
ONE_DIM = ("argmax", "cumsum")
"""Take a single dimension; the others take lists too."""
LONG_ROWS: tuple[tuple[int, ...], ...] = ((17, 1023), (5, 1025), (3, 4097), (2, 8193))
LARGE = ((33, 4099), (257, 4099))
"""On a CPU and on a GPU."""
WHOLE = ((131, 1021), (1037, 1021))
"""Reduced to one number."""


def cases(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """See the package's docstring."""
    make = partial(draw.real, dtype=dtypes.main)
    yield _case(make((33, 65)), dim=-1)
    yield _case(make((33, 65)), dim=0)
    yield _case(make(LONG_ROWS[1]), dim=1)
    yield _case(_special_rows(draw, dtypes.main), "special values", dim=1)
    for shape in (LONG_ROWS[0], *LONG_ROWS[2:], dtypes.large(*LARGE)):
        yield _case(make(shape), dim=-1)
    yield _case(make((2049, 33)), dim=0)
    yield from _dimensions(row, draw, dtypes)
    yield from _layouts(row, draw, dtypes.main)
    yield from _options(row, draw, dtypes.main)
    for shape in ((1, 1), (5, 1), (0, 7), (7, 0), (3, 0, 5)):
        yield _case(make(shape), dim=-1)
    for dtype in dtypes.low:
        yield _case(draw.real((33, 65), dtype), dim=-1)
        yield _case(draw.real(LONG_ROWS[1], dtype), dim=-1)
        yield _case(draw.real(dtypes.large(*LARGE), dtype), dim=-1)
        yield _case(_special_rows(draw, dtype), "special values", dim=1)
        yield _case(layouts.transposed(partial(draw.real, dtype=dtype), (63, 33)), "transposed", dim=-1)
    for dtype in dtypes.wide:
        yield _case(draw.real((33, 65), dtype), dim=-1)
    if row.integers:
        for dtype in dtypes.integers:
            yield _case(_distinct_integers(row, draw, dtype), dim=-1)


def _dimensions(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    make = partial(draw.real, dtype=dtypes.main)
    for dim in (0, 1, -1):
        yield _case(make((9, 17, 33)), dim=dim)
    yield _case(make((129,)), dim=0)
    yield _case(make(()), dim=0)
    if row.name not in ONE_DIM:
        for several in ((0, 1), (0, 2), [-1, -2]):
            yield _case(make((9, 17, 33)), dim=several)
    if "dim=None" in row.signature or "dim=()" in row.signature:
        for shape in ((33, 65), (3, 5, 7), (1025,), (), dtypes.large(*WHOLE)):
            yield _case(make(shape))


def _layouts(row: WellKnown, draw: Draw, dtype: torch.dtype) -> Iterator[Case]:
    make = partial(draw.real, dtype=dtype)
    yield _case(layouts.transposed(make, (65, 129)), "transposed", dim=-1)
    yield _case(layouts.strided(make, (17, 130)), "every second column", dim=-1)
    yield _case(layouts.expanded(make, (37, 64)), "expanded", dim=1 if row.name in CONSTANT_FREE else 0)
    yield _case(layouts.channels_last(make, (2, 8, 7, 9)), "channels last", dim=1)
    yield _case(layouts.offset(make, (3, 1025)), "misaligned", dim=-1)


def _options(row: WellKnown, draw: Draw, dtype: torch.dtype) -> Iterator[Case]:
    make = partial(draw.real, dtype=dtype)
    if "keepdim" in row.signature:
        yield _case(make((17, 65)), dim=-1, keepdim=True)
        yield _case(make((9, 17, 33)), dim=1, keepdim=True)
    if "dtype" in row.signature:
        yield _case(make((17, 65)), dim=-1, dtype=torch.float64)
    if "correction" in row.signature:
        yield _case(make((17, 65)), dim=-1, correction=0)
        yield _case(make((17, 65)) + 100, "far from zero", dim=-1)
    for order in (1, 3, 0.5, 0, float("inf"), -float("inf")) if "ord" in row.signature else ():
        yield _case(make((17, 65)), dim=-1, ord=order)
    if row.name == "logsumexp":
        yield _case(make((17, 65)) * 1e3, "large values", dim=-1)
    yield _case(make((17, 1025)) * 1e-3 + 1, "nearly equal", dim=-1)


def _special_rows(draw: Draw, dtype: torch.dtype) -> torch.Tensor:
    """Rows with a NaN, infinities of one and both signs, only -inf, zeros, and one value only."""
    x = draw.real((9, 67), dtype)
    x[0, 3] = float("nan")
    x[1, 5] = float("inf")
    x[2, 7] = -float("inf")
    x[3, 9], x[3, 40] = float("inf"), -float("inf")
    x[4] = -float("inf")
    x[5] = 0.0
    x[6] = 1.5
    x[7, 66] = float("nan")
    return x


def _distinct_integers(row: WellKnown, draw: Draw, dtype: torch.dtype) -> torch.Tensor:
    """For argmax rows without equals, else small integers."""
    if row.name != "argmax":
        return draw.integers((7, 343), dtype)
    return torch.argsort(draw.uniform((7, 343), 0.0, 1.0), dim=-1).to(dtype)


def _case(x: torch.Tensor, note: str = "", **kwargs: Any) -> Case:
    return Case(label([x], note, **kwargs), Call((x,), dict(kwargs)))
