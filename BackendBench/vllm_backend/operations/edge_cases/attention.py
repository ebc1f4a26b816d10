"""Edge cases of scaled dot product attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..operation import Call, Case
from ..wellknown import WellKnown
from .naming import label
from .values import Draw, Dtypes

SHAPES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((2, 3, 33, 16), 33), ((1, 2, 17, 64), 65), ((2, 1, 1, 32), 129), ((1, 4, 65, 8), 65), ((1, 2, 129, 64), 257),
    ((1, 1, 1, 1), 1), ((1, 2, 1025, 16), 1023),
)  # fmt: skip
"""Shape of the query (batch, heads, length, width) and length of the keys."""


def cases(row: WellKnown, draw: Draw, dtypes: Dtypes) -> Iterator[Case]:
    """See the package's docstring."""
    for dtype in (dtypes.main, *dtypes.low, *dtypes.wide):
        chosen = SHAPES if dtype == dtypes.main else SHAPES[:3]
        for query, keys in chosen:
            yield _case(draw, query, keys, dtype)
        yield _case(draw, SHAPES[0][0], 33, dtype, "causal", is_causal=True)
    main = dtypes.main
    yield _case(draw, SHAPES[0][0], 33, main, scale=0.5)
    kept = draw.uniform((33, 33), 0, 1) < 0.7
    kept |= torch.eye(33, dtype=torch.bool)
    yield _case(draw, SHAPES[0][0], 33, main, "boolean mask", attn_mask=kept)
    yield _case(draw, SHAPES[0][0], 33, main, "added mask", attn_mask=draw.normal((2, 1, 33, 33), main))
    grouped = [draw.normal((1, heads, 33, 16), main) for heads in (8, 2, 2)]
    yield Case(label(grouped, "grouped heads"), Call(tuple(grouped), {"enable_gqa": True}))
    swapped = [draw.normal((2, 17, 3, 16), main).transpose(1, 2) for _ in range(3)]
    yield Case(label(swapped, "transposed heads"), Call(tuple(swapped)))
    peaked = [draw.normal((1, 2, 17, 16), main) * s for s in (8.0, 8.0, 1.0)]
    yield Case(label(peaked, "peaked"), Call(tuple(peaked)))


def _case(
    draw: Draw, query: tuple[int, ...], keys: int, dtype: torch.dtype, note: str = "", **kwargs: Any
) -> Case:
    kv = (*query[:2], keys, query[3])
    tensors = tuple(draw.normal(s, dtype) * 1.5 for s in (query, kv, kv))
    return Case(label(tensors, note, **kwargs), Call(tensors, dict(kwargs)))
