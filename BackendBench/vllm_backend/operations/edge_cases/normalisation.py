"""Edge cases of softmax and of layer, rms, group and batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from ..operation import Call, Case
from ..wellknown import WellKnown
from . import layouts
from .naming import label
from .reduction import LARGE, LONG_ROWS, _special_rows
from .values import Draw, Dtypes


def cases(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """See the package's docstring."""
    if "softmax" in row.name:
        return _softmax(draw, dtypes)
    if row.name in ("layer_norm", "rms_norm"):
        return _rows(row, draw, dtypes)
    return _channels(row, draw, dtypes)


def _softmax(draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    make = partial(draw.real, dtype=dtypes.main)
    yield _along(make((33, 65)), -1)
    yield _along(make((33, 65)), 0)
    yield _along(make(LONG_ROWS[1]), 1)
    yield _along(_special_rows(draw, dtypes.main), 1, "special values")
    yield _along(make((9, 257)) * 300, -1, "large values")
    for shape in (LONG_ROWS[0], *LONG_ROWS[2:], dtypes.large(*LARGE)):
        yield _along(make(shape), -1)
    for dim in (0, 1, 2, -2):
        yield _along(make((9, 17, 33)), dim)
    for shape in ((7,), (), (1, 1), (5, 1), (0, 7), (7, 0)):
        yield _along(make(shape), 0)
    yield _along(make((4097, 5)), 0)
    yield _along(_masked(draw, dtypes.main), -1, "causal mask of -inf")
    yield _along(layouts.transposed(make, (65, 129)), -1, "transposed")
    yield _along(layouts.strided(make, (17, 130)), -1, "every second column")
    yield _along(layouts.expanded(make, (37, 64)), -1, "expanded")
    yield _along(layouts.channels_last(make, (2, 8, 7, 9)), 1, "channels last")
    yield _along(make((17, 65)), -1, dtype=torch.float64)
    for dtype in dtypes.low:
        for shape in ((33, 65), LONG_ROWS[1], LONG_ROWS[3], dtypes.large(*LARGE)):
            yield _along(draw.real(shape, dtype), -1)
        yield _along(_special_rows(draw, dtype), 1, "special values")
        yield _along(draw.real((17, 65), dtype), -1, dtype=torch.float32)
    for dtype in dtypes.wide:
        yield _along(draw.real((33, 65), dtype), -1)


def _along(x: torch.Tensor, dim: int, note: str = "", **kwargs: Any) -> Case:
    return Case(label([x], note, dim=dim, **kwargs), Call((x, dim), dict(kwargs)))


def _masked(draw: Draw, dtype: torch.dtype) -> torch.Tensor:
    hidden = torch.ones(65, 65, dtype=torch.bool).triu(1)
    return draw.real((3, 65, 65), dtype).masked_fill(hidden, -float("inf"))


def _rows(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """layer_norm and rms_norm: over the last dimensions."""
    bias = "bias" in row.signature
    main = dtypes.main
    make = partial(draw.real, dtype=main)

    def one(x: torch.Tensor, over: int = 1, affine: int = 2, note: str = "", **kwargs: Any) -> Case:
        """``affine``: 0 no weight, 1 a weight, 2 weight and bias."""
        shape = list(x.shape[-over:])
        weight = draw.real(shape, x.dtype) if affine else None
        offset = [draw.real(shape, x.dtype) if affine > 1 else None] if bias else []
        what = ("no weight", "weight", "weight and bias" if bias else "weight")[affine]
        name = label([x], f"{note} over {over} {what}".strip(), **kwargs)
        return Case(name, Call((x, shape, weight, *offset), dict(kwargs)))

    eps: dict[str, Any] = {"eps": 1e-5}
    yield one(make((33, 65)), **eps)
    yield one(make((5, 1025)), affine=0, **eps)
    yield one(layouts.transposed(make, (63, 129)), note="transposed", **eps)
    yield one(_special_rows(draw, main), note="special values", **eps)
    yield one(make((17, 257)) + 100, note="far from zero", **eps)
    for shape in (LONG_ROWS[0], *LONG_ROWS[2:], dtypes.large(*LARGE)):
        yield one(make(shape), **eps)
    for shape, over in (((9, 17, 33), 1), ((9, 17, 33), 2), ((5, 7, 3, 9), 3), ((129,), 1), ((7, 1), 1)):
        yield one(make(shape), over, **eps)
    for shape in ((0, 7), (3, 0, 5), (1, 1)):
        yield one(make(shape), **eps)
    yield one(make((17, 65)), affine=1, **eps)
    for value in (1e-6, 1e-2):
        yield one(make((17, 65)) * 0.05, note="small values", eps=value)
    yield one(make((17, 65)))
    yield one(torch.full((7, 65), 3.0, dtype=main), note="equal values", **eps)
    yield one(layouts.strided(make, (17, 130)), note="every second column", **eps)
    yield one(layouts.expanded(make, (37, 64)), note="expanded", **eps)
    yield one(layouts.offset(make, (5, 1027)), note="misaligned", **eps)
    for dtype in dtypes.low:
        for shape in ((33, 65), (5, 1025), dtypes.large(*LARGE)):
            yield one(draw.real(shape, dtype), **eps)
        yield one(draw.real((5, 4097), dtype), affine=0, **eps)
        yield one(_special_rows(draw, dtype), note="special values", **eps)
    for dtype in dtypes.wide:
        yield one(draw.real((33, 65), dtype), **eps)


CHANNELS: tuple[tuple[Sequence[int], int], ...] = (
    ((3, 12, 33), 4), ((2, 32, 17, 9), 8), ((5, 6), 3), ((2, 6, 3, 5, 7), 2), ((4, 7, 65), 7), ((3, 8, 1025), 1),
    ((2, 64, 33, 31), 32), ((1, 4, 1), 2), ((0, 4, 5), 2),
)  # fmt: skip
"""Shapes (N, C, *) and numbers of groups."""
LARGE_CHANNELS = ((1, 64, 47, 71), (1, 320, 47, 71))
"""On a CPU and on a GPU, in 32 groups."""


def _channels(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """group_norm and batch_norm: (N, C, *) with a weight per channel."""

    def one(x: torch.Tensor, groups: int, affine: bool = True, note: str = "", **kwargs: Any) -> Case:
        channels = [x.shape[1]]
        weight = draw.real(channels, x.dtype) if affine else None
        offset = draw.real(channels, x.dtype) if affine else None
        what = "weight and bias" if affine else "no weight"
        if row.name == "group_norm":
            name = label([x], f"{note} {groups} groups {what}".strip(), **kwargs)
            return Case(name, Call((x, groups, weight, offset), dict(kwargs)))
        mean = draw.real(channels, x.dtype)
        variance = draw.real(channels, x.dtype, "positive")
        name = label([x], f"{note} {what}".strip(), **kwargs)
        return Case(name, Call((x, mean, variance, weight, offset), dict(kwargs)))

    make = partial(draw.real, dtype=dtypes.main)
    large = (dtypes.large(*LARGE_CHANNELS), 32)
    for shape, groups in (*CHANNELS, large):
        yield one(make(shape), groups)
    yield one(make((3, 12, 33)), 4, affine=False)
    yield one(make((3, 12, 33)), 4, eps=1e-2)
    yield one(make((3, 12, 33)) + 100, 4, note="far from zero")
    special = make((3, 12, 33))
    special[0, 0, 0], special[1, 5, 7], special[2, 11, 32] = float("nan"), float("inf"), -float("inf")
    yield one(special, 4, note="special values")
    yield one(layouts.channels_last(make, (2, 8, 7, 9)), 4, note="channels last")
    yield one(layouts.transposed(make, (3, 8, 17)), 2, note="transposed")
    yield one(layouts.strided(make, (3, 8, 34)), 2, note="every second column")
    for dtype in dtypes.low:
        for shape, groups in (CHANNELS[0], CHANNELS[1], large):
            yield one(draw.real(shape, dtype), groups)
    for dtype in dtypes.wide:
        yield one(draw.real((3, 12, 33), dtype), 4)
