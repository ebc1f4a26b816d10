"""Edge cases of operations on one tensor, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from ..operation import Call, Case
from ..wellknown import WellKnown
from . import layouts
from .naming import label
from .values import Draw, Dtypes, specials

LARGE = ((257, 517), (1031, 1033))
"""On a CPU and on a GPU: many blocks, neither side a multiple of any."""
BLOCK_EDGES = (1025, 4097, 1023)


def cases(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """See the package's docstring."""
    for case in _plain(row, draw, dtypes):
        missing = {k: v for k, v in row.base.items() if not case.call.kwargs}
        yield Case(case.name, Call(case.call.args, {**missing, **case.call.kwargs}))


def _plain(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    make = partial(draw.real, dtype=dtypes.main, domain=row.domain)
    yield _case(make((33, 65)))
    yield _case(make((BLOCK_EDGES[0],)))
    yield _case(layouts.transposed(make, (33, 65)), "transposed")
    yield _case(specials(dtypes.main), "special values")
    yield _case(layouts.strided(make, (17, 130)), "every second column")
    for kwargs in row.variants:
        yield _case(make((17, 257)), **kwargs)
    yield _case(make((BLOCK_EDGES[1],)))
    yield _case(make(dtypes.large(*LARGE)))
    for shape in ((), (0,), (1, 1, 1), (3, 0, 5), (BLOCK_EDGES[2],), (3, 5, 7)):
        yield _case(make(shape))
    yield _case(layouts.expanded(make, (37, 64)), "expanded")
    yield _case(layouts.every_third_row(make, (11, 33)), "every third row")
    yield _case(layouts.channels_last(make, (2, 8, 7, 9)), "channels last")
    yield _case(layouts.offset(make, (4099,)), "misaligned")
    yield _case(make((513,)) * 50, "large values")
    yield _case(make((513,)) * 1e-3, "small values")
    yield from _other_dtypes(row, draw, dtypes)


def _other_dtypes(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    for dtype in dtypes.low:
        make = partial(draw.real, dtype=dtype, domain=row.domain)
        for shape in ((33, 65), (1025,), dtypes.large(*LARGE)):
            yield _case(make(shape))
        yield _case(layouts.transposed(make, (63, 33)), "transposed")
        yield _case(specials(dtype), "special values")
        for kwargs in row.variants[:1]:
            yield _case(make((17, 257)), **kwargs)
    for dtype in dtypes.wide:
        yield _case(draw.real((33, 65), dtype, row.domain))
    if row.integers:
        for dtype in dtypes.integers:
            yield _case(draw.integers((3, 343), dtype))


def _case(x: torch.Tensor, note: str = "", **kwargs: object) -> Case:
    return Case(label([x], note, **kwargs), Call((x,), dict(kwargs)))
